"""Task04 with few labelled subjects, from random weights or from trained ones.

Every network is trained on some of fold 0's training subjects, with the same few steps, and scored on its test
subjects. Trained weights are the packaged ones of fold 0, so no network has seen a scored subject. Planned: 100 seconds
of one core a unit, 45 minutes in all.
"""

from dataclasses import replace
from functools import partial

from hipposeg.anydata.fit import FittedRun, Wishes, fitted
from hipposeg.experiments.model import schedules
from hipposeg.experiments.registry import SCANS, RunSpec
from hipposeg.experiments.run import trained
from hipposeg.experiments.samples import images_of
from hipposeg.experiments.weights import load as load_weights
from hipposeg.experiments.weights import predict_with
from hipposeg.predict import card
from hipposeg_lab.studies.making import Context, Rows, Study, Unit
from hipposeg_lab.studies.otherdata import rows_of
from hipposeg_lab.studies.sensitivity import first_volumes

COLUMNS = ("unit", "variant", "seed", "part", "case", "subject", "label", "dice")
SUBJECTS, SEEDS, PATCHES, PATCH = (5, 10, 20, 50), (0, 1, 2), 400, (40, 56, 40)
RANDOM, STARTED, UNTOUCHED = "random weights", "fine-tuned", "start alone"
START = card.PACKAGED / f"{SCANS}.grouped0.s0.standard.safetensors"


def _few(context: Context, name: str, variant: str, seed: int, people: int) -> Rows:
    cohort, fold = context.cohort, dict(context.folds["grouped"][0])
    fold |= {"scored": sorted(first_volumes(context, fold["scored"])), "watched": fold["scored"][:1]}
    wishes = Wishes(PATCH, PATCHES, people, start=None if variant == RANDOM else START)
    model = fitted(SCANS, cohort, fold, wishes)
    config = replace(model.training("standard"), epochs=1, horizon=1.0, watch_every=2)
    model = replace(model, schedules=schedules(config))
    run = FittedRun(model.name, "grouped", 0, seed, "standard", fitted=model)
    if people:
        images, work = images_of(cohort, model.prep, context.ws), context.ws.work / "few" / name.replace(" ", "-")
        predict = trained(run, cohort, fold, images, context.machine, work, name).predict
    else:
        predict = predict_with(model, load_weights(START, run, cohort.spec, context.machine), context.machine)
    rows = rows_of(predict, cohort, f"{people} subjects", fold["scored"])
    return {"few": [{"unit": name, "variant": variant, "seed": seed} | row for row in rows]}


def _unit(variant: str, people: int, seed: int) -> Unit:
    name = f"{variant} {people} {seed}"
    make = partial(_few, name=name, variant=variant, seed=seed, people=people)
    return Unit(name, () if variant == RANDOM else (RunSpec(SCANS),), make)


STUDY = Study(
    "few",
    "How far do few labelled subjects get, from random or from trained weights?",
    {"few": COLUMNS},
    (
        _unit(UNTOUCHED, 0, 0),
        *(_unit(one, people, seed) for seed in SEEDS for people in SUBJECTS for one in (RANDOM, STARTED)),
    ),
    {"version": 1, "patches": PATCHES, "patch": PATCH},
    weights=False,
)
