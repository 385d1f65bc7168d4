"""A flagship that needs no training, on a phantom, with runs, weights and card: for tests of study and predictor."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hipposeg.experiments import RunSpec
from hipposeg.experiments import run as running
from hipposeg.experiments.model import Model, schedules
from hipposeg.experiments.registry import MODELS
from hipposeg.experiments.zoo3d import UNET3D
from hipposeg.inference import Prep
from hipposeg.predict import card, ensemble
from hipposeg.training.loop import Training
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import conformal
from hipposeg_lab.studies.making import Context

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
    """The context of the study, and a folder with weights and card for the predictor."""

    context: Context
    folder: Path

    def image(self, case: int) -> Path:
        return self.context.cohort.folder / "imagesTr" / self.context.cohort.spec.file_name(case)


def serve(patch: pytest.MonkeyPatch) -> None:
    """Register the model, and make one thread of float32 the machine."""
    patch.setitem(MODELS, BLOBS.name, BLOBS)
    patch.setattr(ensemble, "this_machine", lambda: MACHINE)


def untrained(training: Training, *_: object) -> tuple[nn.Module, list[dict[str, int]], float]:
    """Stand in for `training.loop.fit`, and leave the initial weights."""
    return training.model.eval(), [{"epoch": 1, "step": 1}], 0.0


def make(people: object, folder: Path) -> Served:
    """The five runs, with their initial weights, and the study."""
    ws = Workspace(folder / "out", "phantom", "smoke")
    context = Context(ws, people.cohort, people.folds, MACHINE)
    served = Served(context, folder / "weights")
    served.folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        serve(patch)
        patch.setattr(running, "fit", untrained)
        for run in (RunSpec(BLOBS.name, fold=fold) for fold in range(5)):
            running.train(run, people.cohort, people.folds, ws, MACHINE)
            weights = running.folder_of(run, ws) / running.WEIGHTS
            shutil.copy(weights, served.folder / f"{run.name}.safetensors")
        conformal.write(context, BLOBS.name)
        runs = conformal.out_of_fold(context, BLOBS.name)
        measured = conformal.measures(context, runs)
        found = conformal.residuals(runs, measured, people.cohort.spec)
        made = conformal.write_card(context, runs, found, measured.to_dict("records"))
        shutil.copy(made, served.folder / card.NAME)
    return served
