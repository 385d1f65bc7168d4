"""Reading one workspace's artifacts: the only input that the page and the README have."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hipposeg import timings
from hipposeg.files import read_json
from hipposeg.workspace import Workspace

# Columns that stay text even where they look like numbers ("03" is a notebook, not three).
TEXT = frozenset({
    "run", "model", "notebook", "folds", "schedule", "device", "precision", "torch", "label", "kind", "name", "machine",
    "result_sha256", "key", "family", "numerics", "weights_sha256", "data_sha256",
    "practice", "twin", "note", "method", "group", "reference", "verdict", "project", "called", "really", "words",
    "source", "url",
})  # fmt: skip

# Studies of the evaluation that the page shows where they are.
STUDIES = (
    "inflation", "verdicts", "claims", "words", "leaks", "calibration", "calibration_scaled", "calibration_summary",
    "conformal_coverage",
)  # fmt: skip

Row = dict[str, Any]


class ReportError(ValueError):
    """Artifacts that cannot be made into a page; says which file, what was found, and what to do."""


@dataclass(frozen=True)
class Picture:
    """A figure that a notebook saved, with the words that travel with it."""

    path: Path
    caption: str
    alt: str

    @property
    def slug(self) -> str:
        """The file's name without its suffix: `07_volume_agreement`."""
        return self.path.stem


@dataclass(frozen=True)
class Study:
    """A study of the evaluation, stored as CSV. file: its path below the output root, for the reader who wants it."""

    file: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Artifacts:
    """Everything below artifacts/<workspace>. A part that was not written yet is empty.

    results, cases, timings: rows of the CSV files; numbers are int or float, empty fields None.
    facts: by notebook name ("01_exploration"). pictures: by notebook name, in the order of the notebook.
    configs, histories: by run name. folds: the folds file's content. studies: those of STUDIES that are there, by name.
    bench: the benchmark's summary. explorer: the index that `runs.explorer` wrote.
    """

    ws: Workspace
    results: tuple[Row, ...]
    cases: tuple[Row, ...]
    timings: tuple[Row, ...]
    facts: dict[str, dict[str, Any]]
    pictures: dict[str, tuple[Picture, ...]]
    configs: dict[str, dict[str, Any]]
    histories: dict[str, tuple[dict[str, Any], ...]]
    folds: dict[str, Any]
    studies: dict[str, Study]
    bench: dict[str, Any]
    explorer: dict[str, Any]

    def done(self, notebook: str) -> bool:
        """Whether the notebook has run to its end (`finish` writes its facts last)."""
        return notebook in self.facts and notebook in self.pictures

    def timing(self, kind: str, name: str) -> Row:
        """The row of timings.csv for one run or notebook; empty if there is none."""
        return next((row for row in self.timings if row.get("kind") == kind and row.get("name") == name), {})


def cell(column: str, text: str) -> Any:
    """One CSV field as text, int, float or None."""
    if column in TEXT:
        return text
    if text == "" or text.lower() == "nan":
        return None
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def read_rows(path: Path) -> tuple[Row, ...]:
    """Rows of a CSV file as dictionaries; an absent file has none."""
    if not path.is_file():
        return ()
    with path.open(newline="", encoding="utf-8") as stream:
        return tuple({key: cell(key, text or "") for key, text in row.items()} for row in csv.DictReader(stream))


def read_object(path: Path, kind: type) -> Any:
    """A JSON file that must hold an object (dict) or a list. Raises ReportError if it is damaged or holds another."""
    try:
        value = read_json(path)
    except json.JSONDecodeError as error:
        raise ReportError(f"{path} is not JSON ({error}); run the notebook that writes it again") from error
    if not isinstance(value, kind):
        raise ReportError(f"{path} holds a {type(value).__name__}, expected a {kind.__name__}")
    return value


def read_pictures(index: Path) -> tuple[Picture, ...]:
    """The figures that one notebook's index names. Raises ReportError if one is missing or has no words."""
    pictures = tuple(
        Picture(index.parent / str(item.get("file", "")), item.get("caption", ""), item.get("alt", ""))
        for item in read_object(index, list)
    )
    for picture in pictures:
        if not picture.path.is_file():
            raise ReportError(f"{index} names {picture.path.name}, which is not there; run notebook {index.stem} again")
        if not picture.alt.strip() or not picture.caption.strip():
            raise ReportError(f"{picture.path.name} needs a caption and an alt text: pass both to session.save")
    return pictures


def read_history(path: Path) -> tuple[dict[str, Any], ...]:
    """The lines of a run's history; an absent file has none."""
    if not path.is_file():
        return ()
    return tuple(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def read_studies(ws: Workspace) -> dict[str, Study]:
    """Every study that is there: from the workspace itself, else from the `full` profile of the same data."""
    found = {}
    for name in STUDIES:
        for place in (ws, ws.full):
            path = place.artifacts / "studies" / f"{name}.csv"
            if name not in found and (rows := read_rows(path)):
                found[name] = Study(path.relative_to(ws.root).as_posix(), rows)
    return found


def read_if_there(path: Path) -> dict[str, Any]:
    """A JSON object, empty if the file is absent."""
    return read_object(path, dict) if path.is_file() else {}


def load(ws: Workspace) -> Artifacts:
    """Read whatever of `ws` exists. Raises ReportError on a damaged file, never on an absent one.

    The smoke profile's times are left out: its pages from two runs are compared byte for byte, and times never repeat.
    """
    at = ws.artifacts
    configs = {path.parent.name: read_object(path, dict) for path in sorted(at.glob("runs/*/config.json"))}
    return Artifacts(
        ws=ws,
        results=read_rows(at / "results.csv"),
        cases=read_rows(at / "cases.csv"),
        timings=() if ws.profile == "smoke" else read_rows(at / "timings.csv"),
        facts={path.stem: read_object(path, dict) for path in sorted(at.glob("facts/*.json"))},
        pictures={path.stem: read_pictures(path) for path in sorted(ws.figures.glob("*.json"))},
        configs=configs,
        histories={run: read_history(at / "runs" / run / "history.jsonl") for run in configs},
        folds=read_if_there(ws.folds),
        studies=read_studies(ws),
        bench={} if ws.is_phantom else timings.benchmark(ws.root),
        explorer=read_if_there(at / "explorer" / "index.json"),
    )
