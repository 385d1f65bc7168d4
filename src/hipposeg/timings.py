"""Seconds, machines and commits: what never repeats, kept out of every file that is compared.

One rule keeps the committed files still: a record stands as long as the result that it belongs to has the same bytes. A
rerun that reproduces the result leaves `timings.csv` and `provenance.json` alone and leaves its own seconds in the
ignored folder; a rerun with other bytes replaces the record.
"""

import csv
import platform
import re
import sys
from pathlib import Path
from typing import Any

from hipposeg.files import alone, read_json, write_csv, write_json
from hipposeg.workspace import Workspace

COLUMNS = (
    "kind", "name", "train_s", "predict_s_per_volume", "score_s", "total_s",
    "peak_mb", "device", "precision", "threads", "machine", "result_sha256",
)  # fmt: skip


def read(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Rows of a timings file by (kind, name), fields as text; an absent file has none."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as stream:
        return {(row["kind"], row["name"]): row for row in csv.DictReader(stream)}


def benchmark(root: Path) -> dict[str, Any]:
    """The benchmark's summary under an output root, its budgets ascending; empty if the benchmark has not run."""
    path = root / "artifacts" / "bench" / "summary.json"
    if not path.is_file():
        return {}
    found = read_json(path)  # where keys stand in the order of the alphabet
    by_budget = {part: found[part] for part in ("race", "claims") if part in found}
    return found | {part: {key: rows[key] for key in sorted(rows, key=float)} for part, rows in by_budget.items()}


def record(ws: Workspace, kind: str, name: str, result_sha256: str, whole: bool = True, **columns: Any) -> None:
    """Note how long a run or a notebook took.

    kind: "run" or "notebook". result_sha256: hash of what was produced (weights and predictions of a run, the executed
    copy of a notebook). whole: nothing was taken from the cache. columns: any of COLUMNS, seconds and MB as float. The
    measure always goes to `.work/<ws>/timings-last.csv`; `artifacts/<ws>/timings.csv` takes it if it has no row of this
    result yet, and what is not whole only where there is no row at all.
    Raises ValueError on an unknown kind or column.
    """
    if kind not in ("run", "notebook"):
        raise ValueError(f"kind is {kind!r}; expected 'run' or 'notebook'")
    unknown = sorted(set(columns) - set(COLUMNS[2:-1]))
    if unknown:
        raise ValueError(f"timings.csv has no column {', '.join(unknown)}; its columns are {', '.join(COLUMNS)}")
    fields = {key: f"{value:.3f}" if isinstance(value, float) else value for key, value in columns.items()}
    row = {**fields, "kind": kind, "name": name, "result_sha256": result_sha256}
    committed = ws.artifacts / "timings.csv"
    with alone(ws.work / "timings.lock"):  # runs of a series end side by side
        _put(ws.work / "timings-last.csv", row)
        there = read(committed).get((kind, name))
        if there is None or (whole and there["result_sha256"] != result_sha256):
            _put(committed, row)


def record_provenance(path: Path, result_sha256: str, **values: Any) -> None:
    """Write who, where and when beside a run, unless the file already tells it of the same result."""
    if not path.is_file() or read_json(path).get("result_sha256") != result_sha256:
        write_json(path, {**values, "result_sha256": result_sha256})


def _put(path: Path, row: dict[str, Any]) -> None:
    rows: dict[tuple[str, str], dict[str, Any]] = {**read(path), (row["kind"], row["name"]): row}
    write_csv(path, COLUMNS, [rows[key] for key in sorted(rows)])


def peak_mb(children: bool = False) -> float:
    """Largest resident memory so far, in MB: of this process, or of the largest child that has ended."""
    import resource  # not on Windows, where nothing asks for it

    who = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024  # bytes on macOS, kibibytes on Linux
    return resource.getrusage(who).ru_maxrss / unit


def processor_name() -> str:
    """The processor's name, without the host's."""
    info = Path("/proc/cpuinfo")
    if info.is_file() and (match := re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)):
        return match[1].strip()
    return platform.processor() or platform.machine()
