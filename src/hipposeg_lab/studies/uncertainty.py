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
from hipposeg.experiments.registry import FLAGSHIP
from hipposeg.experiments.spec import RunSpec
from hipposeg.inference import probabilities
from hipposeg.training.batches import seeded
from hipposeg_lab.studies import calibration, detection
from hipposeg_lab.studies.calibration import TOP, Voxels
from hipposeg_lab.studies.making import Context, Rows, Study, Unit, network_of

RELIABILITY = ("method", "label", "bin", "confidence", "accuracy", "voxels")
SUMMARY = ("method", "label", "ece_before", "ece_after", "temperature", "drop", "drop_low", "drop_high", "people")
DETECTION = (
    "method", "measure", "dice", "spearman", "spearman_low", "spearman_high", "auroc", "auroc_low", "auroc_high",
    "cases", "people",
)  # fmt: skip
COVERAGE = ("method", "measure", "coverage", "dice", "oracle")
TABLES = {
    "calibration": RELIABILITY, "calibration_scaled": RELIABILITY, "calibration_summary": SUMMARY,
    "detection": DETECTION, "risk_coverage": COVERAGE,
}  # fmt: skip

# Predictions with dropout.
DRAWS = 8
PLAIN, VIEWS, FLIPS, DROPOUT = "plain", "views", "flips", "dropout"

# (K, X, Y, Z) each: the predictions that a method averages.
Members = list[np.ndarray]


@dataclass(frozen=True)
class Method:
    """A way to obtain probabilities.

    Attributes:
        name: in the tables.
        runs: the networks of fold 0.
        how: PLAIN predicts once, VIEWS with test-time augmentation, FLIPS as stored and mirrored along axis 0, DROPOUT
            several times with dropout.
        others: networks of the same model on other folds, for the temperature.
    """

    name: str
    runs: tuple[RunSpec, ...]
    how: str = PLAIN
    others: tuple[RunSpec, ...] = ()


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

    def ask(image: np.ndarray) -> np.ndarray:
        return probabilities(network, prep, image, context.machine)

    if how == FLIPS:
        return [ask(case.image), ask(np.ascontiguousarray(case.image[:, ::-1]))[:, ::-1]]
    if how != DROPOUT:
        return [ask(case.image)]
    for module in network.modules():
        if "Dropout" in type(module).__name__:
            module.train()
    found = []
    for draw in range(DRAWS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeded("inference", "dropout", case.number, draw).initial_seed())
            found.append(ask(case.image))
    return found


def answers(
    context: Context, runs: Sequence[RunSpec], how: str, name: str
) -> Iterator[tuple[Case, Members, np.ndarray]]:
    """Yield every test case of the runs with its predictions and their mean."""
    networks = [network_of(context, run) for run in runs]
    for number in tqdm(context.folds[runs[0].folds][runs[0].fold]["scored"], desc=name, mininterval=5, unit="case"):
        case = context.cohort.cases[number]
        said = [one for run, net in zip(runs, networks, strict=True) for one in members(context, run, net, how, case)]
        yield case, said, np.mean(said, axis=0)


def temperatures(voxels: Sequence[Voxels], others: Sequence[Voxels]) -> dict[int, float]:
    """Subject -> temperature, fitted on all `others`, or without any on the other half of subjects.

    Sorted subjects belong to the halves in turn.
    """
    people = sorted({one.subject for one in voxels})
    if others:
        return dict.fromkeys(people, calibration.fitted(others))
    halves = (people[::2], people[1::2])
    found = {}
    for mine, fit_on in (halves, halves[::-1]):
        kept = [one for one in voxels if one.subject in fit_on]
        found |= dict.fromkeys(mine, calibration.fitted(kept))
    return found


def calibrated(name: str, voxels: Sequence[Voxels], others: Sequence[Voxels], labels: Sequence[str]) -> Rows:
    """Rows of the three tables of calibration. labels: names of the foreground classes."""
    fitted = temperatures(voxels, others)
    after = [replace(one, probabilities=calibration.scaled(one.probabilities, fitted[one.subject])) for one in voxels]
    rows: Rows = {"calibration": [], "calibration_scaled": [], "calibration_summary": []}
    for label, value in {**{named: k for k, named in enumerate(labels, 1)}, TOP: None}.items():
        raw, mended = calibration.by_person(voxels, value), calibration.by_person(after, value)
        fall = calibration.drop(raw, mended)
        ece = {"ece_before": calibration.error(raw.sum(0)), "ece_after": calibration.error(mended.sum(0))}
        ends = {"drop": fall.value, "drop_low": fall.low, "drop_high": fall.high, "people": len(raw)}
        temperature = float(np.mean(list(fitted.values())))
        rows["calibration_summary"].append({"method": name, "label": label, **ece, "temperature": temperature, **ends})
        for table, counts in (("calibration", raw.sum(0)), ("calibration_scaled", mended.sum(0))):
            for number, (voxel, confidence, hits) in enumerate(counts.tolist()):
                means = {"confidence": confidence / voxel, "accuracy": hits / voxel} if voxel else {}
                rows[table].append({"method": name, "label": label, "bin": number, **means, "voxels": int(voxel)})
    return rows


def detected(name: str, cases: Sequence[dict[str, Any]]) -> Rows:
    """Rows of detection.csv and risk_coverage.csv. cases: subject, dice, and each measure of uncertainty, by case."""
    subjects, dice = np.array([one["subject"] for one in cases]), np.array([one["dice"] for one in cases])
    bad, rows = detection.worst(dice), {"detection": [], "risk_coverage": []}
    for measure in (key for key in cases[0] if key not in ("subject", "dice")):
        u = np.array([one[measure] for one in cases])
        found = {
            "spearman": stats.of_cases(lambda i, _, u=u: detection.spearman(u[i], dice[i]), subjects),
            "auroc": stats.of_cases(lambda i, _, u=u: detection.auroc(u[i], bad[i]), subjects),
        }
        numbers = {f"{key}{end}": getattr(one, attribute) for key, one in found.items()
                   for end, attribute in (("", "value"), ("_low", "low"), ("_high", "high"))}  # fmt: skip
        shared = {"method": name, "measure": measure}
        counts = {"cases": len(cases), "people": len(set(subjects.tolist()))}
        rows["detection"].append({**shared, "dice": float(dice.mean()), **numbers, **counts})
        rows["risk_coverage"] += [
            {**shared, "coverage": share, "dice": kept, "oracle": best}
            for share, kept, best in detection.coverage_curve(u, dice)
        ]
    return rows


def _unit(method: Method) -> Unit:
    def make(context: Context) -> Rows:
        spec = context.cohort.spec
        voxels, cases = [], []
        for case, said, found in answers(context, method.runs, method.how, method.name):
            mask = found.argmax(0)
            dice = metrics.class_dice(mask, case.label, spec)
            one = {"subject": case.subject, "dice": float(np.nanmean(list(dice.values())))}
            one |= {"entropy": detection.entropy(found, case.spacing), "expected": detection.expected_loss(found)}
            cases.append(one | ({"disagreement": detection.disagreement(said, found)} if len(said) > 1 else {}))
            voxels.append(calibration.counted(case.number, case.subject, found, case.label, case.spacing))
        others = [
            calibration.counted(case.number, case.subject, found, case.label, case.spacing)
            for run in method.others
            for case, _, found in answers(context, (run,), method.how, run.name)
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
