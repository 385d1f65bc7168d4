"""The declared series: what the `full` profile adds to the main arms, run by run, resumable in any order.

Several seeds tell an arm's difference from the luck of a draw, five folds tell it from the luck of a split. The series
were declared before any of their runs was scored.
"""

from hipposeg.config import Workspace
from hipposeg.data.spec import DatasetSpec
from hipposeg.runs import table
from hipposeg.runs.arms import FLAGSHIP
from hipposeg.runs.run import RunResult, load
from hipposeg.runs.spec import RunSpec, current_numerics

SEEDS = (0, 1, 2)
HEADS = tuple(f"unet3d-inr-{head}" for head in ("conv", "mlp", "mlp-xyz", "siren-xyz", "1mm"))
SERIES: dict[str, tuple[RunSpec, ...]] = {
    "03": (
        *(RunSpec(arm, seed=seed) for arm in ("unet2d", "unet2d-mobilenetv3", "unet2d+n4") for seed in SEEDS),
        *(RunSpec("unet2d", folds, fold) for folds in ("grouped", "nnunet") for fold in range(5)),
    ),
    "04": (
        *(RunSpec(FLAGSHIP, folds, fold) for folds in ("nnunet", "grouped") for fold in range(5)),
        *(RunSpec(arm, seed=seed) for arm in ("unet3d", "unet3d+flip", *HEADS) for seed in SEEDS),
        *(RunSpec(arm) for arm in ("unet3d+adamw", "unet3d+focal", "unet3d-residual", "unet3d-nnunet-light")),
        *(RunSpec(arm) for arm in ("unet3d-nnunet", "unet3d-transformer", "unet3d-nnunet-performance")),
        *(RunSpec(arm, "dev") for arm in (FLAGSHIP, "unet3d", "unet3d+adamw")),
    ),
}


def declared(notebook: str) -> list[RunSpec]:
    """The notebook's series, each run once, in the order in which they are made."""
    return list(dict.fromkeys(SERIES.get(notebook, ())))


def committed(ws: Workspace, notebook: str, spec: DatasetSpec) -> list[RunResult]:
    """Runs of the series that stand in the `full` artifacts of this data set and are not older than the code.

    Raises `table.RunError` if one of them is damaged or sets off the leak alarm.
    """
    full, current = Workspace(ws.root, ws.dataset, "full"), current_numerics()
    there = [run for run in declared(notebook) if (full.artifacts / "runs" / run.name / "config.json").is_file()]
    for run in there:
        read = table.read_run(full, full.artifacts / "runs" / run.name, current)
        table.check_cases(read, spec, None)
        if not ws.is_phantom:
            table.leak_alarm(read, spec)
    return [run for run in (load(full, run) for run in there) if run.config["numerics"] == current[run.run.arm]]
