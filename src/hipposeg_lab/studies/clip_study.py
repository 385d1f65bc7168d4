"""What a CLIP's run leaves beside its scores: retrieval on held-out people, transfer by text alone, classes' cosines.

Such a run's own scores are those of segmenting by text alone: each patch of the frozen tower is compared
with what the classes are called, without a decoder. transfer.csv has the same for every set of prompts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from hipposeg import files, metrics
from hipposeg.data.captions import AXIS, Facts, caption, facts, terciles
from hipposeg.data.cohort import Cohort
from hipposeg.data.prompts import KINDS
from hipposeg.experiments import guidance
from hipposeg.experiments.hooks import Finished
from hipposeg.experiments.samples import shared
from hipposeg.experiments.spec import RunSpec
from hipposeg.experiments.weights import predict_with
from hipposeg.inference import Prep
from hipposeg.models.clip import Clip
from hipposeg.results import store
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import retrieval

# What the files of Ayoub-ABIDI/Hippocampus-Segmentation-from-Medical-Images say: where the loss of its guided network
# stayed, and the cosine of its text for anterior and posterior.
STUDENTS_LOSS, STUDENTS_COSINE = 0.7975, 0.977
# Tables of artifacts/studies.
RETRIEVAL, TRANSFER, COSINES = "retrieval", "transfer", "cosines"
TRANSFER_COLUMNS = ("case", "subject", "label", "prompts", "dice")


@dataclass(frozen=True)
class Slices:
    """Held-out slices in one order, as a CLIP sees them and as captions tell of them.

    images: (N, C, H, W). said: facts of each. texts: one wording each. cases: (N,). features of the slices, and those
    of their captions, `read`: (N, D) of length 1.
    """

    images: Tensor
    said: list[Facts]
    texts: list[str]
    cases: np.ndarray
    features: np.ndarray
    read: np.ndarray


@torch.inference_mode()
def look(
    network: Clip, prep: Prep, images: Mapping[int, np.ndarray], cohort: Cohort, trained: list[int], machine: Machine
) -> Slices:
    """Show held-out slices to a CLIP, and read it their captions.

    images: case -> (C, X, Y, Z) float32. trained: cases that sizes are compared with. A caption's wording is drawn from
    its case's number.
    """
    sizes = terciles([one for of in guidance.measured(cohort, prep, trained).values() for one in of])
    measured = guidance.measured(cohort, prep, list(images))
    said, texts, cases, parts = [], [], [], []
    for number, of in measured.items():
        samples, placement = prep.place(images[number])
        parts.append(samples[placement.inside_grid[AXIS]])
        words, found = np.random.default_rng(number), [facts(one, sizes) for one in of]
        said += found
        texts += [caption(one, words) for one in found]
        cases += [number] * len(found)
    every = torch.cat(parts)
    with machine.autocast():
        features = [network.tower(part.to(machine.device)).cpu() for part in every.split(256)]
        read = [network.read(texts[start : start + 256]).cpu() for start in range(0, len(texts), 256)]
    return Slices(every, said, texts, np.array(cases), torch.cat(features).numpy(), torch.cat(read).numpy())


def retrieved(slices: Slices, people: Mapping[int, int]) -> pd.DataFrame:
    """The table of `retrieval.study` for held-out slices that show hippocampus; people: case -> person.

    The others share two captions among them all, which would count for much and tell little.
    """
    shown = np.array([bool(one.parts) for one in slices.said])
    flat = slices.images.flatten(1).numpy()[shown].astype(np.float64)
    squares = (flat**2).sum(1)
    pixels = 2 * flat @ flat.T - squares[:, None] - squares  # minus the squared distance
    said = [one for one in slices.said if one.parts]
    similarity = slices.features[shown] @ slices.read[shown].T
    return retrieval.study(similarity, pixels, said, slices.cases[shown], people)


def transfer(
    network: Clip, run: RunSpec, images: Mapping[int, np.ndarray], cohort: Cohort, trained: list[int], machine: Machine
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Dice of every scored case by text alone, and the cosines between the class vectors, for each set of prompts.

    Cosines have one row a pair of classes: prompts, first, second (0 is the background), cosine.
    """
    rows, cosines, own = [], [], network.classes.clone()
    for kind in KINDS:
        vectors = network.vectors(guidance.class_prompts(kind, run, cohort, trained))
        table = (vectors @ vectors.T).cpu().numpy().round(4)
        cosines += [
            {"prompts": kind, "first": first, "second": second, "cosine": float(table[first, second])}
            for first, second in combinations(range(len(table)), 2)
        ]
        network.classes.copy_(vectors)
        predict = predict_with(run.definition, network, machine)
        for number, image in images.items():
            case = cohort.cases[number]
            mask = predict(image, case.spacing)
            dice = metrics.class_dice(mask, case.label, cohort.spec)
            dice[metrics.MEAN] = float(np.nanmean(list(dice.values())))
            row = {"case": number, "subject": case.subject, "prompts": kind}
            rows += [{**row, "label": label, "dice": value} for label, value in dice.items()]
    network.classes.copy_(own)
    return rows, cosines


def hook(finished: Finished) -> None:
    """Keep retrieval.csv, transfer.csv and cosines.csv of a CLIP's run; nothing of any other run.

    Labels of test cases enter the captions that are searched for, and the scores.
    """
    network, run, cohort, images = finished.network, finished.run, finished.cohort, finished.images
    if not isinstance(network, Clip):
        return
    model = run.definition
    share = model.training(run.schedule).share if model.trains else 1.0
    trained = shared(cohort, finished.fold["train"], share, run.seed)
    subjects = {number: cohort.cases[number].subject for number in images}
    table = retrieved(look(network, model.prep, images, cohort, trained, finished.machine), subjects)
    rows, cosines = transfer(network, run, images, cohort, trained, finished.machine)
    files.write_csv(finished.folder / f"{RETRIEVAL}.csv", retrieval.COLUMNS, table.to_dict("records"))
    files.write_csv(finished.folder / f"{TRANSFER}.csv", TRANSFER_COLUMNS, rows)
    pd.DataFrame(cosines).to_csv(finished.folder / f"{COSINES}.csv", index=False)


def read(ws: Workspace, name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """What CLIP runs kept: the rows of `artifacts/studies/<name>.csv.gz` of these runs, with their seeds.

    rows: of `results.load`.
    """
    table = store.read_table(ws.artifacts / "studies" / f"{name}.csv.gz")
    return table.merge(rows[["run", "seed"]].drop_duplicates())


def dice_of_all_classes(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the mean soft Dice of all classes, background included, pooled: the student project's kind of loss.

    logits, target: (B, K, *S).
    """
    probability, axes = logits.softmax(1), (0, *range(2, logits.ndim))
    return 1 - (2 * (probability * target).sum(axes) / (probability + target).sum(axes)).mean()


@torch.inference_mode()
def similarity(network: nn.Module, prep: Prep, image: np.ndarray, machine: Machine, batch: int = 48) -> np.ndarray:
    """Cosines of every voxel with each class: (K, X, Y, Z) float32, NaN beyond the network's box.

    network: a guided one, or a CLIP, whose voxels have what its patches have, linearly enlarged. image: (C, X, Y, Z)
    float32 in the network's spacing.
    """
    volume, placement = prep.box(image)
    parts = []
    for part in prep.stack(volume).split(batch):
        with machine.autocast():
            parts.append(network.similarity(part.to(machine.device)).float().cpu())
    return placement.restore(prep.unstack(torch.cat(parts)).numpy(), np.nan)


def examples(
    cohort: Cohort, prep: Prep, trained: list[int], number: int, count: int = 8
) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """Evenly spaced slices of a training case, posterior to anterior: image (X, Z), label (X, Z), caption."""
    case, said = cohort.cases[number], guidance.training_facts(cohort, prep, trained)[number]
    _, placement = prep.box(case.image)
    first, words, found = placement.inside_native[AXIS].start, np.random.default_rng(number), []
    for at in np.linspace(0, len(said) - 1, count).round().astype(int):
        image, label = (np.take(part, first + at, AXIS) for part in (case.image[0], case.label))
        found.append((image, label, caption(said[at], words)))
    return found
