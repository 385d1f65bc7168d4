"""The model card of the networks that `hipposeg predict` uses: which networks, widths of intervals, valid crops.

`hipposeg-lab study card` computes a card from these networks' predictions for subjects that each never saw. It
names the weights by hash, so intervals are never used with networks that they were not calibrated for.
"""

from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from hipposeg.files import read_json, write_json
from hipposeg.metrics import UNION
from hipposeg.predict.quality import RULES

NAME = "card.json"
REMEDY = "copy card and weights from one place, or compute a card with `hipposeg-lab study card`."
# Card and weights of the package.
PACKAGED = Path(str(resources.files("hipposeg.predict"))) / "weights"

# The scale of an interval: constant; the predicted volume; the spread of the averaged predictions.
CONSTANT, VOLUME, SPREAD = "constant", "volume", "spread"
# Smallest scale in mm3; avoids division by zero.
SMALLEST_SCALE = 1.0


def scale_of(method: str, predicted: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The scale of a method for predicted volumes and their spreads, arrays of one shape. Raises KeyError."""
    predicted, spread = np.asarray(predicted, dtype=float), np.asarray(spread, dtype=float)
    return np.maximum({CONSTANT: np.ones_like(predicted), VOLUME: predicted, SPREAD: spread}[method], SMALLEST_SCALE)


def bounds(predicted: np.ndarray, half_width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends in mm3; no volume is negative."""
    return np.maximum(predicted - half_width, 0.0), predicted + half_width


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
        scale: what a quantile is multiplied by, see `scale_of`.
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
    """Read a card, by default the package's. Raises ValueError if a value is missing or impossible."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {REMEDY}")
    try:
        content: dict[str, Any] = read_json(path)
        if missing := {field.name for field in fields(Card)} - set(content):
            raise ValueError(f"no {', '.join(sorted(missing))}")
        boxes = {name: tuple(v) if isinstance(v, list) else v for name, v in content["boxes"].items()}
        card = Card(**content | {"boxes": Boxes(**boxes), "scales": tuple(content["scales"])})
        _check(card)
    except (AttributeError, TypeError, ValueError) as error:
        found = error.__cause__ or error
        raise ValueError(f"{path}: found {found}, expected a card of this version; {REMEDY}") from error
    return card


def _check(card: Card) -> None:
    """Raise ValueError with the first wrong value."""
    measures = {"anterior", "posterior", UNION}
    for place, value, right in (
        ("level", card.level, _number(card.level) and card.level < 1),
        ("scale", card.scale, card.scale in (CONSTANT, VOLUME, SPREAD)),
        ("quantiles", card.quantiles, set(card.quantiles) == measures and all(map(_number, card.quantiles.values()))),
        ("measures with limits", [*card.limits], set(card.limits) == measures | set(RULES)),
        *((f"limits of {name}", one, _pair(one)) for name, one in card.limits.items()),
    ):
        if not right:
            raise ValueError(f"{value!r} as {place}")


def _number(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < np.inf


def _pair(limits: object) -> bool:
    """Two finite numbers, of which each may be None, the lower one first."""
    ends = [one for one in limits if one is not None] if isinstance(limits, list) and len(limits) == 2 else [None]
    return all(type(one) in (int, float) and np.isfinite(one) for one in ends) and ends == sorted(ends)
