"""Studies of CLIP: retrieval in unseen subjects, segmentation by text alone, label efficiency, and its controls.

A hook writes three tables for each run of a CLIP. The scores of such a run are those of segmentation by text alone:
each patch of the frozen tower is compared with the prompts of the classes, without a decoder. transfer.csv contains
the same for every set of prompts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from hipposeg import files, metrics
from hipposeg.data.captions import AXIS, KINDS, Facts, caption, facts, terciles
from hipposeg.data.cohort import Cohort
from hipposeg.experiments import guidance
from hipposeg.experiments.registry import RunSpec
from hipposeg.experiments.run import Finished
from hipposeg.experiments.samples import shared
from hipposeg.experiments.weights import predict_with
from hipposeg.experiments.zoo_clip import SHARES
from hipposeg.inference import BATCH, Prep
from hipposeg.metrics import MEAN
from hipposeg.models.clip import Clip
from hipposeg.results import compare, store
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import comparisons, retrieval

# From the files of Ayoub-ABIDI/Hippocampus-Segmentation-from-Medical-Images: the loss at which its text-guided network
# stayed, and the cosine of its text for anterior and posterior.
STUDENTS_LOSS, STUDENTS_COSINE = 0.7975, 0.977
# Tables of artifacts/studies.
RETRIEVAL, TRANSFER, COSINES = "retrieval", "transfer", "cosines"
TRANSFER_COLUMNS = ("case", "subject", "label", "prompts", "dice")
COSINE_COLUMNS = ("prompts", "first", "second", "cosine")

GUIDED, TWIN = "clip2d-guided", "clip2d-unguided"


@dataclass(frozen=True)
class Slices:
    """Test slices with their captions."""

    images: Tensor  # (N, C, H, W)
    said: list[Facts]
    cases: np.ndarray  # case numbers (N,)
    features: np.ndarray  # unit vectors of the slices (N, D)
    read: np.ndarray  # unit vectors of their captions (N, D)


@torch.inference_mode()
def look(
    network: Clip, prep: Prep, images: Mapping[int, np.ndarray], cohort: Cohort, trained: list[int], machine: Machine
) -> Slices:
    """Encode the slices of test images, case -> (C, X, Y, Z) float32, and their captions.

    Terciles of the training cases `trained` define sizes in captions; the case number seeds their wording.
    """
    sizes = terciles([one for of in guidance.measured(cohort, prep, trained).values() for one in of])
    said, texts, cases, parts = [], [], [], []
    for number, of in guidance.measured(cohort, prep, list(images)).items():
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
    return Slices(every, said, np.array(cases), torch.cat(features).numpy(), torch.cat(read).numpy())


def retrieved(slices: Slices, subjects: Mapping[int, int]) -> pd.DataFrame:
    """`retrieval.study` of the slices that show hippocampus; the others share two captions."""
    shown = np.array([bool(one.parts) for one in slices.said])
    flat = slices.images.flatten(1).numpy()[shown].astype(np.float64)
    squares = (flat**2).sum(1)
    pixels = 2 * flat @ flat.T - squares[:, None] - squares  # minus the squared distance
    said = [one for one in slices.said if one.parts]
    similarity = slices.features[shown] @ slices.read[shown].T
    return retrieval.study(similarity, pixels, said, slices.cases[shown], subjects)


def transfer(
    network: Clip, run: RunSpec, images: Mapping[int, np.ndarray], cohort: Cohort, trained: list[int], machine: Machine
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Segment by text alone with each set of prompts: Dice of every case, and cosines between class vectors."""
    rows, cosines, own = [], [], network.classes.clone()
    for kind in KINDS:
        vectors = network.vectors(guidance.class_prompts(kind, run, cohort, trained))
        table = (vectors @ vectors.T).cpu().numpy().round(4)
        cosines += [(kind, one, other, float(table[one, other])) for one, other in combinations(range(len(table)), 2)]
        network.classes.copy_(vectors)
        predict = predict_with(run.definition, network, machine)
        for number, image in images.items():
            case = cohort.cases[number]
            dice = metrics.class_dice(predict(image, case.spacing), case.label, cohort.spec)
            dice[MEAN] = float(np.nanmean(list(dice.values())))
            rows += [(number, case.subject, label, kind, value) for label, value in dice.items()]
    network.classes.copy_(own)
    return pd.DataFrame(rows, columns=TRANSFER_COLUMNS), pd.DataFrame(cosines, columns=COSINE_COLUMNS)


def hook(finished: Finished) -> None:
    """Write retrieval.csv, transfer.csv and cosines.csv of a CLIP's run; skip other runs.

    Labels of test cases are used only in the captions that are searched for, and in scores.
    """
    network, run, cohort, images = finished.network, finished.run, finished.cohort, finished.images
    if not isinstance(network, Clip):
        return
    model = run.definition
    share = model.training(run.schedule).share if model.trains else 1.0
    trained = shared(cohort, finished.fold["train"], share, run.seed)
    subjects = {number: cohort.cases[number].subject for number in images}
    found = retrieved(look(network, model.prep, images, cohort, trained, finished.machine), subjects)
    dice, cosines = transfer(network, run, images, cohort, trained, finished.machine)
    for name, table in ((RETRIEVAL, found), (TRANSFER, dice), (COSINES, cosines)):
        files.write_csv(finished.folder / f"{name}.csv", list(table.columns), table.to_dict("records"))


def read(ws: Workspace, name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `artifacts/studies/<name>.csv.gz` of the runs in `rows` (of `results.load`), with their seeds."""
    table = store.read_table(ws.artifacts / "studies" / f"{name}.csv.gz")
    return table.merge(rows[["run", "seed"]].drop_duplicates())


def dice_of_all_classes(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the mean soft Dice of all classes with background, pooled over (B, K, *S): the loss of the project."""
    probability, axes = logits.softmax(1), (0, *range(2, logits.ndim))
    return 1 - (2 * (probability * target).sum(axes) / (probability + target).sum(axes)).mean()


def lowest_loss(
    vectors: Tensor, scale: float, shares: Sequence[float], loss: Callable[[Tensor, Tensor], Any], pixels: int = 2000
) -> float:
    """Lowest loss of logits that are `scale` times cosines with vectors (K, D), if a class has one embedding.

    The best embedding of each class is found by descent. For a mean over pixels, such as cross-entropy, it is a lower
    bound for any network.

    Args:
        vectors, scale: of the cosines.
        shares: fraction of the pixels of each class.
        loss: function of logits and targets (1, K, pixels).
        pixels: number of pixels.
    """
    unit = normalize(vectors.detach().double(), dim=-1)
    counts = torch.tensor([max(1, round(share * pixels)) for share in shares])
    truth = torch.arange(len(unit)).repeat_interleave(counts)
    target = one_hot(truth, len(unit)).T[None].double()
    directions = unit.clone(memory_format=torch.contiguous_format).requires_grad_()
    steps = torch.optim.LBFGS([directions], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        steps.zero_grad()
        found = loss((scale * normalize(directions, dim=-1) @ unit.T)[truth].T[None], target)
        found.backward()
        return found

    steps.step(closure)
    return float(closure().detach())


@torch.inference_mode()
def similarity(network: nn.Module, prep: Prep, image: np.ndarray, machine: Machine) -> np.ndarray:
    """Cosine of every voxel with each class: (K, X, Y, Z) float32, NaN outside the network's box.

    network: text-guided, or a CLIP, whose patches are enlarged linearly. image: (C, X, Y, Z) in the network's spacing.
    """
    volume, placement = prep.volume(image)
    parts = []
    for part in prep.stack(volume).split(BATCH):
        with machine.autocast():
            parts.append(network.similarity(part.to(machine.device)).float().cpu())
    return placement.restore(prep.unstack(torch.cat(parts)).numpy(), np.nan)


def examples(cohort: Cohort, prep: Prep, trained: list[int], number: int) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """Eight evenly spaced slices of a training case, posterior to anterior: image (X, Z), label (X, Z), caption."""
    case, said = cohort.cases[number], guidance.training_facts(cohort, prep, trained)[number]
    _, placement = prep.volume(case.image)
    first, words, found = placement.inside_native[AXIS].start, np.random.default_rng(number), []
    for at in np.linspace(0, len(said) - 1, 8).round().astype(int):
        image, label = (np.take(part, first + at, AXIS) for part in (case.image[0], case.label))
        found.append((image, label, caption(said[at], words)))
    return found


def angles(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Cosines between the vectors of each two classes, a row for each set of prompts, from rows of COSINES for one run.

    names: of the classes, background first.
    """
    pairs = [f"{names[row.first]}, {names[row.second]}" for row in table.itertuples()]
    wide = table.assign(pair=pairs).pivot(index="prompts", columns="pair", values="cosine").rename_axis(None)
    return wide.loc[table["prompts"].unique(), list(dict.fromkeys(pairs))].rename_axis(None, axis=1)


def share_text(schedule: str) -> str:
    """A schedule's share of the training subjects, in words."""
    return f"{SHARES[schedule]:.0%} of the subjects" if schedule in SHARES else "all training subjects"


def _by_schedule(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Share in words, and the mean Dice of the guided network and its control, for each schedule."""
    both = rows[rows["model"].isin((GUIDED, TWIN)) & (rows["label"] == MEAN)]
    for schedule in (*SHARES, "standard"):
        yield share_text(schedule), both[both["schedule"] == schedule]


def by_share(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean Dice of the guided network and its control at each share of the subjects, from rows on one fold."""
    columns = ["row", "series", "value", "low", "high"]
    tables = [compare.means(chosen).reset_index(names="series").assign(row=text) for text, chosen in _by_schedule(rows)]
    return pd.concat(tables, ignore_index=True)[columns]


def share_differences(rows: pd.DataFrame) -> pd.DataFrame:
    """The guided network minus its control at each share of the subjects, from rows on one fold, as one group.

    At a share, both models learn from the same subjects, seed by seed.
    """
    tables = {text: compare.differences(chosen, TWIN) for text, chosen in _by_schedule(rows)}
    found = {text: table.iloc[0] for text, table in tables.items() if len(table)}
    return comparisons.together(found, len(SHARES) + 1)
