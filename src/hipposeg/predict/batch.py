"""Many scans, one folder: for each a mask and a picture, for all one table; a bad file does not stop the others."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hipposeg.data.spec import DataError, DatasetSpec
from hipposeg.files import write_csv
from hipposeg.metrics import UNION
from hipposeg.predict.model import Model, Segmentation, find, load_model
from hipposeg.predict.scan import SUFFIXES, WHY_THE_BOX, Scan, read_scan, save_mask

TABLE = "volumes.csv"
OK, LOOK, REFUSED = "ok", "look", "refused"
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
    """Segment each image into `output`, say what happened, and return 1 if any was refused, else 0.

    folder: where card and weights are, by default the project's own. Raises FileNotFoundError or ValueError if there
    are none, before anything is written.
    """
    model = load_model(find(folder))
    paths = list(dict.fromkeys(images))
    rows: list[dict] = []
    try:
        for path, name in zip(paths, names(paths), strict=True):
            rows.append(_one(path, name, model, output))
    finally:  # what is done is listed even if the rest is interrupted
        if rows:
            write_csv(output / TABLE, columns(model.spec), rows)
    counts = {status: sum(row["status"] == status for row in rows) for status in (OK, LOOK, REFUSED)}
    print(
        f"{len(rows)} images: {counts[OK] + counts[LOOK]} segmented, {counts[LOOK]} of them to look at, "
        f"{counts[REFUSED]} refused. Volumes: {output / TABLE}\n"
        f"The intervals are meant to hold {100 * model.card.level:.0f} % of true volumes, in boxes cut as the training "
        f"set's. {WHY_THE_BOX} Not a medical device."
    )
    return 1 if counts[REFUSED] else 0


def _one(path: Path, name: str, model: Model, output: Path) -> dict:
    """Read, segment and write one image; its row of the table."""
    try:
        scan = read_scan(path, model.card.boxes, model.spec)
    except (DataError, OSError) as error:
        print(f"refused: {error}", file=sys.stderr, flush=True)
        return {"image": str(path), "status": REFUSED, "notes": str(error)}
    found = model.segment(scan)
    mask, picture = output / f"{name}_mask.nii.gz", output / f"{name}_qc.png"
    save_mask(mask, found.mask, scan)
    draw(scan, found, name, model, picture)
    shown = ", ".join(f"{_said(label)} {volume}" for label, volume in found.volumes.items())
    print(f"{path}: {shown}", *(f"  look: {flag}" for flag in found.flags), sep="\n", flush=True)
    row = {"image": str(path), "status": LOOK if found.flags else OK, "mask": mask.name, "picture": picture.name}
    for label, volume in found.volumes.items():
        ends = {"mm3": volume.predicted, "low": volume.lower, "high": volume.upper}
        row |= {f"{_said(label)}_{end}": f"{value:.1f}" for end, value in ends.items()}
    return row | {"notes": "; ".join(found.flags)}


def draw(scan: Scan, found: Segmentation, name: str, model: Model, path: Path) -> None:
    """Write the picture that shows whether the mask is to be believed."""
    os.environ.setdefault("MPLBACKEND", "Agg")  # a file is wanted, never a window
    from hipposeg.viz import qc
    from hipposeg.viz.style import save_figure

    volumes = [f"{_said(label)} {volume}" for label, volume in found.volumes.items()]
    figure = qc.picture(
        scan.image[0], found.mask, model.spec, name, volumes, found.flags, scan.spacing, model.card.level
    )
    save_figure(figure, path, phantom=False)
    qc.close(figure)


def _said(label: str) -> str:
    return TOTAL if label == UNION else label
