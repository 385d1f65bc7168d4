"""Dice and surface Dice of training and test subjects after each epoch: over-fitting, for display only (curves.csv).

The main models are trained once more and scored on the first volume of every STEP-th subject of both parts. No choice
depends on the table.
"""

from functools import partial

from torch import nn

from hipposeg import metrics
from hipposeg.experiments.registry import FLAGSHIP, RunSpec
from hipposeg.experiments.samples import images_of
from hipposeg.experiments.weights import predict_with
from hipposeg_lab.studies.learning import retrain
from hipposeg_lab.studies.making import Context, Rows, Study, Unit
from hipposeg_lab.studies.sensitivity import first_volumes

COLUMNS = ("run", "epoch", "part", "case", "subject", "dice", "nsd1")
PARTS = {"training": "train", "test": "scored"}
MODELS = ("unet2d", "unet3d", FLAGSHIP)
STEP = 4


def _curves(context: Context, run: RunSpec) -> Rows:
    cohort, model = context.cohort, run.definition
    fold, images, rows = context.folds[run.folds][run.fold], images_of(cohort, model.prep, context.ws), []
    cases = {part: first_volumes(context, fold[key])[::STEP] for part, key in PARTS.items()}

    def watch(network: nn.Module) -> None:
        predict, epoch = predict_with(model, network, context.machine), rows[-1]["epoch"] + 1 if rows else 1
        for part, number in ((part, number) for part, numbers in cases.items() for number in numbers):
            case = cohort.cases[number]
            found = metrics.score_case(predict(images[number], case.spacing), case.label, case.spacing, cohort.spec)
            mean = next(row for row in found if row["label"] == metrics.MEAN)
            about = {"run": run.name, "epoch": epoch, "part": part, "case": number, "subject": case.subject}
            rows.append(about | {"dice": mean["dice"], "nsd1": mean["nsd1"]})

    retrain(context, run, watch)
    return {"curves": rows}


STUDY = Study(
    "curves",
    "Do the networks learn their training subjects by heart?",
    {"curves": COLUMNS},
    tuple(Unit(run.name, (run,), partial(_curves, run=run)) for run in map(RunSpec, MODELS)),
    {"version": 1, "step": STEP, "parts": PARTS},
    weights=False,
)
