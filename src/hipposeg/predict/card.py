"""The model card of the networks that `hipposeg predict` uses: which networks, widths of intervals, valid crops.

`hipposeg-lab study conformal` computes a card from the flagship's runs on subjects that each network never saw. It
names the weights by hash, so intervals are never used with networks that they were not calibrated for.
"""

from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from hipposeg.files import read_json, write_json

NAME = "card.json"
# Card and weights of the package.
PACKAGED = Path(str(resources.files("hipposeg.predict"))) / "weights"


@dataclass(frozen=True)
class Boxes:
    """The crops that intervals were calibrated on.

    Attributes:
        smallest: smallest size along X, Y, Z in voxels.
        largest: largest size along X, Y, Z in voxels.
        spacing: voxel size in mm.
        axes: orientation codes, such as "RAS".
        margin: voxels between predicted hippocampus and crop: minimum and maximum of the six sides' medians.
    """

    smallest: tuple[int, int, int]
    largest: tuple[int, int, int]
    spacing: tuple[float, float, float]
    axes: str
    margin: tuple[int, int]


@dataclass(frozen=True)
class Card:
    """What the predictor needs besides weights.

    Attributes:
        dataset: "msd" or "phantom".
        runs: name of each run -> SHA-256 of its weights.
        level: nominal coverage.
        scale: the factor of quantiles (`predict.intervals`).
        scales: the one chosen in each fold.
        quantiles: label -> quantile.
        people: number of subjects of the calibration.
        volumes: number of its volumes.
        boxes: its crops.
        limits: measure of `predict.quality` -> [low, high].
    """

    dataset: str
    runs: dict[str, str]
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


def read(path: Path = PACKAGED / NAME) -> Card:
    """Read a card, by default the package's.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a card.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; `hipposeg-lab study conformal` computes a card")
    try:
        content: dict[str, Any] = read_json(path)
        boxes = {name: tuple(v) if isinstance(v, list) else v for name, v in content["boxes"].items()}
        return Card(**content | {"boxes": Boxes(**boxes), "scales": tuple(content["scales"])})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a card of this version ({error}); `hipposeg-lab study conformal` computes one"
        ) from error
