"""What a model says of one image: class probabilities, and how far apart the opinions are that they average.

A model's opinions are its views' or, of a fused model, its members' and their views'. Their spread costs nothing beside
the prediction, and needs no second training.
"""

from dataclasses import dataclass

import numpy as np
from torch import nn

from hipposeg.data.spec import DatasetSpec
from hipposeg.experiments.model import Model
from hipposeg.experiments.weights import asked
from hipposeg.inference import asker, opinions, pooled
from hipposeg.metrics import UNION
from hipposeg.training.machine import Machine


@dataclass(frozen=True)
class Answer:
    """probabilities: (K, X, Y, Z) float32, the mean over a model's networks. voxels: (opinions, K) class sizes."""

    probabilities: np.ndarray
    voxels: np.ndarray

    def spread(self, spacing: tuple[float, float, float], spec: DatasetSpec) -> dict[str, float]:
        """Standard deviation in mm3 over opinions of each class's volume and the union's; NaN for one opinion alone."""
        names = (*spec.names, UNION)
        if len(self.voxels) < 2:
            return dict.fromkeys(names, float("nan"))
        classes = self.voxels[:, 1:]
        sizes = np.column_stack([classes, classes.sum(axis=1)])
        return dict(zip(names, (sizes.std(axis=0, ddof=1) * np.prod(spacing)).tolist(), strict=True))


def answer(
    model: Model, network: nn.Module, image: np.ndarray, spacing: tuple[float, float, float], machine: Machine
) -> Answer:
    """Ask a model's network, or a fused model's networks, in evaluation mode on the machine's device.

    image: (C, X, Y, Z) float32, bias corrected if the model asks for it. spacing: mm. A network of other voxels counts as
    one opinion.
    """
    total, sizes = 0, []
    networks = asked(model, network)
    for one, prep in networks:
        found = (
            opinions(one, prep, image, machine) if prep.takes(spacing) else [asker(one, prep, machine)(image, spacing)]
        )
        total = total + pooled(found)
        sizes += [np.bincount(opinion.argmax(0).ravel(), minlength=len(opinion)) for opinion in found]
    return Answer(total / len(networks), np.array(sizes))
