"""The networks that `hipposeg predict` uses, and their prediction of one crop.

The networks of all five grouped folds predict a crop, and their probabilities are averaged. The quantiles of
the intervals come from each network alone, on subjects it never saw. An average of five usually has smaller errors than
one of them, so its intervals are rather too wide than too narrow. This cannot be measured on the labelled volumes,
because four of the five networks saw each of them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from torch import nn

from hipposeg import metrics
from hipposeg.data.n4 import n4
from hipposeg.data.spec import MSD_HIPPOCAMPUS, PHANTOM_SPEC, DatasetSpec
from hipposeg.experiments.registry import RunSpec
from hipposeg.experiments.weights import load, predict
from hipposeg.files import sha256_file
from hipposeg.inference import probabilities
from hipposeg.predict import card as cards
from hipposeg.predict.card import Card
from hipposeg.training.machine import Machine, this_machine

SPECS = {"msd": MSD_HIPPOCAMPUS, "phantom": PHANTOM_SPEC}


@dataclass(frozen=True)
class Volume:
    """A predicted volume in mm3 and the ends of its conformal interval."""

    predicted: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.predicted:.0f} mm³ ({self.lower:.0f} to {self.upper:.0f})"


@dataclass(frozen=True)
class Averaged:
    """The prediction of one crop.

    Attributes:
        probabilities: (K, X, Y, Z) float32, mean of all networks and transformed copies.
        spread: class names and the union -> standard deviation of the volume over them, in mm3, mean over networks.
        agreement: mean Dice between the networks' masks of the whole hippocampus.
    """

    probabilities: np.ndarray
    spread: dict[str, float]
    agreement: float


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

    def first(self, crop: np.ndarray) -> np.ndarray:
        """Probabilities (K, X, Y, Z) of a crop (X, Y, Z) by one network without test-time augmentation."""
        run, network = next(iter(self.networks.items()))
        prep = replace(run.definition.prep, views=False)
        return probabilities(network, prep, self._input(run, crop), self.machine)

    def predict(self, crop: np.ndarray) -> Averaged:
        """Predict a crop (X, Y, Z) of the card's spacing with all networks and transformed copies."""
        found = [
            predict(run.definition, network, self._input(run, crop), self.card.boxes.spacing, self.machine)
            for run, network in self.networks.items()
        ]
        spreads = [one.spread(self.card.boxes.spacing, self.spec) for one in found]
        masks = [one.probabilities.argmax(axis=0) > 0 for one in found]
        alike = [metrics.dice(a, b) for a, b in combinations(masks, 2)]
        return Averaged(
            sum(one.probabilities for one in found) / len(found),
            {label: float(np.mean([one[label] for one in spreads])) for label in spreads[0]},
            float(np.mean(alike)) if alike else 1.0,
        )

    def volume(self, label: str, predicted: float, spread: float) -> Volume:
        """A predicted volume of a class or the union, in mm3, with its interval."""
        half = self.card.quantiles[label] * cards.scale_of(self.card.scale, predicted, spread)
        return Volume(predicted, *map(float, cards.bounds(predicted, half)))

    def _input(self, run: RunSpec, crop: np.ndarray) -> np.ndarray:
        image = crop[None].astype(np.float32)
        return n4(image, self.card.boxes.spacing) if run.definition.prep.n4 else image


def load_ensemble(
    folder: Path | None = None, folds: Sequence[int] | None = None, machine: Machine | None = None
) -> Ensemble:
    """Load the networks that a card names, or those of some folds, each checked by its hash.

    The folder, by default the package's, holds card.json and <run>.safetensors.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged or does not belong to the card.
    """
    folder, machine = folder or cards.PACKAGED, machine or this_machine()
    card = cards.read(folder / cards.NAME)
    machine.prepare()
    networks = {}
    for name, digest in card.runs.items():
        run, path = _parsed(name), folder / f"{name}.safetensors"
        if folds is not None and run.fold not in folds:
            continue
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing, which {folder / cards.NAME} names; {cards.REMEDY}")
        if (found := sha256_file(path)) != digest:
            raise ValueError(f"{path}: found SHA-256 {found}, expected {digest} as in {cards.NAME}; {cards.REMEDY}")
        networks[run] = load(path, run, SPECS[card.dataset], machine)
    return Ensemble(card, networks, machine)


def _parsed(name: str) -> RunSpec:
    """The run of a name such as `unet3d-scan.grouped0.s0.standard`."""
    found = re.fullmatch(r"(.+)\.(\D+)(\d+)\.s(\d+)\.([^.]+)\.?(.*)", name)
    if not found:
        raise ValueError(f"{cards.NAME} names a run {name!r}; expected one such as unet3d-scan.grouped0.s0.standard")
    model, folds, fold, seed, schedule, hardware = found.groups()
    return RunSpec(model, folds, int(fold), int(seed), schedule, hardware)
