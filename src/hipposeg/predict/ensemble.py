"""The networks that `hipposeg predict` uses, and their prediction of one scan.

The flagship's networks of all five grouped folds predict a scan, and their probabilities are averaged. The quantiles of
the intervals come from each network alone, on subjects it never saw. An average of five usually has smaller errors than
one of them, so its intervals are rather too wide than too narrow. This cannot be measured on the labelled volumes,
because four of the five networks saw each of them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from hipposeg.data.n4 import n4
from hipposeg.data.spec import MSD_HIPPOCAMPUS, PHANTOM_SPEC, DatasetSpec
from hipposeg.experiments.prediction import predict
from hipposeg.experiments.spec import RunSpec
from hipposeg.experiments.weights import load
from hipposeg.files import sha256_file
from hipposeg.predict import card as cards
from hipposeg.predict import intervals, quality
from hipposeg.predict.card import Card
from hipposeg.predict.scan import Scan
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
class Segmentation:
    """The prediction of one scan.

    Attributes:
        mask: (X, Y, Z) uint8: 0 background, 1 anterior, 2 posterior.
        volumes: class names and the union -> Volume.
        flags: sentences about what is unusual and should be checked; empty if nothing is.
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
        """Predict mask, volumes with intervals, and flags of a scan.

        The networks take the scan as if it had the card's spacing; the reading checks allow a negligible difference.
        """
        spec, total, spreads = self.spec, 0, []
        for run, network in self.networks.items():
            model = run.definition
            image = n4(scan.image, scan.spacing) if model.prep.n4 else scan.image
            found = predict(model, network, image, self.card.boxes.spacing, self.machine)
            total = total + found.probabilities
            spreads.append(found.spread(scan.spacing, spec))
        mask = total.argmax(0).astype(np.uint8)
        spread = {label: float(np.mean([one[label] for one in spreads])) for label in spreads[0]}
        measured = quality.measure(mask, scan.spacing, spread, spec)
        flags = tuple(quality.flags(measured, self.card.limits))
        volumes = {label: self._interval(label, measured[label], spread[label]) for label in spread}
        return Segmentation(mask, volumes, flags)

    def _interval(self, label: str, predicted: float, spread: float) -> Volume:
        half = self.card.quantiles[label] * intervals.scale_of(self.card.scale, predicted, spread)
        return Volume(predicted, *map(float, intervals.bounds(predicted, half)))


def load_ensemble(
    folder: Path | None = None, folds: Sequence[int] | None = None, machine: Machine | None = None
) -> Ensemble:
    """Load the networks that a card names, each checked by its hash.

    Args:
        folder: holds card.json and <run>.safetensors; by default the package's.
        folds: load only the networks of these folds.
        machine: by default this machine.

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
            raise FileNotFoundError(f"{path} is missing, which {folder / cards.NAME} names; copy both from one place")
        if sha256_file(path) != digest:
            raise ValueError(f"{path} is not the file that {cards.NAME} was made for; copy both from one place")
        networks[run] = load(path, run, SPECS[card.dataset], machine)
    return Ensemble(card, networks, machine)


def _parsed(name: str) -> RunSpec:
    """The run of a name such as `unet3d-fast.grouped0.s0.standard`."""
    found = re.fullmatch(r"(.+)\.(\D+)(\d+)\.s(\d+)\.([^.]+)\.?(.*)", name)
    if not found:
        raise ValueError(f"{cards.NAME} names a run {name!r}; expected one such as unet3d-fast.grouped0.s0.standard")
    model, folds, fold, seed, schedule, hardware = found.groups()
    return RunSpec(model, folds, int(fold), int(seed), schedule, hardware)
