"""Methods to obtain probabilities compared: their calibration, and whether uncertainty detects the worst cases.

All methods predict the test subjects of grouped fold 0. A temperature is never fitted on subjects that it is applied
to. The flagship has networks for the other four folds, so its temperature comes from their test subjects. The networks
of the other methods exist for fold 0 alone: a temperature fitted on half of its test subjects is applied to the other
half, and vice versa.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from hipposeg import metrics, stats
from hipposeg.data.read import Case
from hipposeg.experiments.registry import FLAGSHIP, RunSpec
from hipposeg.inference import probabilities
from hipposeg.training.batches import seeded
from hipposeg_lab.studies import calibration, detection
from hipposeg_lab.studies.calibration import TOP, Voxels
from hipposeg_lab.studies.making import Context, Rows, Study, Unit, ends, network_of

RELIABILITY = ("method", "label", "bin", "confidence", "accuracy", "voxels")
TABLES = {
    "calibration": RELIABILITY,
    "calibration_scaled": RELIABILITY,
    "calibration_summary": (
        "method", "label", "ece_before", "ece_after", "temperature", "drop", "drop_low", "drop_high", "subjects",
    ),
    "detection": (
        "method", "measure", "dice", "spearman", "spearman_low", "spearman_high", "auroc", "auroc_low", "auroc_high",
        "cases", "subjects",
    ),
    "risk_coverage": ("method", "measure", "coverage", "dice", "oracle"),
}  # fmt: skip

# Predictions with dropout.
DRAWS = 8
PLAIN, VIEWS, FLIPS, DROPOUT = "plain", "views", "flips", "dropout"

# (K, X, Y, Z) each: the predictions that a method averages.
Members = list[np.ndarray]


@dataclass(frozen=True)
class Method:
    """A way to obtain probabilities."""

    name: str
    runs: tuple[RunSpec, ...]  # the networks of fold 0
    # PLAIN predicts once, VIEWS with test-time augmentation, FLIPS as stored and mirrored along axis 0, DROPOUT several
    # times with dropout.
    how: str = PLAIN
    others: tuple[RunSpec, ...] = ()  # networks of the same model on other folds, for the temperature


METHODS = (
    Method("one network", (RunSpec("unet3d"),)),
    Method("ensemble of 3 seeds", tuple(RunSpec("unet3d", seed=seed) for seed in range(3))),
    Method("moved views", (RunSpec("unet3d"),), VIEWS),
    Method("dropout at inference", (RunSpec("unet3d+dropout"),), DROPOUT),
    Method("flips, trained with flips", (RunSpec("unet3d+flip"),), FLIPS),
    Method("flips, trained without (trap)", (RunSpec("unet3d"),), FLIPS),
    Method("flagship", (RunSpec(FLAGSHIP),), VIEWS, tuple(RunSpec(FLAGSHIP, fold=fold) for fold in range(1, 5))),
)


def members(context: Context, run: RunSpec, network: nn.Module, how: str, case: Case) -> Members:
    """One network's predictions of a case, one or several."""
    prep = replace(run.definition.prep, views=how == VIEWS)

    def predict(image: np.ndarray) -> np.ndarray:
        return probabilities(network, prep, image, context.machine)

    if how == FLIPS:
        return [predict(case.image), predict(np.ascontiguousarray(case.image[:, ::-1]))[:, ::-1]]
    if how != DROPOUT:
        return [predict(case.image)]
    for module in network.modules():
        if "Dropout" in type(module).__name__:
            module.train()
    found = []
    for draw in range(DRAWS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeded("inference", "dropout", case.number, draw).initial_seed())
            found.append(predict(case.image))
    return found


def predictions(context: Context, runs: Sequence[RunSpec], how: str) -> Iterator[tuple[Case, Members, np.ndarray]]:
    """Yield every test case of the runs with its predictions and their mean."""
    networks = {run: network_of(context, run) for run in runs}
    for number in tqdm(context.folds[runs[0].folds][runs[0].fold]["scored"], runs[0].name, mininterval=5, unit="case"):
        case = context.cohort.cases[number]
        found = [one for run, network in networks.items() for one in members(context, run, network, how, case)]
        yield case, found, np.mean(found, axis=0)


def temperatures(voxels: Sequence[Voxels], others: Sequence[Voxels]) -> dict[int, float]:
    """Subject -> temperature, fitted on all `others`, or without any on the other half of subjects.

    Sorted subjects belong to the halves in turn.
    """
    subjects = sorted({one.subject for one in voxels})
    if others:
        return dict.fromkeys(subjects, calibration.fitted(others))
    halves, found = (subjects[::2], subjects[1::2]), {}
    for mine, theirs in (halves, halves[::-1]):
        found |= dict.fromkeys(mine, calibration.fitted([one for one in voxels if one.subject in theirs]))
    return found


def calibrated(name: str, voxels: Sequence[Voxels], others: Sequence[Voxels], labels: Sequence[str]) -> Rows:
    """Rows of the three tables of calibration. labels: names of the foreground classes."""
    fitted = temperatures(voxels, others)
    after = [replace(one, probabilities=calibration.scaled(one.probabilities, fitted[one.subject])) for one in voxels]
    rows: Rows = {"calibration": [], "calibration_scaled": [], "calibration_summary": []}
    for label, value in {**{named: k for k, named in enumerate(labels, 1)}, TOP: None}.items():
        both = calibration.by_subject(voxels, value), calibration.by_subject(after, value)
        before, scaled = (table.sum(0) for table in both)
        rows["calibration_summary"].append({
            "method": name, "label": label, "temperature": float(np.mean(list(fitted.values()))),
            "ece_before": calibration.error(before), "ece_after": calibration.error(scaled),
            **ends("drop", calibration.drop(*both)), "subjects": len(both[0]),
        })  # fmt: skip
        for table, counts in (("calibration", before), ("calibration_scaled", scaled)):
            for number, (voxel, confidence, hits) in enumerate(counts.tolist()):
                means = {"confidence": confidence / voxel, "accuracy": hits / voxel} if voxel else {}
                rows[table].append({"method": name, "label": label, "bin": number, **means, "voxels": int(voxel)})
    return rows


def detected(name: str, cases: Sequence[dict[str, Any]]) -> Rows:
    """Rows of detection.csv and risk_coverage.csv. cases: subject, dice, and each measure of uncertainty, by case."""
    subjects, dice = np.array([one["subject"] for one in cases]), np.array([one["dice"] for one in cases])
    bad, rows = detection.worst(dice), {"detection": [], "risk_coverage": []}
    for measure in (key for key in cases[0] if key not in ("subject", "dice")):
        u, shared = np.array([one[measure] for one in cases]), {"method": name, "measure": measure}
        rows["detection"].append({
            **shared, "dice": float(dice.mean()), "cases": len(cases), "subjects": len(set(subjects.tolist())),
            **ends("spearman", stats.of_cases(lambda i, _, u=u: detection.spearman(u[i], dice[i]), subjects)),
            **ends("auroc", stats.of_cases(lambda i, _, u=u: detection.auroc(u[i], bad[i]), subjects)),
        })  # fmt: skip
        curve = detection.coverage_curve(u, dice)
        rows["risk_coverage"] += [shared | dict(zip(("coverage", "dice", "oracle"), one, strict=True)) for one in curve]
    return rows


def _unit(method: Method) -> Unit:
    def make(context: Context) -> Rows:
        spec, voxels, cases = context.cohort.spec, [], []
        for case, found, mean in predictions(context, method.runs, method.how):
            dice = float(np.nanmean(list(metrics.class_dice(mean.argmax(0), case.label, spec).values())))
            one = {"subject": case.subject, "dice": dice, "entropy": detection.entropy(mean, case.spacing)}
            one["expected"] = detection.expected_loss(mean)
            cases.append(one | ({"disagreement": detection.disagreement(found, mean)} if len(found) > 1 else {}))
            voxels.append(calibration.counted(case.subject, mean, case.label, case.spacing))
        others = [
            calibration.counted(case.subject, mean, case.label, case.spacing)
            for run in method.others
            for case, _, mean in predictions(context, (run,), method.how)
        ]
        return {**calibrated(method.name, voxels, others, spec.names), **detected(method.name, cases)}

    return Unit(method.name, (*method.runs, *method.others), make)


STUDY = Study(
    "uncertainty",
    "Are probabilities calibrated, and does uncertainty detect the worst cases?",
    TABLES,
    tuple(_unit(method) for method in METHODS),
    {
        "version": 1, "draws": DRAWS, "band_mm": calibration.BAND_MM, "bins": calibration.BINS, "bad": detection.BAD,
        "methods": {method.name: method.how for method in METHODS},
    },
)  # fmt: skip
