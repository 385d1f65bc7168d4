"""Training on other labelled data sets: leaks, missing channels, and full size.

Patients' data in the layouts of projects D and E may not be shipped, so everything is measured on stand-ins
(`hipposeg_lab.standin`): tilted ellipsoids. A stand-in shows whether the tool finds an effect of known kind; its size
among patients is another question. Every unit is one network, trained here for a minute or two. Planned minutes of one
idle core: 8 for `volumes`, 4 for `channels`, 7 for `slices` and 10 for `full`.

- `slices`: project D's leak. Both networks train on the same base subjects. The leaking one adds four fifths of the
  slices of the validation subjects, drawn at random, the clean one as many slices of other subjects.
- `volumes`: project E's leak. The leaking network adds another week of the scored patients, the clean one a week of
  as many other patients. Training ends when every class reaches Dice 0.7 on watched patients, at the latest after
  EPOCHS_E.
- `channels`: two contrasts, trained with and without channel dropout, scored with both and with each one missing.
- `full`: five volumes of 256 x 256 x 128 voxels and six classes, by the command that a user types.
"""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hipposeg import files, metrics
from hipposeg.anydata.describe import MARK, describe
from hipposeg.anydata.fit import FittedRun, Wishes, base, fitted
from hipposeg.data import cohort as cohorts
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.experiments.model import Model, schedules
from hipposeg.experiments.run import Trained, trained
from hipposeg.experiments.samples import make_samples
from hipposeg.experiments.weights import initial, predict_with
from hipposeg.experiments.zoo3d import UNET3D
from hipposeg.inference import Predictor
from hipposeg.results import compare, store
from hipposeg.stats import conclusion, interval, paired
from hipposeg.training.batches import seeded
from hipposeg.training.loop import Training, fit
from hipposeg.workspace import Workspace
from hipposeg_lab import standin
from hipposeg_lab.studies.making import Context, Rows, Study, Unit

SCORES = ("unit", "experiment", "variant", "seed", "part", "case", "subject", "label", "dice")
EPOCHS = ("unit", "epoch", "loss", "label", "dice")
FULL = ("unit", "what", "value")
LEAKING, CLEAN = "leaking", "clean"
# Layout -> subjects, visits and size of the stand-in of each experiment.
SETS = {
    "mrihs": (40, 1, (128, 128, 64)),
    "hipmri": (48, 2, (32, 32, 32)),
    "nnunet": (36, 1, (32, 32, 32)),
    "full": (5, 1, (256, 256, 128)),
}
# Project D: base and validation subjects in training order, epochs, and the fraction of a subject's slices that train.
BASE_D, VALIDATION_D, EPOCHS_D, SHARE_D = 6, 12, 6, 0.8
# Project E: scored, other, base and watched patients; the rest is new. Patches an epoch. With the project's own
# optimiser the small classes need far longer, so its network is trained as `unet3d` is.
PATIENTS_E, EPOCHS_E, PATCHES_E = (12, 12, 10, 2), 8, 80
TRAIN_C, PATCHES_C, DROPOUT = 20, 300, 0.3
MISSING = {"both contrasts": (), "without T1": (0,), "without T2": (1,)}
FULL_MODEL, FULL_EPOCHS, FULL_PATCHES = "unet3d-residual", 4, 24
SETTINGS = {
    "version": 2, "sets": SETS, "d": (BASE_D, VALIDATION_D, EPOCHS_D, SHARE_D), "e": (PATIENTS_E, EPOCHS_E, PATCHES_E),
    "c": (TRAIN_C, PATCHES_C, DROPOUT), "full": (FULL_MODEL, FULL_EPOCHS, FULL_PATCHES),
}  # fmt: skip


def _home(ws: Workspace) -> Path:
    """Folder of stand-ins and networks; with other settings another one, so that nothing of those is continued."""
    return ws.work / "otherdata" / files.sha256_bytes(files.to_json(SETTINGS).encode())[:8]


def standin_of(name: str, ws: Workspace) -> Cohort:
    """The stand-in of an experiment, generated once."""
    subjects, visits, size = SETS[name]
    folder = _home(ws) / name
    if not (folder / MARK).is_file():  # it is written last
        shutil.rmtree(folder, ignore_errors=True)
        standin.generate("hipmri" if name == "full" else name, folder, subjects, size, 0, visits)
    return cohorts.load(describe(folder, "case" if name == "nnunet" else ""))


def rows_of(predict: Predictor, cohort: Cohort, part: str, cases: Sequence[int]) -> list[dict[str, Any]]:
    """Dice of each class and their mean, of whole volumes."""
    rows = []
    for number in cases:
        case = cohort.cases[number]
        found = metrics.class_dice(predict(case.image, case.spacing), case.label, cohort.spec)
        found["mean"] = float(np.nanmean(list(found.values())))
        rows += [{"part": part, "case": number, "subject": case.subject, "label": k, "dice": v}
                 for k, v in found.items()]  # fmt: skip
    return rows


def _work(context: Context, unit: str) -> Path:
    return _home(context.ws) / "runs" / unit.replace(" ", "-")


def _trained(context: Context, unit: str, model: Model, cohort: Cohort, fold: Fold, seed: int) -> Trained:
    """Train a fitted model; an interrupted training goes on."""
    run = FittedRun(model.name, "grouped", 0, seed, "standard", fitted=model)
    images = {number: case.image for number, case in cohort.cases.items()}
    return trained(run, cohort, fold, images, context.machine, _work(context, unit), unit)


def divided(labels: Mapping[int, np.ndarray], seed: int) -> tuple[dict[int, np.ndarray], ...]:
    """Of each case the slices with foreground: all, a random part of SHARE_D, and the rest; labels (X, Y, slices)."""
    full = {n: np.flatnonzero(label.any((0, 1))) for n, label in labels.items()}
    kept, held = {}, {}
    for n, slices in full.items():
        order = slices[torch.randperm(len(slices), generator=seeded(seed, "slices", n)).numpy()]
        count = round(SHARE_D * len(slices))
        kept[n], held[n] = np.sort(order[:count]), np.sort(order[count:])
    return full, kept, held


def _slices(context: Context, unit: str, variant: str, seed: int) -> Rows:
    """Project D's leak; only slices with hippocampus, which the project chose by the truth, train and validate."""
    cohort = standin_of("mrihs", context.ws)
    test = [n for n, entry in enumerate(cohort.spec.entries, 1) if entry.test]
    others = [n for n in cohort.numbers if n not in test]
    validation, added = others[BASE_D : BASE_D + VALIDATION_D], others[BASE_D + VALIDATION_D :]
    full, kept, held = divided({n: case.label for n, case in cohort.cases.items()}, seed)
    cases = [*others[:BASE_D], *(validation if variant == LEAKING else added[:VALIDATION_D])]
    model = base("project-d")
    model = replace(model, prep=replace(model.prep, size=SETS["mrihs"][2]))
    images = {n: case.image for n, case in cohort.cases.items()}
    samples = make_samples(images, cohort, model.prep, cases, {**full, **{n: kept[n] for n in cases[BASE_D:]}})
    config = replace(model.training("standard"), epochs=EPOCHS_D, batch=8)
    run = FittedRun(model.name, seed=seed, fitted=model)
    training = Training(initial(run, cohort.spec), config, context.machine, seed)
    network, history, _ = fit(training, samples, _work(context, unit), unit, None, unit)
    rows = []
    parts = {"training": (cases, full), "validation": (validation, held), "test": (test, full)}
    for part, (numbers, chosen) in parts.items():
        for n in numbers:
            one = make_samples(images, cohort, model.prep, [n], chosen)
            with torch.inference_mode(), context.machine.autocast():
                found = network(one.images).argmax(1).numpy()
            dice = metrics.dice(found == 1, one.labels.numpy() == 1)
            rows.append({"part": part, "case": n, "subject": cohort.cases[n].subject, "label": "hippocampus",
                         "dice": dice})  # fmt: skip
    every = rows_of(predict_with(model, network, context.machine), cohort, "test, every slice", test)
    rows += [row for row in every if row["label"] == "hippocampus"]
    lines = [{"epoch": line["epoch"], "loss": line["loss"], "label": "", "dice": None} for line in history]
    return {"otherdata_scores": rows, "otherdata_epochs": lines}


def patients(people: Mapping[int, list[int]], variant: str) -> tuple[Fold, dict[str, list[int]]]:
    """Fold of project E's leak, and the cases of each scored part; people: patient -> his two weeks."""
    weeks, ends = list(people.values()), np.cumsum(PATIENTS_E)
    scored, other, basic, watched, new = (weeks[a:b] for a, b in zip((0, *ends), (*ends, None), strict=True))
    added = [two[1] for two in (scored if variant == LEAKING else other)]
    parts = {"training": basic, "scored patients": scored, "new patients": new}
    fold = {
        "train": sorted([*sum(basic, []), *added]), "watched": sum(watched, []),
        "scored": [two[0] for two in (*scored, *new)],
    }  # fmt: skip
    return fold, {part: [two[0] for two in both] for part, both in parts.items()}


def _volumes(context: Context, unit: str, variant: str, seed: int) -> Rows:
    """Project E's leak."""
    cohort = standin_of("hipmri", context.ws)
    fold, parts = patients(cohort.people, variant)
    model = fitted("project-e", cohort, fold, Wishes(patch=SETS["hipmri"][2], patches=PATCHES_E))
    config = replace(model.training("standard"), epochs=EPOCHS_E, lr=UNET3D.lr, muon=UNET3D.muon)
    model = replace(model, schedules=schedules(config))
    made = _trained(context, unit, model, cohort, fold, seed)
    rows = [row for part, cases in parts.items() for row in rows_of(made.predict, cohort, part, cases)]
    lines = []
    for text in (_work(context, unit) / "history.jsonl").read_text().splitlines():
        line = json.loads(text)
        lines += [{"epoch": line["epoch"], "loss": line["loss"], "label": label, "dice": value}
                  for label, value in line.get("dice", {}).items()]  # fmt: skip
    return {"otherdata_scores": rows, "otherdata_epochs": lines}


def _channels(context: Context, unit: str, variant: str, seed: int) -> Rows:
    """Two contrasts, each missing once."""
    cohort = standin_of("nnunet", context.ws)
    fold = {"train": cohort.numbers[:TRAIN_C], "scored": cohort.numbers[TRAIN_C:], "watched": cohort.numbers[-1:]}
    wishes = Wishes(SETS["nnunet"][2], PATCHES_C, channel_dropout=DROPOUT if variant == "channel dropout" else 0.0)
    model = fitted("unet3d", cohort, fold, wishes)
    config = replace(model.training("standard"), epochs=1, watch_every=2)
    model = replace(model, schedules=schedules(config))
    network = _trained(context, unit, model, cohort, fold, seed).network
    rows = []
    for part, missing in MISSING.items():
        seen = replace(model, prep=replace(model.prep, missing=missing))
        rows += rows_of(predict_with(seen, network, context.machine), cohort, part, fold["scored"])
    return {"otherdata_scores": rows}


def _full(context: Context, unit: str, variant: str, seed: int) -> Rows:
    """The command on a full-size stand-in; what it prints and writes."""
    cohort = standin_of("full", context.ws)
    data, out = _home(context.ws) / "full", _work(context, unit)
    command = [sys.executable, "-m", "hipposeg.cli", "train", "--data", str(data), "--model", FULL_MODEL]
    command += ["--out", str(out), "--patches", str(FULL_PATCHES), "--schedule", f"e{FULL_EPOCHS}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    ws = Workspace(out, "data-full", "standard")
    (run,) = store.read_runs(ws).to_dict("records")
    planned = re.search(r"patches of (.+) voxels of .*?, (\d+) steps of (\d+), about ([\d.]+) h", done.stdout)
    memory = re.search(r"Peak memory ([\d.]+) GB", done.stdout)[1]
    epochs = base(FULL_MODEL).training("standard").epochs
    whole = fitted(FULL_MODEL, cohort, {"train": cohort.numbers, "scored": []}, Wishes())
    usual = whole.training("standard").patches * epochs // int(planned[3])
    second = run["train_s"] / run["steps"]
    facts = {
        "voxels of a volume": " x ".join(map(str, SETS["full"][2])), "voxels of a patch": planned[1],
        "patches a step": planned[3], "steps": run["steps"], "seconds a step": round(second, 3),
        "hours of these steps as announced": planned[4], "steps of the standard schedule": usual,
        "hours of the standard schedule": round(usual * second / 3600, 1), "peak memory (GB)": memory,
    }  # fmt: skip
    scores = store.read_scores(ws.artifacts).query("label != 'union'")
    rows = [{"part": "test", **row} for row in scores[["case", "subject", "label", "dice"]].to_dict("records")]
    return {"otherdata_scores": rows, "otherdata_full": [{"what": k, "value": v} for k, v in facts.items()]}


def _unit(experiment: str, variant: str, seed: int, make: Callable[..., Rows]) -> Unit:
    name = f"{experiment} {variant} {seed}"

    def made(context: Context) -> Rows:
        found = make(context, name, variant, seed)
        about = {"unit": name, "experiment": experiment, "variant": variant, "seed": seed}
        return {table: [about | row for row in found.get(table, [])] for table in STUDY.tables}

    return Unit(name, (), made)


def _units(seed: int) -> tuple[Unit, ...]:
    return (
        *(_unit("volumes", one, seed, _volumes) for one in (LEAKING, CLEAN)),
        *(_unit("channels", one, seed, _channels) for one in ("no dropout", "channel dropout")),
        *(_unit("slices", one, seed, _slices) for one in (LEAKING, CLEAN)),
    )  # fmt: skip


STUDY = Study(
    "otherdata",
    "What do leaks, a missing channel and full size do on other data sets?",
    {"otherdata_scores": SCORES, "otherdata_epochs": EPOCHS, "otherdata_full": FULL},
    (
        *_units(0),
        _unit("full", "residual 3D U-Net", 0, _full),
        *_units(1), *_units(2),
    ),
    SETTINGS,
    weights=False,
)  # fmt: skip


def means(table: pd.DataFrame, *by: str) -> pd.DataFrame:
    """Mean Dice of each group of rows with its 95 % interval over subjects and seeds: columns by, value, low, high."""
    rows = []
    for key, group in table.groupby(list(by), sort=False):
        found = interval(*compare.stacked(group))
        rows.append({**dict(zip(by, key, strict=True)), "value": found.value, "low": found.low, "high": found.high})
    return pd.DataFrame(rows)


def differences(table: pd.DataFrame, variant: str, reference: str, label: str = "mean") -> pd.DataFrame:
    """Dice of one variant minus another's on each part that both have, for `viz.intervals.forest`."""
    rows = {}
    for part, group in table[table["label"] == label].groupby("part", sort=False):
        sides = [group[group["variant"] == one] for one in (variant, reference)]
        if sides[0].empty or set(sides[0]["case"]) != set(sides[1]["case"]):
            continue
        values, subjects = compare.stacked(sides[0])
        found = paired(values, compare.stacked(sides[1])[0], subjects)
        counts = {"subjects": found.n_subjects, "seeds": found.n_seeds, "conclusion": conclusion(found)}
        rows[part] = {"difference": found.difference, "low": found.low, "high": found.high} | counts
    return pd.DataFrame.from_dict(rows, orient="index")


def traits(project: str) -> pd.DataFrame:
    """What project "D" or "E" has, reports and hides, and where it stands here: columns kind, trait, here."""
    return pd.DataFrame(tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))[project])
