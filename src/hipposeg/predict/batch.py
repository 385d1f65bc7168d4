"""Many scans, one folder: for each a mask and a picture, for all one table; a bad file does not stop the others."""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hipposeg.data.spec import DataError, DatasetSpec
from hipposeg.files import replacing, write_csv
from hipposeg.metrics import UNION
from hipposeg.predict.ensemble import Ensemble, Segmentation, find, load_ensemble
from hipposeg.predict.scan import SUFFIXES, WHY_THE_BOX, Scan, read_scan, save_mask

TABLE = "volumes.csv"
# Segmented; segmented, with flags; not what the networks know; gone wrong here, as on a full disk.
OK, LOOK, REFUSED, FAILED = "ok", "look", "refused", "failed"
TOTAL = "total"  # what users call the union of both parts


def columns(spec: DatasetSpec) -> tuple[str, ...]:
    """Of volumes.csv: one row per image; volumes and the ends of their intervals in mm3."""
    sizes = tuple(f"{name}_{end}" for name in (*spec.names, TOTAL) for end in ("mm3", "low", "high"))
    return ("image", "status", *sizes, "mask", "picture", "notes")


def names(paths: Sequence[Path]) -> list[str]:
    """A name for each path's outputs: the file's own, with as many folders before it as tell it from the others."""
    stems = [_stem(path) for path in paths]
    parts = [(*path.resolve().parent.parts[1:], stem) for path, stem in zip(paths, stems, strict=True)]
    depth, found = [1] * len(paths), list(stems)
    for _ in range(max(map(len, parts), default=1)):
        clashing = [i for i, name in enumerate(found) if found.count(name) > 1]
        for i in clashing:
            depth[i] += 1
            found[i] = "_".join(parts[i][-depth[i] :])
    # Only x.nii beside x.nii.gz is left, or folders that are named as if to spite.
    return [name if found.count(name) == 1 else f"{name}-{i + 1}" for i, name in enumerate(found)]


def _stem(path: Path) -> str:
    return next((path.name[: -len(end)] for end in reversed(SUFFIXES) if path.name.endswith(end)), path.name)


def run(images: Sequence[Path], output: Path, folder: Path | None = None) -> int:
    """Segment each image into `output`, say what happened, and return 1 if any was refused or failed, else 0.

    folder: where card and weights are, by default the project's own. Raises FileNotFoundError or ValueError if there
    are none, ValueError if nothing can be written to `output`; all before an image is read.
    """
    place = find(folder)
    _check_output(output)
    ensemble = load_ensemble(place)
    paths = list(dict.fromkeys(images))
    rows: list[dict] = []
    try:
        for path, name in zip(paths, names(paths), strict=True):
            rows.append(_one(path, name, ensemble, output))
    finally:  # what is done is listed even if the rest is interrupted
        if rows:
            _write_table(output, ensemble.spec, rows)
    counts = {status: sum(row["status"] == status for row in rows) for status in (OK, LOOK, REFUSED, FAILED)}
    print(
        f"{len(rows)} images: {counts[OK] + counts[LOOK]} segmented, {counts[LOOK]} of them to look at, "
        f"{counts[REFUSED]} refused, {counts[FAILED]} failed. Volumes: {output / TABLE}\n"
        f"The intervals are meant to hold {100 * ensemble.card.level:.0f} % of true volumes, in boxes cut as the training "
        f"set's. {WHY_THE_BOX} Not a medical device."
    )
    return 1 if counts[REFUSED] or counts[FAILED] else 0


def _check_output(output: Path) -> None:
    """Make the folder, and see that a file can be made in it: better now than after the first image."""
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
    """Read, segment and write one image; its row of the table. Whatever goes wrong with it, the others go on."""
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
        said = f"{path}: a file could not be read or written ({error}). Make room in {output}, or name another with -o."
        return _without(path, FAILED, said)
    except Exception as error:  # of any kind: this image has no mask then, and the next may have one
        kind = type(error).__name__
        said = f"{path}: could not be segmented ({kind}: {error}). Run it alone; if it fails again, report it."
        return _without(path, FAILED, said)
    shown = ", ".join(f"{_said(label)} {volume}" for label, volume in found.volumes.items())
    print(f"{path}: {shown}", *(f"  look: {flag}" for flag in found.flags), sep="\n", flush=True)
    row = {"image": str(path), "status": LOOK if found.flags else OK, "mask": mask.name, "picture": picture.name}
    for label, volume in found.volumes.items():
        ends = {"mm3": volume.predicted, "low": volume.lower, "high": volume.upper}
        row |= {f"{_said(label)}_{end}": f"{value:.1f}" for end, value in ends.items()}
    return row | {"notes": "; ".join(found.flags)}


def _without(path: Path, status: str, said: str) -> dict:
    """Say why an image has no mask; its row of the table."""
    print(f"{status}: {said}", file=sys.stderr, flush=True)
    return {"image": str(path), "status": status, "notes": said}


def _reason(error: OSError) -> str:
    """What the system says, such as "No space left on device", without number and path."""
    return error.strerror or str(error)


def draw(scan: Scan, found: Segmentation, name: str, ensemble: Ensemble, path: Path) -> None:
    """Write the picture that shows whether the mask is to be believed."""
    os.environ.setdefault("MPLBACKEND", "Agg")  # a file is wanted, never a window
    from hipposeg.viz import qc

    volumes = [f"{_said(label)} {volume}" for label, volume in found.volumes.items()]
    figure = qc.picture(
        scan.image[0], found.mask, ensemble.spec, name, volumes, found.flags, scan.spacing, ensemble.card.level
    )
    try:
        qc.save(figure, path)
    finally:
        qc.close(figure)


def _said(label: str) -> str:
    return TOTAL if label == UNION else label
