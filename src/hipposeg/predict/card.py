"""The card of the networks that a user is served with: which they are, how wide their intervals, what they know.

`conformal.write` makes it from the flagship's runs on people that each network never saw; `hipposeg predict` reads it.
It names the weights by hash, so intervals cannot be used with other networks than those that they were calibrated on.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hipposeg.files import read_json, write_json
from hipposeg.workspace import Workspace

NAME = "conformal.json"


@dataclass(frozen=True)
class Boxes:
    """What the boxes of the calibration were like.

    smallest, largest: voxels along X, Y, Z over all boxes. spacing: mm. axes: orientation codes, such as "RAS".
    margin: voxels between predicted hippocampus and box, the least and the greatest of the six sides' medians.
    """

    smallest: tuple[int, int, int]
    largest: tuple[int, int, int]
    spacing: tuple[float, float, float]
    axes: str
    margin: tuple[int, int]


@dataclass(frozen=True)
class Card:
    """What the predictor needs beside weights.

    dataset: "msd" or "phantom". runs: name of each run -> SHA-256 of its weights. scored: name of each run -> SHA-256
    of its scores. level: nominal coverage. scale: what quantiles are multiplied with (`studies.intervals`), and
    scales: those that the folds chose when they were scored. quantiles: label -> factor. people, volumes: of the
    calibration. boxes: what they were like. limits: measure -> [low, high] of `studies.quality`.
    """

    dataset: str
    runs: dict[str, str]
    scored: dict[str, str]
    level: float
    scale: str
    scales: tuple[str, ...]
    quantiles: dict[str, float]
    people: int
    volumes: int
    boxes: Boxes
    limits: dict[str, list[float | None]]

    def write(self, path: Path) -> None:
        """Write the card as JSON, atomically."""
        write_json(path, asdict(self))


def path_of(ws: Workspace) -> Path:
    """Where the card of a data set stands: beside the runs of its `full` profile."""
    return ws.full.artifacts / NAME


def read(path: Path) -> Card:
    """Read a card. Raises FileNotFoundError, or ValueError if the file is not a card; both say what makes it."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; `hipposeg study conformal` makes it from the flagship's runs")
    try:
        content: dict[str, Any] = read_json(path)
        boxes = {name: tuple(v) if isinstance(v, list) else v for name, v in content["boxes"].items()}
        return Card(**content | {"boxes": Boxes(**boxes), "scales": tuple(content["scales"])})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a card of this version ({error}); `hipposeg study conformal` makes it"
        ) from error
