"""`hipposeg train --data` and `hipposeg evaluate`: from a folder with labels to tables, figures and a page.

The folder of results holds `artifacts/` (the tables that `results.load` reads), `cases.csv`, `evaluation.csv`, two
figures and `page.html`; weights, checkpoints and cached voxels are in `.work/`.
"""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hipposeg import files
from hipposeg.anydata import page
from hipposeg.anydata.describe import describe
from hipposeg.anydata.fit import WATCHING, FittedRun, Wishes, base, fitted
from hipposeg.data import cohort as cohorts
from hipposeg.data import folds as folding
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.data.spec import DataError
from hipposeg.experiments import run as runs
from hipposeg.experiments import weights
from hipposeg.experiments.run import folder_of, native
from hipposeg.inference import Prep
from hipposeg.results import store
from hipposeg.results.load import Run
from hipposeg.training.batches import Samples
from hipposeg.training.loop import Training
from hipposeg.workspace import Workspace

# Kinds of folds for other data sets: by subject, by volume (as if nobody knew the subjects), their own test part.
KINDS = ("grouped", "nnunet", "test")
# What `evaluate` needs of a run beside its weights, in the run's folder.
FITTED = "fitted.json"
EVALUATION = "evaluation.csv"
# The data set that a folder of results trains on, and the subject rule that was given for it; in `.work/`.
TRAINED_ON = "trained-on.json"
PARTS, OTHER = ("training", "validation", "test"), "other data"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Home:
    """A data set that was read, and the folder of its results.

    Attributes:
        out: the folder.
        cohort: its cases, their voxels mapped from files in `.work/`.
        folds: by kind.
        ws: the workspace in `out`.
    """

    out: Path
    cohort: Cohort
    folds: dict[str, list[Fold]]
    ws: Workspace

    @classmethod
    def of(cls, data: Path, out: Path | None, rule: str = "") -> "Home":
        """Describe and read a data set. Raises DataError."""
        home = cls.beside(data, out, rule)
        out, people, ws = home.out, home.cohort, home.ws
        made = folding.read_or_write(ws.folds, people)
        columns = ("case", "name", "subject")
        cells = ((n, files.as_cell(case.name), case.subject) for n, case in people.cases.items())
        rows = [dict(zip(columns, row, strict=True)) for row in cells]
        files.write_csv(out / "cases.csv", columns, rows)
        rule = rule or _rule_of(out, people.folder)
        files.write_json(out / ".work" / TRAINED_ON, {"folder": people.folder, "subjects": rule})
        return replace(home, folds=made)

    @classmethod
    def beside(cls, data: Path, out: Path | None, rule: str = "") -> "Home":
        """The same without folds and tables, for a folder whose runs may have been trained on other data.

        Without a rule, the one that was given when the folder's runs were trained on this data set holds.
        """
        folder = data.expanduser().resolve()
        out = (out or Path(f"{folder.name}-hipposeg")).expanduser().resolve()
        source = describe(folder, rule or _rule_of(out, folder))
        if out == source.folder or source.folder in out.parents:
            raise DataError(f"{out}: found the folder of results in the data set, expected one outside. Give --out.")
        ws = Workspace(out, source.dataset, "standard")
        return cls(out, cohorts.load(source, ws.work / "cache" / "voxels"), {}, ws)


def _rule_of(out: Path, folder: Path) -> str:
    """The subject rule with which a folder of results was trained on a data set; "" if none was given."""
    path = out / ".work" / TRAINED_ON
    stored = files.read_json(path) if path.is_file() else {}
    return stored["subjects"] if stored.get("folder") == folder.as_posix() else ""


def train(
    data: Path, model: str, out: Path | None = None, rule: str = "", kind: str = "", fold: int | None = 0,
    seed: int = 0, schedule: str = "standard", watch: bool = False, wishes: Wishes | None = None, say: Say = print,
) -> list[Run]:  # fmt: skip
    """Train a model on folds of a data set, score it, and write tables, figures and page.

    Args:
        data: folder of the data set.
        model: a name that `fit.base` knows.
        out: folder of results; by default NAME-hipposeg in the working directory.
        rule: which cases are one subject (`subjects.RULES`).
        kind: of folds; by default "test" if the data set has a test part, else "grouped".
        fold: which one; None trains all of the kind.
        schedule: standard, smoke, or e<epochs>.
        watch: whether a part of the training subjects is kept for the curves.
        wishes: by default all is chosen by `fit.fitted`.
        say: receives each line of the report.

    Returns:
        The finished runs, one a fold.
    """
    base(model)
    wishes = wishes or Wishes()
    home = Home.of(data, out, rule)
    spec, people = home.cohort.spec, home.cohort.people
    say(f"{spec.title}: {len(home.cohort.cases)} labelled cases of {len(people)} subjects ({spec.subject_rule})")
    say(f"classes: {', '.join(spec.names)}; channels: {', '.join(spec.channels)}")
    kind = kind or ("test" if "test" in home.folds else "grouped")
    if kind not in KINDS or (fold or 0) >= len(home.folds.get(kind, ())):
        kinds = ", ".join(one for one in KINDS if one in home.folds)
        raise ValueError(f"there is no fold {fold or 0} of {kind!r}; this data set has folds of {kinds}")
    numbers = range(len(home.folds[kind])) if fold is None else [fold]
    if wishes.start:
        say(_origin(home, wishes.start, [case for number in numbers for case in home.folds[kind][number]["scored"]]))
    done = []
    for number in numbers:
        used = home.folds[kind][number]
        if watch or model in WATCHING:
            used = folding.with_watched(used, spec)
        made = fitted(model, home.cohort, used, wishes)
        run = native(FittedRun(made.name, kind, number, seed, schedule, "", made))
        folds = {**home.folds, kind: [*home.folds[kind][:number], used, *home.folds[kind][number + 1 :]]}
        if runs.is_cached(run, runs.key_of(run, home.cohort, folds), runs.machine_for(run), home.ws):
            say(f"{run.name} is trained already.")
        else:
            _plan(run, used, home, say)
        described = {"base": model, "prep": asdict(made.prep), "fold": used}
        files.write_json(folder_of(run, home.ws) / FITTED, described)
        found = runs.train(run, home.cohort, folds, home.ws)
        say(f"{run.name}: " + ", ".join(f"{one} {found.mean(one):.3f}" for one in found.rows["label"].unique()))
        done.append(found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    say(f"Peak memory {peak:.1f} GB, with the parts of mapped files that the system may drop.")
    say(f"Results: {page.write(home.out, home.cohort, home.ws)}")
    return done


def _plan(run: FittedRun, fold: Fold, home: Home, say: Say) -> None:
    """What is about to be trained, and about how long it takes: two steps are timed on noise."""
    model, cohort = run.definition, home.cohort
    config = model.training(run.schedule)
    steps = max(1, config.patches // config.batch) * config.epochs
    machine = runs.machine_for(run)
    sides = [side for axis, side in enumerate(model.prep.size) if axis != model.prep.axis]
    channels = model.prep.channels(len(cohort.spec.channels))
    noise = torch.randn(config.batch, channels, *sides, generator=torch.Generator().manual_seed(0))
    samples = Samples(noise, (noise[:, 0] > 1).byte(), cohort.spec.n_classes, (1.0,) * len(sides))
    training = Training(weights.initial(run, cohort.spec), replace(config, epochs=2), machine, 0)
    from tqdm import tqdm

    with tqdm(disable=True) as bar:
        training.epoch(samples, 1, bar)
        started = time.perf_counter()
        training.epoch(samples, 2, bar)
    hours = steps * (time.perf_counter() - started) / 3600
    what = "patches" if model.dims == 3 else "slices"
    size, spacing = (" x ".join(f"{side:g}" for side in one) for one in (model.prep.size, model.prep.spacing))
    say(
        f"{run.name}: {len(fold['train'])} cases train, {len(fold['scored'])} are scored"
        + (f", {len(fold['watched'])} are watched" if "watched" in fold else "")
        + f"; {what} of {size} voxels of {spacing} mm, {steps} steps of {config.batch}, "
        f"about {hours:.1f} h on this machine without evaluations"
    )


def _origin(home: Home, path: Path, scored: list[int]) -> str:
    """What is known about the subjects behind the weights that training starts from.

    Raises ValueError if they were trained on a subject that is to be scored.
    """
    stored = path.with_name(FITTED)
    state = weights.state_in(path.parent)
    if not stored.is_file() or state is None or state["config"]["data_sha256"] != home.cohort.sha256:
        return f"{path} comes from other data: scores are honest only if no scored subject was in them."
    fold = files.read_json(stored)["fold"]
    cases = home.cohort.cases
    seen = {cases[number].subject for number in [*fold["train"], *fold.get("watched", [])]}
    if shared := seen & {cases[number].subject for number in scored}:
        raise ValueError(
            f"{path}: found weights trained on {len(shared)} of the subjects that are to be scored, expected none. "
            "Start from a run whose training subjects are others."
        )
    return f"{path} was trained on {len(seen)} subjects of this data set; none of them is scored."


def evaluate(
    data: Path, out: Path | None = None, rule: str = "", only: str = "", without: tuple[str, ...] = (), say: Say = print
) -> pd.DataFrame:
    """Predict and score with the stored weights of every run in the folder of results.

    Of the data set that a run was trained on, its training cases (as many as are scored), validation cases and test
    cases are scored, and the page is written again; of any other, all cases are scored.

    Args:
        data, out, rule: as of `train`; without a rule, the one that training was given holds.
        only: text that the names of runs must contain.
        without: channels that the network does not get.

    Returns:
        The rows of evaluation.csv of these runs: run, part, without, data, case, subject, label, and the metrics.
    """
    home = Home.beside(data, out, rule)
    spec = home.cohort.spec
    if unknown := sorted(set(without) - set(spec.channels)):
        raise ValueError(f"found no channel {unknown[0]!r}; this data set has {', '.join(spec.channels)}")
    found = sorted(path.parent for path in home.out.glob(f".work/*/runs/*/{FITTED}") if only in path.parent.name)
    found = [folder for folder in found if weights.state_in(folder)]
    if not found:
        which = f" with {only} in its name" if only else ""
        raise ValueError(f"{home.out}: found no finished run{which}; `hipposeg train --data` makes one")
    rows = []
    for folder in found:
        rows += _evaluated(folder, home, tuple(spec.channels.index(name) for name in without))
    table = pd.DataFrame(rows)
    table.insert(1, "without", " ".join(without))
    path = home.out / EVALUATION
    old = store.read_table(path, table.columns, dtype={"without": str}).fillna({"without": ""})
    keys = ["run", "without", "data"]
    mine = set(map(tuple, table[keys].drop_duplicates().to_numpy()))
    kept = old[[tuple(row) not in mine for row in old[keys].to_numpy()]]
    both = pd.concat([kept, table], ignore_index=True) if len(kept) else table
    both = both.sort_values([*keys, "part", "case"], kind="stable")
    files.write_bytes(path, store.table_bytes(both))
    means = table[table["label"] == "mean"].groupby(["run", "part"], sort=False)["dice"].mean()
    for (run, part), value in means.items():
        say(f"{run}, {part}{f', without {chr(32).join(without)}' if without else ''}: mean Dice {value:.3f}")
    ours = set(table["part"]) != {OTHER}
    say(f"Results: {page.write(home.out, home.cohort, home.ws) if ours else path}")
    return table


def _evaluated(folder: Path, home: Home, missing: tuple[int, ...]) -> list[dict]:
    """Scores of one run's network on the cases of each part."""
    stored, state, cohort = files.read_json(folder / FITTED), weights.state_in(folder), home.cohort
    prep = Prep(**{key: tuple(v) if isinstance(v, list) else v for key, v in stored["prep"].items()})
    model = replace(base(stored["base"]), prep=replace(prep, missing=missing))
    row = state["row"]
    run = FittedRun(row["model"], row["folds"], row["fold"], row["seed"], row["schedule"], fitted=model)
    machine = runs.machine_for(native(run))
    network = weights.load(folder / weights.WEIGHTS, run, cohort.spec, machine)
    predict = weights.predict_with(model, network, machine)
    fold, parts = stored["fold"], {OTHER: cohort.numbers}
    if state["config"]["data_sha256"] == cohort.sha256:
        # Evenly spaced, so that several subjects are among them.
        chosen = np.linspace(0, len(fold["train"]) - 1, min(len(fold["train"]), len(fold["scored"]))).astype(int)
        train_cases = [fold["train"][index] for index in np.unique(chosen)]
        parts = dict(zip(PARTS, (train_cases, fold.get("watched", []), fold["scored"]), strict=True))
    rows = []
    for part, numbers in parts.items():
        for number in numbers:
            case = cohort.cases[number]
            scores = store.score_all({number: predict(case.image, case.spacing)}, cohort)
            rows += [{"run": row["run"], "part": part, "data": cohort.spec.title, **one} for one in scores]
    return rows
