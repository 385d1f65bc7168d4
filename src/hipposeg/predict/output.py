"""What `hipposeg predict` leaves in a folder, and how it goes through many scans.

For each scan: a mask with its label table, a JSON file (whose name is no BIDS sidecar's), a page to check the mask by,
on request a DICOM SEG, and a row of volumes.csv. A row is written as soon as its scan is done, so a kill loses the scan
in progress and nothing else. No input is ever replaced; files that the folder's table does not list belong to somebody
else and stay, unless `overwrite` is set. A scan whose files may not be written leaves folder and table as they were.
"""

import base64
import csv
import html
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock

from hipposeg.data.spec import DataError
from hipposeg.files import FORMULA, as_cell, as_utf8, printable, reading, write_csv, write_json, write_text
from hipposeg.predict.ensemble import Ensemble, Volume, load_ensemble
from hipposeg.predict.scan import save_labels
from hipposeg.predict.segment import CHECK, OK, REFUSED, SIDES, Result, segment

TABLE, LOCK = "volumes.csv", ".volumes.lock"
FAILED = "failed"  # an error of this machine, such as a full disk
ENDS = ("mm3", "low", "high")  # of a volume and its interval
PARTS = ("anterior", "posterior", "total", *(f"{s}{part}" for s in SIDES for part in ("_anterior", "_posterior", "")))
COLUMNS = ("image", "status", "name", *(f"{part}_{end}" for part in PARTS for end in ENDS), "asymmetry",
           "intracranial_ml", "agreement", "reasons")  # fmt: skip
ENDINGS = ("_dseg.nii.gz", "_dseg.tsv", "_volumes.json", "_qc.html", "_dseg.dcm")
SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh", ".nrrd", ".mha", ".mhd", ".dcm")
DISCLAIMER = (
    "Intervals cover {level:.0%} of true volumes in crops like the training set's; they are not calibrated for other "
    "scanners, populations or for crops placed by this program. Not a medical device."
)


class Folder:
    """An output folder and its table."""

    def __init__(self, path: Path, inputs: Sequence[Path], overwrite: bool = False, dicom_seg: bool = False) -> None:
        """Open a folder; it is created if it does not exist.

        Raises:
            OSError: nothing can be written there.
            ValueError: it holds a volumes.csv of another program.
        """
        self.path, self.overwrite, self.dicom_seg = path.expanduser(), overwrite, dicom_seg
        self.inputs = {one.resolve() for one in inputs}
        self.path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.path):
            pass
        self.rows = self._earlier_rows()

    def _earlier_rows(self) -> dict[str, dict[str, str]]:
        table = self.path / TABLE
        if not table.exists():
            return {}
        with reading(table, "a table"), table.open(newline="", encoding="utf-8", errors="backslashreplace") as stream:
            reader = csv.DictReader(stream)
            if tuple(reader.fieldnames or ()) == COLUMNS:
                return {row["image"]: row for row in reader}
        if self.overwrite and table.resolve() not in self.inputs:
            return {}
        raise ValueError(
            f"{table}: found a table that hipposeg did not write. Name another folder with -o, or use --overwrite."
        )

    def name(self, image: Path) -> str:
        """A name for the files of a scan that no other scan has: its own, behind as many folder names as it takes."""
        if known := self.rows.get(as_key(image)):
            return known["name"]
        *parents, own = Path(as_key(image)).parts
        stem = next((own[: -len(end)] for end in SUFFIXES if own.lower().endswith(end)), own)
        taken, found = {row["name"] for row in self.rows.values()}, harmless(stem)
        while found in taken and len(parents) > 1:
            found = harmless(f"{parents.pop()}_{found}")
        number = 2
        while found in taken:
            found, number = f"{harmless(stem)}-{number}", number + 1
        return found

    def blocked(self, image: Path) -> str:
        """Why a scan's files may not be written, and what to do; "" if they may."""
        self.rows |= self._earlier_rows()  # of another process
        for path in self.files(image):
            if path.resolve() in self.inputs:
                return f"{path} is an input of this call and is not replaced. Name another folder with -o."
            if path.exists() and as_key(image) not in self.rows and not self.overwrite:
                return f"{path} exists and no earlier call wrote it. Name another folder with -o, or use --overwrite."
        return ""

    def put(self, image: Path, result: Result, level: float) -> None:
        """Write a scan's files, and last its row. On an error none of the files is left."""
        files, name = self.files(image), self.name(image)
        mask, names, facts, page, segmentation = files
        self._remove(files)  # of an earlier call
        try:
            if result.labels is not None:
                save_labels(mask, result.labels, result.scan)
                write_text(names, label_table(result.names))
                if self.dicom_seg and result.scan.slices:
                    _save_segmentation(segmentation, image, result)
            write_json(facts, as_facts(as_key(image), result, level))
            if result.hippocampi:
                write_text(page, as_utf8(as_page(name, result, level)))
            self._add(image, name, result.status, "; ".join(result.reasons), as_cells(result))
        except Exception:
            self._remove(files)
            raise

    def note(self, image: Path, status: str, why: str) -> None:
        """Add the row of a scan without result; files of an earlier success of it go."""
        name = self.name(image)
        if as_key(image) in self.rows:
            self._remove(self.files(image))
        self._add(image, name, status, why, {})

    def files(self, image: Path) -> list[Path]:
        """All that may be written of a scan."""
        return [self.path / f"{self.name(image)}{ending}" for ending in ENDINGS]

    def _remove(self, paths: Sequence[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)

    def _add(self, image: Path, name: str, status: str, reasons: str, more: dict[str, str]) -> None:
        key = as_key(image)
        row = {"image": key, "name": name, "status": status, "reasons": as_cell(reasons)}
        with FileLock(self.path / LOCK):
            self.rows |= self._earlier_rows()  # of another process
            self.rows[key] = dict.fromkeys(COLUMNS, "") | row | more
            write_csv(self.path / TABLE, COLUMNS, list(self.rows.values()))


def _save_segmentation(path: Path, image: Path, result: Result) -> None:
    from hipposeg.predict.dicom_seg import save_segmentation

    try:
        save_segmentation(path, result)
    except Exception as error:  # with unusual headers highdicom raises anything
        found = f"{image}: found headers that make no DICOM SEG ({type(error).__name__}: {error})"
        raise DataError(f"{found}, expected complete ones. Leave out --dicom-seg.") from error


def label_table(names: dict[int, str]) -> str:
    """Values and names of a mask, as BIDS wants them."""
    return "index\tname\n" + "".join(f"{value}\t{part}\n" for value, part in sorted(names.items()))


def as_facts(image: str, result: Result, level: float) -> dict[str, Any]:
    """What the JSON file of a scan holds."""
    return {
        "image": image, "status": result.status, "reasons": result.reasons, "interval_level": level,
        "volumes_mm3": {part: vars(volume) for part, volume in result.volumes.items()}, "asymmetry": result.asymmetry,
        "intracranial_ml_estimate": result.intracranial_ml,
        "agreement_of_networks": {one.side or "crop": one.agreement for one in result.hippocampi},
    }  # fmt: skip


def as_cells(result: Result) -> dict[str, str]:
    """The figures of a scan in its row of the table."""
    agreement = min((one.agreement for one in result.hippocampi), default=None)
    row = {"asymmetry": result.asymmetry, "intracranial_ml": result.intracranial_ml, "agreement": agreement}
    for part, volume in result.volumes.items():
        ends = zip(ENDS, vars(volume).values(), strict=True)
        row |= {f"{part.replace(' ', '_')}_{end}": value for end, value in ends}
    fine = ("asymmetry", "agreement")
    return {
        column: "" if value is None else f"{value:.4g}" if column in fine else f"{value:.1f}"
        for column, value in row.items()
    }


def as_key(image: Path) -> str:
    """The whole path of a scan: `T1.nii` in two folders are two scans. Links are not followed, as names matter."""
    return as_utf8(os.path.abspath(image))


def harmless(name: str) -> str:
    """A name of files, without what steers a terminal, that is no formula to a spreadsheet."""
    name = "".join(one if one.isprintable() else "_" for one in name)
    return "_" * name.startswith(FORMULA) + name


def picture(result: Result) -> bytes:
    """A PNG of each hippocampus with the outlines of its parts."""
    from hipposeg.viz import slices

    return slices.quality_png({one.side or "crop": (one.image, one.mask) for one in result.hippocampi})


def as_page(name: str, result: Result, level: float) -> str:
    """A self-contained HTML page: status and reasons in words, the picture, the volumes."""
    image = base64.b64encode(picture(result)).decode()
    reasons = "".join(f"<li>{html.escape(why)}</li>" for why in result.reasons) or "<li>Nothing is unusual.</li>"
    rows = "".join(
        f"<tr><td>{html.escape(part)}<td>{volume.predicted:.0f}<td>{volume.lower:.0f} to {volume.upper:.0f}"
        for part, volume in result.volumes.items()
    )
    table = f"<table><tr><th>part<th>mm³<th>{level:.0%} interval{rows}</table>" if rows else ""
    return html_page(
        name,
        f"""<p class="status {result.status}">Status: {result.status}</p>
<ul>{reasons}</ul>
<img alt="Three planes of each hippocampus, with the outlines of its parts" src="data:image/png;base64,{image}">
{table}
<p>Look at the outlines: a plausible mask can be wrong without a flag. {DISCLAIMER.format(level=level)}</p>""",
    )


def html_page(title: str, body: str) -> str:
    """A page in this program's look."""
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(title)}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #1f2933 }}
img {{ max-width: 100% }} td, th {{ text-align: left; padding: .2rem 1.5rem .2rem 0; vertical-align: top }}
.status {{ font-weight: bold }} .{CHECK}, .{REFUSED}, .{FAILED} {{ color: #a63d00 }}
</style>
<h1>{html.escape(title)}</h1>
{body}
</html>
"""


def run(
    images: Sequence[Path], output: Path, weights: Path | None = None, series: str = "", overwrite: bool = False,
    dicom_seg: bool = False,
) -> int:  # fmt: skip
    """Segment each scan into a folder, as `hipposeg predict --help` says, and print what happened.

    Returns:
        1 if a scan was refused or failed, else 0.

    Raises:
        FileNotFoundError: a weight file or the card is missing.
        OSError, ValueError: card, weights or folder cannot be used. All before a scan is read.
    """
    os.environ["MPLBACKEND"] = "Agg"  # never open a window
    paths = [path.expanduser() for path in dict.fromkeys(images)]
    if dicom_seg and not find_spec("highdicom"):
        raise ValueError("--dicom-seg: found no highdicom; `pip install 'hipposeg[dicom]'` installs it.")
    folder, ensemble = Folder(output, paths, overwrite, dicom_seg), None
    counts = dict.fromkeys((OK, CHECK, REFUSED, FAILED), 0)
    for place, path in enumerate(paths, start=1):
        started = time.perf_counter()
        status, why, volumes = FAILED, folder.blocked(path), {}
        if not why:
            ensemble = ensemble or load_ensemble(weights)
            status, why, volumes = one(
                path, folder, ensemble, series, lambda text: print_safely(f"  {text}", sys.stderr)
            )
        counts[status] += 1
        name = str(path).replace("\n", "\\n")
        done = f"[{place}/{len(paths)}] {name}: {status}, {time.perf_counter() - started:.0f} s"
        done += "".join(f"\n  {part} {volume}" for part, volume in volumes.items())
        print_safely(done)
        if why:
            print_safely(f"  {why}")
    told = ", ".join(f"{count} {status}" for status, count in counts.items())
    print_safely(f"{len(paths)} scans: {told}. Volumes: {folder.path / TABLE}")
    if ensemble:
        print_safely(DISCLAIMER.format(level=ensemble.card.level))
    return 1 if counts[REFUSED] or counts[FAILED] else 0


def one(
    path: Path, folder: Any, ensemble: Ensemble, series: str = "", say: Callable[[str], None] | None = None
) -> tuple[str, str, dict[str, Volume]]:  # fmt: skip
    """Segment one scan, and write its files with `put` or its failure with `note` of a `Folder` or what has both.

    Returns status, reasons and volumes; nothing is raised.
    """
    try:
        result = segment(path, ensemble, series, say)
        folder.put(path, result, ensemble.card.level)
        return result.status, "; ".join(result.reasons), result.volumes
    except DataError as error:
        status, why = REFUSED, str(error)
    except OSError as error:
        status = FAILED
        why = f"a file could not be read or written ({error}). Make room in {folder.path}, or name another."
    except Exception as error:  # of any kind; the next scan may be fine
        status, why = FAILED, f"{type(error).__name__}: {error}. Run it alone; if it fails again, report it."
    try:
        folder.note(path, status, why)
    except OSError as error:
        why += f" Nothing could be written to {folder.path}, either ({error})."
    return status, why, {}


def print_safely(text: str, stream: TextIO | None = None) -> None:
    """Print a text, on stdout; neither a terminal without these letters nor a closed pipe ends the batch."""
    stream, text = stream or sys.stdout, printable(text)
    encoding = stream.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # or Python complains again when it ends
