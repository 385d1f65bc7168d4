"""Hashes of everything that a rerun must reproduce, and a comparison of two sets of artifacts byte for byte."""

from pathlib import Path
from typing import Any

import pandas as pd

from hipposeg.files import read_json, sha256_bytes, write_json
from hipposeg.results import store
from hipposeg.workspace import Workspace, source_hash

MANIFEST = "manifest.json"
NOT_COMPARED = frozenset({MANIFEST, store.REPRODUCED})
# Measured, so no part of what is compared: benchmark results.
NOT_COMPARED_FOLDERS = frozenset({"bench"})


def compared_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every compared file below an artifacts folder, by its path relative to it, sorted."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    kept = [
        path for path in paths
        if path.name not in NOT_COMPARED and path.parts[0] not in NOT_COMPARED_FOLDERS and not path.name.startswith(".")
    ]  # fmt: skip
    return {path.as_posix(): sha256_bytes(_compared(folder / path)) for path in kept}


def _compared(path: Path) -> bytes:
    """A file's bytes; runs.csv without the columns that are measured."""
    if path.name != store.RUNS:
        return path.read_bytes()
    return pd.read_csv(path, dtype=str).drop(columns=list(store.MEASURED)).to_csv(index=False).encode()


def build(ws: Workspace) -> dict[str, Any]:
    """The manifest's content.

    Returns:
        files: path below artifacts -> SHA-256; page: SHA-256 of the page; source_sha256: of the code; data_sha256: of
        the data set that the runs trained on, None without runs.

    Raises:
        ValueError: the tables hold runs on several data sets.
    """
    data = {config["data_sha256"] for config in store.read_configs(ws.artifacts).values()}
    if len(data) > 1:
        raise ValueError(f"{ws.artifacts} holds runs on {len(data)} data sets; restore the tables with git")
    return {
        "source_sha256": source_hash(),
        "data_sha256": data.pop() if data else None,
        "files": compared_files(ws.artifacts),
        "page": sha256_bytes(ws.page.read_bytes()) if ws.page.is_file() else None,
    }


def write(ws: Workspace, made: bool = True) -> Path:
    """Write `artifacts/manifest.json` and return its path.

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
    return differences + (["project.html: the bytes differ"] if recorded["page"] != found["page"] else [])


def compare(a: Path, b: Path) -> list[str]:
    """What differs between two artifacts folders, as sentences; empty if every compared file has the same bytes.

    Raises FileNotFoundError if a folder is absent or holds nothing to compare.
    """
    hashes = []
    for folder in (a, b):
        if not folder.is_dir() or not (files := compared_files(folder)):
            raise FileNotFoundError(f"{folder}: found nothing to compare; expected an artifacts folder")
        hashes.append(files)
    return describe(*hashes, str(a), str(b))


def describe(a: dict[str, str], b: dict[str, str], name_a: str, name_b: str) -> list[str]:
    """Sentences on the differences between two {path: hash} tables."""
    lines = [f"{path}: in {name_a}, not in {name_b}" for path in sorted(a.keys() - b.keys())]
    lines += [f"{path}: in {name_b}, not in {name_a}" for path in sorted(b.keys() - a.keys())]
    return lines + [f"{path}: the bytes differ" for path in sorted(a.keys() & b.keys()) if a[path] != b[path]]
