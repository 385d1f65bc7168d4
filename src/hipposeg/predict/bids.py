"""`hipposeg bids`: segment the T1w scans of a BIDS data set into a BIDS derivative, many at a time with dask.

The derivative holds a mask, a picture and a JSON sidecar of each scan. The sidecar is written last and marks the scan
as finished; a scan without mask has one, too, with the reason.
"""

import html
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

import numpy as np

import hipposeg
from hipposeg.files import read_json, write_bytes, write_json, write_text
from hipposeg.predict import output
from hipposeg.predict.ensemble import Ensemble, load_ensemble
from hipposeg.predict.scan import save_labels
from hipposeg.predict.segment import CHECK, OK, REFUSED, SIDES, Result
from hipposeg.training.machine import this_machine

PATTERNS = ("sub-*/anat/sub-*_T1w.nii", "sub-*/ses-*/anat/sub-*_T1w.nii")  # and .nii.gz
EXPECTED = "sub-<label>/[ses-<label>/]anat/sub-<label>_..._T1w.nii[.gz]"
SCAN_BYTES = 3.5e9  # memory of a worker: 1.8 to 2.8 GB measured
COLUMNS = ("participant_id", "session_id", *output.COLUMNS, "unusual", "most_unusual")
MEASURES = (*(f"{part}_mm3" for part in output.PARTS), "asymmetry", "intracranial_ml", "agreement")
MEANINGS = {
    "unusual": "largest robust z of the scan in this group: |value - median| / (1.4826 MAD)",
    "most_unusual": "the measure that has it",
    "agreement": "mean Dice between the networks' masks, of the worse side",
    "intracranial_ml": "estimate from the scale of the registration, in ml",
}
LEAST_SPREAD = 0.01  # of a measure in a group, relative to its median; of a fraction absolute
MOST_SHOWN = 1000  # scans on the page of the group
_one_at_a_time = Lock()  # in a worker with several threads: matplotlib's pictures need it, and the memory


@dataclass(frozen=True)
class Source:
    """A T1w scan of a data set, and the files of its results; `output.one` writes them like those of a folder."""

    root: Path  # the data set
    image: str  # below it, with "/"
    path: Path  # the derivative

    @property
    def name(self) -> str:
        """The start of its files' names, such as `sub-01_ses-a_desc-hipposeg`."""
        return f"{self.image.rsplit('/', 1)[1].rsplit('_T1w.nii', 1)[0]}_desc-hipposeg"

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """Mask, sidecar and picture."""
        subject, *_, name = self.image.split("/")
        start = (self.path / self.image).with_name(self.name)
        mask, sidecar = (start.with_name(f"{start.name}_dseg{end}") for end in (".nii.gz", ".json"))
        return mask, sidecar, self.path / subject / "figures" / f"{start.name}_dseg.png"

    def facts(self) -> dict[str, Any]:
        """What the sidecar holds, or why there is none."""
        none = {"status": "not done", "reasons": ["the level participant has not written its files"]}
        return read_json(self.files[1]) if self.files[1].is_file() else none

    def put(self, image: Path, result: Result, level: float) -> None:
        """Write a segmented scan, as `output.Folder` does."""
        mask, sidecar, picture = self._removed()
        facts = output.as_facts(self.image, result, level) | {"row": output.as_cells(result)}
        if result.labels is not None:
            save_labels(mask, result.labels, result.scan)
            facts |= {"Manual": False, "Sources": [f"bids:raw:{self.image}"]}
        if result.hippocampi:
            write_bytes(picture, output.picture(result))
        write_json(sidecar, facts)

    def note(self, image: Path, status: str, why: str) -> None:
        """Note a scan without result, as `output.Folder` does."""
        write_json(self._removed()[1], {"image": self.image, "status": status, "reasons": [output.as_utf8(why)]})

    def _removed(self) -> tuple[Path, Path, Path]:
        for path in self.files:
            path.unlink(missing_ok=True)
        return self.files


def find(root: Path, out: Path, labels: Sequence[str] = ()) -> list[Source]:
    """The T1w scans of all or some participants. Raises ValueError if one has none, or two would have one mask."""
    paths = sorted(path for pattern in PATTERNS for end in ("", ".gz") for path in root.glob(pattern + end))
    found = [Source(root, path.relative_to(root).as_posix(), out) for path in paths]
    wanted = {f"sub-{label.removeprefix('sub-')}" for label in labels}
    missing = wanted - {one.image.split("/")[0] for one in found}
    if missing or not found:
        who = f" of {', '.join(sorted(missing))}" if missing else ""
        raise ValueError(f"{root}: found no T1w scan{who}, expected {EXPECTED}. Name the folder that holds sub-*.")
    twice = [path for path, count in Counter(one.files[0] for one in found).items() if count > 1]
    if twice:
        raise ValueError(f"{root}: found two scans for {twice[0].name}, expected one. Remove .nii or .nii.gz.")
    return [one for one in found if not wanted or one.image.split("/")[0] in wanted]


def describe(root: Path, out: Path) -> None:
    """Write what every BIDS derivative holds. Raises ValueError if the folder is the data set, or not hipposeg's."""
    path, url = out / "dataset_description.json", "https://github.com/hipposeg/hipposeg"
    ours = path.is_file() and any(one.get("Name") == "hipposeg" for one in read_json(path).get("GeneratedBy", []))
    if out == root or (path.exists() and not ours):
        raise ValueError(f"{out}: found a data set that hipposeg did not write, expected a new folder. Name another.")
    write_json(path, {
        "Name": "hipposeg: hippocampus, anterior and posterior", "BIDSVersion": "1.10.0", "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "hipposeg", "Version": hipposeg.__version__, "CodeURL": url}],
        "DatasetLinks": {"raw": Path(os.path.relpath(root, out)).as_posix()},
    })  # fmt: skip
    parts = [f"{side} {part}" for side in SIDES for part in ("anterior", "posterior")]
    write_text(out / "desc-hipposeg_dseg.tsv", output.label_table(dict(enumerate(parts, start=1))))
    write_text(out / ".bidsignore", "sub-*/figures\n*_qc.html\n*_volumes.*\n")


def participant(
    root: Path, out: Path, labels: Sequence[str] = (), scheduler: str = "", jobs: int | None = None,
    overwrite: bool = False, weights: Path | None = None,
) -> int:  # fmt: skip
    """Segment every scan that is not finished, as `hipposeg bids --help` says; returns 1 if a scan has no mask."""
    from distributed import as_completed

    root, out = root.expanduser().resolve(), out.expanduser().resolve()
    scans = find(root, out, labels)
    describe(root, out)
    todo = [one for one in scans if overwrite or one.facts()["status"] not in (OK, CHECK, REFUSED)]
    output.print_safely(f"{len(scans) - len(todo)} of {len(scans)} scans are finished.")
    if todo:
        _networks(weights)  # an error in them ends the call, not every scan
        with _client(scheduler, jobs, len(todo), out) as client:
            futures = {client.submit(_segment, one, weights, key=one.name, pure=False): one for one in todo}
            for place, future in enumerate(as_completed(futures), start=1):
                one = futures[future]
                if error := future.exception():  # a worker that was killed, mostly for its memory
                    one.note(root / one.image, output.FAILED, f"{type(error).__name__}: {error}")
                output.print_safely(f"[{place}/{len(todo)}] {one.image}: {one.facts()['status']}")
    bad = [(one, one.facts()) for one in scans if one.facts()["status"] not in (OK, CHECK)]
    for one, facts in bad:
        output.print_safely(f"{one.image}: {facts['status']}\n  {'; '.join(facts['reasons'])}")
    output.print_safely(f"{len(scans)} scans, {len(bad)} without mask. Results: {out}")
    return 1 if bad else 0


@contextmanager
def _client(scheduler: str, jobs: int | None, count: int, out: Path) -> Iterator[Any]:
    """A client of a scheduler, or of a cluster on this machine that ends with it."""
    from distributed import Client
    from distributed.system import MEMORY_LIMIT

    logging.getLogger("distributed").setLevel(logging.ERROR)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = max(1, min(jobs or min(cores, int(MEMORY_LIMIT // SCAN_BYTES)), count))
    local = {
        "n_workers": workers, "threads_per_worker": 1, "memory_limit": MEMORY_LIMIT // workers,
        "local_directory": str(out / ".dask"), "silence_logs": logging.ERROR, "dashboard_address": None,
    }  # fmt: skip
    try:
        with Client(scheduler) if scheduler else Client(**local) as client:
            yield client
    finally:
        shutil.rmtree(out / ".dask", ignore_errors=True)


@cache
def _networks(weights: Path | None) -> Ensemble:
    return load_ensemble(weights, machine=replace(this_machine(), threads=1))


def _segment(source: Source, weights: Path | None) -> None:
    """Segment one scan in a worker."""
    os.environ["MPLBACKEND"] = "Agg"
    with _one_at_a_time:
        output.one(source.root / source.image, source, _networks(weights))


def group(root: Path, out: Path) -> int:
    """Write a table of all scans, and a page with the most unusual first; returns 1 if a scan has no mask."""
    root, out = root.expanduser().resolve(), out.expanduser().resolve()
    scans, rows = find(root, out), []
    describe(root, out)
    for one in scans:
        facts, (subject, *session, _, _) = one.facts(), one.image.split("/")
        rows.append({
            "participant_id": subject, "session_id": "".join(session),
            "image": one.image, "name": one.name, "status": facts["status"], "reasons": "; ".join(facts["reasons"]),
        } | facts.get("row", {}))  # fmt: skip
    masked = [row for row in rows if row["status"] in (OK, CHECK)]
    for row, (score, measure) in zip(masked, unusual(masked), strict=True):
        row |= {"unusual": f"{score:.1f}", "most_unusual": measure}
    cells = [[str(row.get(column) or "n/a") for column in COLUMNS] for row in rows]
    lines = ["\t".join(" ".join(cell.split()) for cell in line) for line in (COLUMNS, *cells)]
    write_text(out / "desc-hipposeg_volumes.tsv", "\n".join(lines) + "\n")
    write_json(out / "desc-hipposeg_volumes.json", {name: {"Description": text} for name, text in MEANINGS.items()})
    pictures = {one.name: one.files[2].relative_to(out).as_posix() for one in scans if one.files[2].is_file()}
    rows.sort(key=lambda row: (row["status"] in (OK, CHECK), -float(row.get("unusual") or 0), row["name"]))
    write_text(out / "desc-hipposeg_qc.html", _page(rows, pictures))
    bad = len(rows) - len(masked)
    output.print_safely(f"{len(rows)} scans, {bad} without mask. Look at {out / 'desc-hipposeg_qc.html'}")
    return 1 if bad else 0


def unusual(rows: Sequence[dict[str, str]]) -> list[tuple[float, str]]:
    """Of each scan the largest robust z, and the measure that has it. Of agreements only low ones are unusual."""
    measures = np.array([measure for measure in MEASURES if any(row.get(measure) for row in rows)])
    if not len(measures):
        return []
    values = np.array([[float(row.get(measure) or "nan") for measure in measures] for row in rows])
    middle = np.nanmedian(values, axis=0)
    spread = 1.4826 * np.nanmedian(np.abs(values - middle), axis=0)
    z = (values - middle) / np.maximum(spread, LEAST_SPREAD * np.maximum(np.abs(middle), 1))
    z = np.nan_to_num(np.where(measures == "agreement", np.maximum(-z, 0), np.abs(z)))
    return [(line.max(), str(measures[line.argmax()])) for line in z]


def _page(rows: Sequence[dict[str, str]], pictures: dict[str, str]) -> str:
    """The page of the group; pictures are links, so that it stays small."""
    counts = ", ".join(f"{count} {status}" for status, count in Counter(row["status"] for row in rows).items())
    order = "Scans without mask come first, then those that differ most from this group."
    table = f'<a href="desc-hipposeg_volumes.tsv">The table</a> has all, this page {MOST_SHOWN} at most'
    shown = [f"<p>{len(rows)} scans: {counts}. {order} {table}. Not a medical device.</p>"]
    for row in rows[:MOST_SHOWN]:
        facts = [f"{part}: {row[f'{part}_mm3']} mm³" for part in SIDES if row.get(f"{part}_mm3")]
        if measure := row.get("most_unusual"):
            facts.append(f"most unusual: {measure}, {row['unusual']} robust standard deviations from the median")
        words = "".join(f"<li>{html.escape(text)}</li>" for text in [*facts, row["reasons"]] if text)
        shown.append(f'<h2>{html.escape(row["image"])}</h2><p class="status {row["status"]}">{row["status"]}</p>')
        shown.append(f"<ul>{words}</ul>")
        if row["name"] in pictures:
            shown.append(f'<img loading="lazy" alt="Outlines in three planes" src="{quote(pictures[row["name"]])}">')
    return output.html_page("Hippocampi of the group", "\n".join(shown))
