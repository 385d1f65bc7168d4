"""Writing finished runs into the tables of artifacts/, one run at a time, under a lock.

A finished run waits in `.work/<data set>/runs/<run>/` (see `experiments.run`). `put` replaces its rows in the tables by
writing a new file and renaming it; the row in runs.csv is written last and marks the run as complete. Equal content
gives equal bytes: rows are sorted, archives carry no time stamp, and a run that reproduces its scores keeps the row
with the training time that is already there.
"""

import gzip
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from hipposeg import files, metrics
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold, scored_part
from hipposeg.metrics import METRICS
from hipposeg.workspace import Workspace

RUNS, SCORES, HISTORIES, CONFIGS = "runs.csv", "scores.csv.gz", "histories.csv.gz", "configs.json"
REPRODUCED = "reproduced.csv"
RUN_COLUMNS = (
    "run", "model", "folds", "fold", "seed", "schedule", "dims", "device", "processor", "precision", "threads", "torch",
    "params", "gflops", "steps", "train_s", "n", "key", "title",
)  # fmt: skip
# A volume error is the difference of two columns, so it is computed when scores are loaded.
STORED_METRICS = tuple(metric for metric in METRICS if not metric.startswith("volume_"))
SCORE_COLUMNS = ("case", "subject", "label", *STORED_METRICS, "volume_true", "volume_predicted")
TEXT = ("run", "model", "folds", "schedule", "device", "processor", "precision", "torch", "key", "title")
# Columns of runs.csv that a rerun changes.
MEASURED = ("processor", "threads", "torch", "train_s")


def put(
    ws: Workspace, row: dict[str, Any], config: dict[str, Any], scores: pd.DataFrame, history: pd.DataFrame,
    masks: dict[int, np.ndarray] | None, studies: Iterable[Path] = (),
) -> None:  # fmt: skip
    """Replace everything that the tables hold of one run.

    Args:
        ws: whose artifacts to write.
        row: RUN_COLUMNS.
        config: for configs.json.
        scores: SCORE_COLUMNS, one row per case and label.
        history: one row per epoch.
        masks: case -> label map (X, Y, Z) uint8, or None if only the scores are kept.
        studies: files that hooks left. Rows of `<name>.csv` go to `studies/<name>.csv.gz` behind a column `run`; any
            other file is copied to `studies/`.
    """
    run, at = row["run"], ws.artifacts
    ws.work.mkdir(parents=True, exist_ok=True)
    with FileLock(ws.work / "tables.lock"):  # a killed process releases it
        known = read_runs(ws)
        old = known[known["run"] == run]
        stored = read_scores(at)
        before = stored[stored["run"] == run].drop(columns="run")
        scores = scores[list(SCORE_COLUMNS)]
        same = len(old) == 1 and old["key"].iloc[0] == row["key"] and _csv(before) == _csv(scores)
        if len(before) and not same:  # incomplete until all its files are new
            _write_runs(ws, known[known["run"] != run])
        _write_table(at / SCORES, _with(stored, run, scores), ["run", "case", "label"])
        histories = read_table(at / HISTORIES)
        _write_table(at / HISTORIES, _with(histories, run, history), ["run", "epoch"] if len(history) else ["run"])
        _write_configs(at / CONFIGS, {**read_configs(at), run: config})
        path = masks_file(at, run)
        if masks is None:
            path.unlink(missing_ok=True)
        else:
            _write_new(path, packed(masks))
        for study in studies:
            _put_study(at / "studies", run, study)
        if same:
            row = row | {name: old[name].iloc[0] for name in MEASURED}
        _write_runs(ws, _with(known, run, pd.DataFrame([row])))


def score_all(predicted: dict[int, np.ndarray], cohort: Cohort, fold: Fold | None = None) -> list[dict[str, Any]]:
    """Score predictions against the labels: rows with case, subject, label and the metrics of `metrics.score_case`.

    predicted: case -> label map (X, Y, Z) uint8 on the native grid. Where the fold scores only some slices
    (`data.folds`), they count as a volume of thicker slices.
    """
    part, steps = scored_part(fold or {})
    rows = []
    for number, mask in predicted.items():
        case = cohort.cases[number]
        spacing = [side * step for side, step in zip(case.spacing, steps, strict=True)]
        scores = metrics.score_case(mask[part], case.label[part], spacing, cohort.spec)
        rows += [{"case": number, "subject": case.subject, **row} for row in scores]
    return rows


def read_runs(ws: Workspace) -> pd.DataFrame:
    """runs.csv; without rows where there is none."""
    text = {"dtype": dict.fromkeys(TEXT, str), "keep_default_na": False, "na_values": {"train_s": [""]}}
    return read_table(ws.artifacts / RUNS, RUN_COLUMNS, **text)


def read_scores(folder: Path) -> pd.DataFrame:
    """scores.csv.gz as stored."""
    return read_table(folder / SCORES, ("run", *SCORE_COLUMNS), dtype={"run": "category", "label": "category"})


def read_table(path: Path, columns: Sequence[str] = ("run",), **options: Any) -> pd.DataFrame:
    """A CSV file with at least these columns, read with pandas' options; no row where there is none.

    The reader of all tables. Raises DamagedError.
    """
    if not path.is_file():
        return pd.DataFrame(columns=list(columns))
    with files.reading(path, "a CSV table"):
        table = pd.read_csv(path, **options)
        if missing := [column for column in columns if column not in table]:
            raise ValueError(f"there is no column {missing[0]}")
        return table


def read_configs(folder: Path) -> dict[str, dict[str, Any]]:
    """configs.json: run -> configuration."""
    path = folder / CONFIGS
    return files.read_json(path) if path.is_file() else {}


def masks_file(folder: Path, run: str) -> Path:
    """Where the masks of a run are kept."""
    return folder / "masks" / f"{run}.npz"


def packed(masks: dict[int, np.ndarray]) -> bytes:
    """Label maps as a compressed .npz: case number as three digits -> (X, Y, Z) uint8; equal maps give equal bytes."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **{f"{case:03d}": np.asarray(masks[case], np.uint8) for case in sorted(masks)})
    return stream.getvalue()


def unpacked(path: Path) -> dict[int, np.ndarray]:
    """The inverse of `packed`: case -> (X, Y, Z) uint8. Raises DamagedError."""
    with files.reading(path, "packed masks"), np.load(path, allow_pickle=False) as stored:
        return {int(name): stored[name] for name in stored.files}


def table_bytes(table: pd.DataFrame) -> bytes:
    """A table as CSV: whole numbers without decimals, floats in their shortest exact form, missing values empty."""
    return table.infer_objects().apply(_whole).to_csv(index=False, lineterminator="\n").encode()


def _whole(column: pd.Series) -> pd.Series:
    """Floats that are whole numbers, or missing, as integers."""
    whole = column.dtype == float and (column.dropna() % 1 == 0).all()
    return column.astype("Int64") if whole else column


def _csv(table: pd.DataFrame) -> bytes:
    return table_bytes(table.sort_values(["case", "label"]).astype({"label": str}))


def _with(table: pd.DataFrame, run: str, rows: pd.DataFrame) -> pd.DataFrame:
    """A table with the rows of one run replaced."""
    rows = rows.drop(columns="run", errors="ignore")
    rows.insert(0, "run", run)
    others = table[table["run"] != run].astype({"run": object})
    return pd.concat([others, rows], ignore_index=True) if len(others) else rows


def changed_here(ws: Workspace) -> list[str]:
    """Names of runs that this machine trained again and whose mean Dice differs from the published tables'."""
    found = read_table(ws.artifacts / REPRODUCED, ("run", "difference"))
    return found.loc[found["difference"].abs() > 0, "run"].tolist()


def _write_table(path: Path, table: pd.DataFrame, order: list[str]) -> None:
    content = table_bytes(table.sort_values(order, kind="stable"))
    _write_new(path, gzip.compress(content, 9, mtime=0) if path.suffix == ".gz" else content)


def _write_runs(ws: Workspace, table: pd.DataFrame) -> None:
    _write_new(ws.artifacts / RUNS, table_bytes(table[list(RUN_COLUMNS)].sort_values("run")))


def _write_configs(path: Path, configs: dict[str, Any]) -> None:
    """One line a run, so that a change of one run is a change of one line."""
    lines = [f"{json.dumps(run)}: {json.dumps(files.plain(configs[run]), sort_keys=True)}" for run in sorted(configs)]
    _write_new(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def _write_new(path: Path, content: bytes) -> None:
    """Write only what differs, so that a file's time says when its content changed."""
    if not path.is_file() or path.read_bytes() != content:
        files.write_bytes(path, content)


def _put_study(folder: Path, run: str, path: Path) -> None:
    if path.suffix != ".csv":
        _write_new(folder / path.name, path.read_bytes())
        return
    target = folder / f"{path.stem}.csv.gz"
    _write_table(target, _with(read_table(target), run, read_table(path, ())), ["run"])
