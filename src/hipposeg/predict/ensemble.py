"""The networks that serve a user, and what comes out of them for one scan.

A scan is given to the flagship's networks of all five grouped folds, and the mean of their probabilities is the answer.
The intervals' quantiles come from each network alone on people it never saw. A mean of five errs no more than one of
them usually does, so for it the intervals are rather too wide than too narrow; that cannot be measured on the labelled
volumes, because each of them was seen by four of the five networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from hipposeg.data.n4 import n4
from hipposeg.data.spec import MSD_HIPPOCAMPUS, PHANTOM_SPEC, DatasetSpec
from hipposeg.experiments.prediction import answer
from hipposeg.experiments.spec import RunSpec
from hipposeg.experiments.weights import load
from hipposeg.files import read_json, sha256_file
from hipposeg.predict import card as cards
from hipposeg.predict import intervals, quality
from hipposeg.predict.card import Card
from hipposeg.predict.scan import Scan
from hipposeg.training.machine import Machine, this_machine
from hipposeg.workspace import Workspace, output_root, project_root

SPECS = {"msd": MSD_HIPPOCAMPUS, "phantom": PHANTOM_SPEC}
_RUN_FIELDS = ("model", "folds", "fold", "seed", "schedule")


@dataclass(frozen=True)
class Volume:
    """A predicted volume in mm3 and the ends of its conformal interval."""

    predicted: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.predicted:.0f} mm³ ({self.lower:.0f} to {self.upper:.0f})"


@dataclass(frozen=True)
class Segmentation:
    """What comes out for one scan.

    mask: (X, Y, Z) uint8, 0 background, then the classes. volumes: class names and the union -> Volume. flags:
    sentences that ask a person to look; empty if nothing is unusual.
    """

    mask: np.ndarray
    volumes: dict[str, Volume]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Ensemble:
    """Networks by run, in evaluation mode, and their card."""

    card: Card
    networks: dict[RunSpec, nn.Module]
    machine: Machine

    @property
    def spec(self) -> DatasetSpec:
        """The description of the data that the networks were trained on."""
        return SPECS[self.card.dataset]

    def segment(self, scan: Scan) -> Segmentation:
        """The mask, the volumes with intervals, and the flags of a scan.

        Networks see a scan of the card's spacing: what the reading check lets through differs by less than they notice.
        """
        spec, total, spreads = self.spec, 0, []
        for run, network in self.networks.items():
            model = run.definition
            image = n4(scan.image, scan.spacing) if model.prep.n4 else scan.image
            found = answer(model, network, image, self.card.boxes.spacing, self.machine)
            total = total + found.probabilities
            spreads.append(found.spread(scan.spacing, spec))
        mask = total.argmax(0).astype(np.uint8)
        spread = {label: float(np.mean([one[label] for one in spreads])) for label in spreads[0]}
        measured = quality.measure(mask, scan.spacing, spread, spec)
        flags = tuple(quality.flags(measured, self.card.limits))
        return Segmentation(
            mask, {label: self._interval(label, measured[label], spread[label]) for label in spread}, flags
        )

    def _interval(self, label: str, predicted: float, spread: float) -> Volume:
        half = self.card.quantiles[label] * intervals.scale_of(self.card.scale, predicted, spread)
        return Volume(predicted, *map(float, intervals.bounds(predicted, half)))


def find(folder: Path | None = None) -> Path:
    """The folder that holds the card, the weights and their runs: `folder` if given, else the project's own.

    An installed package looks in HIPPOSEG_OUT and in the checkout around the working directory. Raises
    FileNotFoundError with what to do.
    """
    roots = dict.fromkeys((output_root(), project_root().resolve()))
    places = [folder] if folder else [Workspace(root, "msd", "full").artifacts for root in roots]
    for place in places:
        if cards.NAME in {path.name for path in place.glob("*")} and any(place.glob("weights/*.safetensors")):
            return place
    raise FileNotFoundError(
        f"no networks in {' or '.join(map(str, places))}: expected {cards.NAME} and weights/*.safetensors there. They "
        "are part of the project's repository: run inside a checkout of it, or name its artifacts/msd-full with --model"
    )


def load_ensemble(folder: Path, folds: Sequence[int] | None = None, machine: Machine | None = None) -> Ensemble:
    """The networks that the card in `folder` names, each checked by its hash, or only those of some folds.

    Raises FileNotFoundError if a file is not there, ValueError if one is damaged or not the card's.
    """
    card, machine = cards.read(folder / cards.NAME), machine or this_machine()
    machine.prepare()
    networks = {}
    for name, digest in card.runs.items():
        config = read_json(folder / "runs" / name / "config.json")
        run = RunSpec(**{field: config[field] for field in _RUN_FIELDS})
        if folds is not None and run.fold not in folds:
            continue
        path = folder / "weights" / f"{name}.safetensors"
        if path.is_file() and sha256_file(path) != digest:
            raise ValueError(
                f"{path} is not the file that {cards.NAME} was made for: fetch both again, or make the card anew with "
                "`hipposeg study conformal`"
            )
        networks[run] = load(path, run, SPECS[card.dataset], machine)
    return Ensemble(card, networks, machine)
