"""Predict one image: mean probabilities of a model's predictions, and their spread.

A model's predictions are those of its transformed copies (test-time augmentation) or of the members of an ensemble.
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
class Prediction:
    """Prediction of one image.

    Attributes:
        probabilities: (K, X, Y, Z) float32, the mean over all predictions.
        voxels: (predictions, K) number of voxels of each class in each prediction.
    """

    probabilities: np.ndarray
    voxels: np.ndarray

    def spread(self, spacing: tuple[float, float, float], spec: DatasetSpec) -> dict[str, float]:
        """Standard deviation over predictions of the volumes of classes and union in mm3; NaN for one prediction."""
        names = (*spec.names, UNION)
        if len(self.voxels) < 2:
            return dict.fromkeys(names, float("nan"))
        classes = self.voxels[:, 1:]
        sizes = np.column_stack([classes, classes.sum(axis=1)])
        return dict(zip(names, (sizes.std(axis=0, ddof=1) * np.prod(spacing)).tolist(), strict=True))


def predict(
    model: Model, network: nn.Module, image: np.ndarray, spacing: tuple[float, float, float], machine: Machine
) -> Prediction:
    """Predict an image with the network of a model, or the networks of an ensemble.

    Args:
        model: the model.
        network: its network, in evaluation mode on the machine's device.
        image: (C, X, Y, Z) float32, bias corrected if the model needs that.
        spacing: voxel size in mm. A network that works in another spacing counts as one prediction.
        machine: device and precision.
    """
    total, sizes = 0, []
    networks = asked(model, network)
    for one, prep in networks:
        found = (
            opinions(one, prep, image, machine) if prep.takes(spacing) else [asker(one, prep, machine)(image, spacing)]
        )
        total = total + pooled(found)
        sizes += [np.bincount(opinion.argmax(0).ravel(), minlength=len(opinion)) for opinion in found]
    return Prediction(total / len(networks), np.array(sizes))
