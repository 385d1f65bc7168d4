"""Segment many scans: a mask and a picture of each, and one table of volumes; a bad file does not stop the others."""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hipposeg.data.spec import DataError, DatasetSpec
from hipposeg.files import replacing, write_csv
from hipposeg.metrics import UNION
from hipposeg.predict.ensemble import Ensemble, Segmentation, load_ensemble
from hipposeg.predict.scan import SUFFIXES, WHY_THE_CROP, Scan, read_scan, save_mask

TABLE = "volumes.csv"
# Segmented; segmented, with flags; unlike the training data; an error on this machine, such as a full disk.
OK, LOOK, REFUSED, FAILED = "ok", "look", "refused", "failed"
TOTAL = "total"  # the union of both parts, in files and messages for users


def columns(spec: DatasetSpec) -> tuple[str, ...]:
    """Columns of volumes.csv, which has a row per image; volumes and the ends of their intervals in mm3."""
    sizes = tuple(f"{name}_{end}" for name in (*spec.names, TOTAL) for end in ("mm3", "low", "high"))
    return ("image", "status", *sizes, "mask", "picture", "notes")


def names(paths: Sequence[Path]) -> list[str]:
    """A unique name for each path's outputs: the file's own, behind as many folder names as it takes."""
    stems = [_stem(path) for path in paths]
    parts = [(*path.resolve().parent.parts[1:], stem) for path, stem in zip(paths, stems, strict=True)]
    depth, found = [1] * len(paths), list(stems)
    for _ in range(max(map(len, parts), default=1)):
        clashing = [i for i, name in enumerate(found) if found.count(name) > 1]
        for i in clashing:
            depth[i] += 1
            found[i] = "_".join(parts[i][-depth[i] :])
    # Still equal: x.nii beside x.nii.gz, or folders with underscores.
    return [name if found.count(name) == 1 else f"{name}-{i + 1}" for i, name in enumerate(found)]


def _stem(path: Path) -> str:
    return next((path.name[: -len(end)] for end in reversed(SUFFIXES) if path.name.endswith(end)), path.name)


def run(images: Sequence[Path], output: Path, folder: Path | None = None) -> int:
    """Segment each image into `output` and print what happened.

    Args:
        images: NIfTI files.
        output: folder for masks, pictures and the table.
        folder: holds card and weights; by default the package's.

    Returns:
        1 if an image was refused or failed, else 0.

    Raises:
        FileNotFoundError: a weight file or the card is missing.
        ValueError: the weights do not belong to the card, or nothing can be written to `output`. Both before an image
            is read.
    """
    _check_output(output)
    ensemble = load_ensemble(folder)
    paths = list(dict.fromkeys(images))
    rows: list[dict] = []
    try:
        for path, name in zip(paths, names(paths), strict=True):
            rows.append(_one(path, name, ensemble, output))
    finally:  # list finished images even if the rest is interrupted
        if rows:
            _write_table(output, ensemble.spec, rows)
    counts = {status: sum(row["status"] == status for row in rows) for status in (OK, LOOK, REFUSED, FAILED)}
    print(
        f"{len(rows)} images: {counts[OK] + counts[LOOK]} segmented, {counts[LOOK]} of them flagged, "
        f"{counts[REFUSED]} refused, {counts[FAILED]} failed. Volumes: {output / TABLE}\n"
        f"The intervals cover {100 * ensemble.card.level:.0f} % of true volumes in crops like the training set's. "
        f"{WHY_THE_CROP} Not a medical device."
    )
    return 1 if counts[REFUSED] or counts[FAILED] else 0


def _check_output(output: Path) -> None:
    """Create the folder and check that it takes a file, before the first image is processed."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        found = "a file" if output.is_file() else f"that nothing can be written there ({_reason(error)})"
        raise ValueError(f"{output}: found {found}, expected a folder for the masks. Name another with -o.") from error


def _write_table(output: Path, spec: DatasetSpec, rows: Sequence[dict]) -> None:
    try:
        write_csv(output / TABLE, columns(spec), rows)
    except OSError as error:
        raise ValueError(
            f"{output / TABLE}: the table of volumes could not be written ({_reason(error)}). Make room, or name "
            "another folder with -o, and run again."
        ) from error


def _one(path: Path, name: str, ensemble: Ensemble, output: Path) -> dict:
    """Read, segment and write one image; return its row of the table. No error of one image stops the others."""
    mask, picture = output / f"{name}_mask.nii.gz", output / f"{name}_qc.png"
    try:
        scan = read_scan(path, ensemble.card.boxes, ensemble.spec)
        found = ensemble.segment(scan)
        with replacing(mask) as new_mask, replacing(picture) as new_picture:  # both or neither
            save_mask(new_mask, found.mask, scan)
            draw(scan, found, name, ensemble, new_picture)
    except DataError as error:
        return _without(path, REFUSED, str(error))
    except OSError as error:
        why = f"{path}: a file could not be read or written ({error}). Make room in {output}, or name another with -o."
        return _without(path, FAILED, why)
    except Exception as error:  # of any kind; the next image may be fine
        kind = type(error).__name__
        why = f"{path}: could not be segmented ({kind}: {error}). Run it alone; if it fails again, report it."
        return _without(path, FAILED, why)
    shown = ", ".join(f"{_title(label)} {volume}" for label, volume in found.volumes.items())
    print(f"{path}: {shown}", *(f"  look: {flag}" for flag in found.flags), sep="\n", flush=True)
    row = {"image": str(path), "status": LOOK if found.flags else OK, "mask": mask.name, "picture": picture.name}
    for label, volume in found.volumes.items():
        ends = {"mm3": volume.predicted, "low": volume.lower, "high": volume.upper}
        row |= {f"{_title(label)}_{end}": f"{value:.1f}" for end, value in ends.items()}
    return row | {"notes": "; ".join(found.flags)}


def _without(path: Path, status: str, why: str) -> dict:
    """Print why an image has no mask; return its row of the table."""
    print(f"{status}: {why}", file=sys.stderr, flush=True)
    return {"image": str(path), "status": status, "notes": why}


def _reason(error: OSError) -> str:
    """The system's message, such as "No space left on device", without number and path."""
    return error.strerror or str(error)


def draw(scan: Scan, found: Segmentation, name: str, ensemble: Ensemble, path: Path) -> None:
    """Write the picture to check the mask by."""
    os.environ.setdefault("MPLBACKEND", "Agg")  # never open a window
    from hipposeg.viz import qc

    volumes = [f"{_title(label)} {volume}" for label, volume in found.volumes.items()]
    figure = qc.picture(
        scan.image[0], found.mask, ensemble.spec, name, volumes, found.flags, scan.spacing, ensemble.card.level
    )
    try:
        qc.save(figure, path)
    finally:
        qc.close(figure)


def _title(label: str) -> str:
    return TOTAL if label == UNION else label
