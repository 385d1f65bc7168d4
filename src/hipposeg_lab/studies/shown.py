"""Networks that pictures need: a few small runs of this machine, kept so that notebooks draw without training."""

from hipposeg import files
from hipposeg.experiments import run as runs
from hipposeg.experiments.registry import RunSpec
from hipposeg.experiments.weights import state_in
from hipposeg.results import store
from hipposeg.workspace import Workspace

QUESTION = "Which networks do pictures need?"
TABLE = "weights/weights.json"
SHOWN = tuple(RunSpec(model) for model in ("unet2d", "unet3d", "attention2d", "hippoclip", "clip2d-guided"))


def update(ws: Workspace) -> str:
    """Copy the weights of SHOWN that this machine trained to artifacts/weights, with what they scored."""
    path = ws.artifacts / TABLE
    listed = files.read_json(path) if path.is_file() else {}
    for spec in SHOWN:
        folder = ws.work / "runs" / runs.native(spec).name
        if (state := state_in(folder)) is None:
            continue
        content = (folder / runs.WEIGHTS).read_bytes()
        files.write_bytes(path.with_name(f"{spec.name}.safetensors"), content)
        scores = store.read_table(folder / runs.SCORES, store.SCORE_COLUMNS)
        listed[spec.name] = {
            "sha256": files.sha256_bytes(content), "dice": scores.loc[scores["label"] == "mean", "dice"].mean(),
            **{name: state["row"][name] for name in ("processor", "precision", "torch")},
        }  # fmt: skip
        files.write_json(path, files.plain(listed))
    missing = ", ".join(spec.name for spec in SHOWN if spec.name not in listed)
    return f"left out: {missing}; `hipposeg train --plan standard --retrain` trains them" if missing else "made"
