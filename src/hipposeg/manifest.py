"""Hashes of everything that a rerun must reproduce, and a comparison of two sets of artifacts byte for byte."""

from pathlib import Path
from typing import Any

from hipposeg.files import read_json, sha256_file, write_json
from hipposeg.workspace import Workspace, source_hash

MANIFEST = "manifest.json"
# What never repeats: seconds, machine, commit, date.
NOT_COMPARED = frozenset({"timings.csv", "provenance.json", MANIFEST})


def compared_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every compared file below an artifacts folder, by its path relative to it, sorted."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    kept = [path for path in paths if path.name not in NOT_COMPARED and not path.name.startswith(".")]
    return {path.as_posix(): sha256_file(folder / path) for path in kept}


def build(ws: Workspace) -> dict[str, Any]:
    """The manifest's content.

    files: path relative to the artifacts folder -> SHA-256. beside: the same for the two files that belong to the real
    data and stand outside that folder (page and folds), by path relative to the project. source_sha256 stands in place
    of a commit; data_sha256 is the hash that the runs trained on, None if there is no run yet.
    Raises ValueError if runs of different data stand side by side.
    """
    outside = [path for path in (ws.page, ws.folds) if path.is_file() and ws.artifacts not in path.parents]
    data = {read_json(path).get("data_sha256") for path in ws.artifacts.glob("runs/*/config.json")} - {None}
    if len(data) > 1:
        raise ValueError(
            f"{ws.artifacts.name}/runs holds runs on {len(data)} different data sets; delete the foreign ones"
        )
    return {
        "source_sha256": source_hash(),
        "data_sha256": data.pop() if data else None,
        "files": compared_files(ws.artifacts),
        "beside": {path.relative_to(ws.root).as_posix(): sha256_file(path) for path in outside},
    }


def write(ws: Workspace, made: bool = True) -> Path:
    """Write `artifacts/<ws>/manifest.json` and return its path.

    made: the notebooks ran with the present sources. If not, the sources that the manifest names stay: building a page
    anew makes no run or figure newer.
    """
    path, content = ws.artifacts / MANIFEST, build(ws)
    if not made and path.is_file():
        content["source_sha256"] = read_json(path)["source_sha256"]
    write_json(path, content)
    return path


def check(ws: Workspace) -> list[str]:
    """What differs between the manifest and the files that are there, as sentences; empty if nothing does."""
    recorded, found = read_json(ws.artifacts / MANIFEST), build(ws)
    differences = describe(recorded["files"], found["files"], "the manifest", "the folder")
    return differences + describe(recorded["beside"], found["beside"], "the manifest", "the project")


def compare(a: Path, b: Path) -> list[str]:
    """What differs between two artifacts folders, as sentences; empty if every compared file has the same bytes.

    Raises FileNotFoundError if a folder is absent or holds nothing to compare.
    """
    hashes = []
    for folder in (a, b):
        if not folder.is_dir() or not (files := compared_files(folder)):
            raise FileNotFoundError(f"{folder}: found nothing to compare; expected artifacts/<dataset>-<profile>")
        hashes.append(files)
    return describe(*hashes, str(a), str(b))


def describe(a: dict[str, str], b: dict[str, str], name_a: str, name_b: str) -> list[str]:
    """Sentences on the differences between two {path: hash} tables."""
    lines = [f"{path}: in {name_a}, not in {name_b}" for path in sorted(a.keys() - b.keys())]
    lines += [f"{path}: in {name_b}, not in {name_a}" for path in sorted(b.keys() - a.keys())]
    return lines + [f"{path}: the bytes differ" for path in sorted(a.keys() & b.keys()) if a[path] != b[path]]
