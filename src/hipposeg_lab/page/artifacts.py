"""Reading a workspace's artifacts: the only input of the page and of README's results block."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hipposeg.experiments.run import stand_ins
from hipposeg.files import DamagedError, read_json
from hipposeg.results import load as results
from hipposeg.results.store import read_table
from hipposeg.workspace import Workspace
from hipposeg_lab.bench import summary

# Tables of studies that the page shows, below studies/.
STUDIES = ("inflation", "claims", "words", "leaks", "folds", "calibration_summary", "conformal_coverage",
           "robustness")  # fmt: skip
COMPARISONS = "comparisons"

Row = dict[str, Any]


class ReportError(ValueError):
    """Artifacts that cannot be made into a page; the message names the file, what was found, and what to do."""


@dataclass(frozen=True)
class Picture:
    """A figure that a notebook saved, with its caption and its alternative text."""

    path: Path
    caption: str
    alt: str

    @property
    def slug(self) -> str:
        """The file's name without its suffix: `07_volume_agreement`."""
        return self.path.stem


@dataclass(frozen=True, eq=False)
class Artifacts:
    """Everything below artifacts/ that the page shows. A part that has not been written yet is empty."""

    ws: Workspace
    results: pd.DataFrame  # of `results.load`; runs trained on this machine stand in for those that they repeat
    facts: dict[str, dict[str, Any]]  # notebook, such as "01_exploration" -> the numbers it recorded
    pictures: dict[str, tuple[Picture, ...]]  # notebook -> its figures, in the order of the notebook
    folds: dict[str, Any]  # content of the folds file
    studies: dict[str, tuple[Row, ...]]  # name -> rows of the table, for those of STUDIES and COMPARISONS that exist
    bench: dict[str, Any]  # summary of the benchmark
    explorer: dict[str, Any]  # index that `studies.explorer` wrote
    executed: tuple[Path, ...]  # executed notebooks

    def done(self, notebook: str) -> bool:
        """Whether the notebook has run to its end (`finish` writes its facts last)."""
        return notebook in self.facts and notebook in self.pictures

    def rows(self, study: str) -> tuple[Row, ...]:
        """Rows of a study's table; none if it does not exist."""
        return self.studies.get(study, ())


def read_rows(path: Path) -> tuple[Row, ...]:
    """Rows of a CSV file as dictionaries; None for an empty field."""
    frame = read_table(path, ())
    return tuple(frame.astype(object).where(frame.notna(), None).to_dict("records"))


def read_object(path: Path, kind: type) -> Any:
    """A JSON file that must hold an object (dict) or a list. Raises ReportError if it is damaged or holds another."""
    try:
        value = read_json(path)
    except DamagedError as error:
        raise ReportError(f"{path} is not JSON ({error.__cause__}); run the notebook that writes it again") from error
    if not isinstance(value, kind):
        raise ReportError(f"{path} holds a {type(value).__name__}, expected a {kind.__name__}")
    return value


def file_in(folder: Path, name: object, index: str) -> Path:
    """A file of a folder that an index lists. Raises ReportError if the name leads out of the folder."""
    path = folder / str(name)
    if path.resolve().parent != folder.resolve():
        raise ReportError(f"{folder / index} lists {name!r}, which is no file of its folder; restore it with git")
    return path


def read_pictures(index: Path) -> tuple[Picture, ...]:
    """The figures in one notebook's index. Raises ReportError if one is missing or has no caption."""
    pictures = tuple(
        Picture(file_in(index.parent, item.get("file"), index.name), item.get("caption", ""), item.get("alt", ""))
        for item in read_object(index, list)
    )
    for picture in pictures:
        if not picture.path.is_file():
            raise ReportError(f"{index} lists {picture.path.name}, which is missing; run notebook {index.stem} again")
        if not picture.alt.strip() or not picture.caption.strip():
            raise ReportError(f"{picture.path.name} needs a caption and an alt text: pass both to session.save")
    return pictures


def study_file(name: str) -> str:
    """The path of a study's table below artifacts/."""
    return f"{name}.csv" if name == COMPARISONS else f"studies/{name}.csv"


def visible(folder: Path, suffix: str) -> list[Path]:
    """Files of a folder with a suffix, sorted, without the hidden ones that are still being written."""
    return sorted(folder.glob(f"[!.]*{suffix}"))


def read_if_exists(path: Path) -> dict[str, Any]:
    """A JSON object, empty if the file does not exist."""
    return read_object(path, dict) if path.is_file() else {}


def load(ws: Workspace) -> Artifacts:
    """Read all artifacts of `ws` that exist. Raises ReportError or ResultsError on a damaged file."""
    at = ws.artifacts
    tables = {name: at / study_file(name) for name in (*STUDIES, COMPARISONS)}
    return Artifacts(
        ws=ws,
        results=results.with_stand_ins(results.load(ws), stand_ins(ws)),
        facts={path.stem: read_object(path, dict) for path in visible(at / "facts", ".json")},
        pictures={path.stem: read_pictures(path) for path in visible(ws.figures, ".json")},
        folds=read_if_exists(ws.folds),
        studies={name: rows for name, path in tables.items() if path.is_file() and (rows := read_rows(path))},
        bench={} if ws.is_phantom else summary.read(ws.root),
        explorer=read_if_exists(at / "explorer" / "index.json"),
        executed=tuple(visible(at / "notebooks", ".ipynb")),
    )
