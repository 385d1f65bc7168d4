"""Which seeds notebook 07 looks into beside a run, and where it writes the tables of its studies."""

import pandas as pd

from hipposeg.experiments.registry import FLAGSHIP
from hipposeg.experiments.spec import RunSpec
from hipposeg.files import write_csv
from hipposeg.results.load import ATLAS
from hipposeg.workspace import Workspace

# Shown beside the best run: no image, slices, volumes, the model handed to users.
SHOWN = (ATLAS, "unet2d", "unet3d", FLAGSHIP)
_SETTING = ["model", "folds", "fold", "schedule", "device", "precision"]


def seeds(frame: pd.DataFrame, run: RunSpec) -> pd.DataFrame:
    """The rows of a planned run and of its other seeds in the same device and precision; none if it is not finished."""
    return frame.merge(frame.loc[frame["planned"] == run.name, _SETTING].head(1))


def write(ws: Workspace, name: str, table: pd.DataFrame) -> None:
    """Write a study's table, `artifacts/studies/<name>.csv`."""
    write_csv(ws.artifacts / "studies" / f"{name}.csv", list(table.columns), table.to_dict("records"))
