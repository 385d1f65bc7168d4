"""A flagship that needs no training, on a phantom, with runs, weights and card: for tests of study and predictor."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hipposeg.data import cohort as cohorts
from hipposeg.data import folds as folding
from hipposeg.data import phantom
from hipposeg.data.locate import Source
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.experiments import RunSpec, train_or_load
from hipposeg.experiments import run as running
from hipposeg.experiments.model import Model, schedules
from hipposeg.experiments.registry import MODELS
from hipposeg.experiments.zoo3d import UNET3D
from hipposeg.inference import Prep
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import conformal

MACHINE = Machine("cpu", "fp32", 1)


class Blobs(nn.Module):
    """Two balls in the middle of the box whose borders follow the image a little; a weight for each."""

    divisor = 1

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(classes - 1))

    def forward(self, x: Tensor) -> Tensor:
        axes = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in x.shape[2:]), indexing="ij")
        smooth = nn.functional.avg_pool3d(x, 5, 1, 2)[:, 0]
        scores = [torch.zeros_like(smooth)]
        for centre, weight in zip((0.25, -0.25), self.weight, strict=True):
            ball = 1 - (axes[0] / 0.4) ** 2 - ((axes[1] - centre) / 0.35) ** 2 - (axes[2] / 0.4) ** 2
            scores.append(4 * (ball + weight + 0.1 * smooth))
        return torch.stack(scores, 1)


BLOBS = Model("blobs", "04", "unet", 3, Prep((40, 56, 40), views=True), Blobs, schedules(UNET3D))


@dataclass(frozen=True)
class Served:
    """Where the five runs, weights and card are, and the phantom that they were made from."""

    ws: Workspace
    cohort: cohorts.Cohort

    @property
    def folder(self) -> Path:
        return self.ws.artifacts

    def write(self) -> Path:
        return conformal.write(self.ws, BLOBS.name, "smoke")

    def image(self, case: int) -> Path:
        return self.cohort.folder / "imagesTr" / self.cohort.spec.file_name(case)


def serve(patch: pytest.MonkeyPatch) -> None:
    """Make the model known, and one thread of float32 the machine."""
    patch.setitem(MODELS, BLOBS.name, BLOBS)
    patch.setattr(running, "FLAGSHIP", BLOBS.name)
    for module in (conformal, model):
        patch.setattr(module, "this_machine", lambda: MACHINE)


def make(folder: Path) -> Served:
    """The five runs, with the weights that they start with, and the study."""
    data = folder / "Task04_Hippocampus"
    phantom.generate(data, PHANTOM_SPEC, n_subjects=14, seed=3)
    source = Source("phantom", data, PHANTOM_SPEC)
    cohort = cohorts.load(source)
    served = Served(Workspace(folder / "out", "phantom", "full"), cohort)
    folds = folding.make(cohort.spec, cohort.numbers)
    with pytest.MonkeyPatch.context() as patch:
        serve(patch)
        patch.setattr(conformal, "_source", lambda ws: source)
        patch.setattr(training, "fit", lambda network, *_, **__: (network.eval(), [{"epoch": 1, "step": 1}], 0.0))
        for fold in range(5):
            run = RunSpec(BLOBS.name, fold=fold, schedule="smoke")
            train_or_load(run, cohort, folds, served.ws, MACHINE)
        served.write()
    return served
