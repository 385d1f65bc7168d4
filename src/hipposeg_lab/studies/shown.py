"""Networks that pictures need: a few small runs of this machine, kept so that notebooks draw without training."""

import pandas as pd

from hipposeg import files
from hipposeg.experiments import run as runs
from hipposeg.experiments.registry import RunSpec
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
        if not (folder / runs.STATE).is_file():
            continue
        state, content = files.read_json(folder / runs.STATE), (folder / runs.WEIGHTS).read_bytes()
        files.write_bytes(path.with_name(f"{spec.name}.safetensors"), content)
        scores = pd.read_csv(folder / runs.SCORES)
        listed[spec.name] = {
            "sha256": files.sha256_bytes(content), "dice": scores.loc[scores["label"] == "mean", "dice"].mean(),
            **{name: state["row"][name] for name in ("processor", "precision", "torch")},
        }  # fmt: skip
        files.write_json(path, files.plain(listed))
    missing = ", ".join(spec.name for spec in SHOWN if spec.name not in listed)
    return f"left out: {missing}; `hipposeg train --plan standard --retrain` trains them" if missing else "made"
