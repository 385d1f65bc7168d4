"""Small files with which the page shows every test case of a fold: image, truth and predictions.

The page is made from artifacts alone, which do not contain the images of the data set; notebook 07 writes these
copies. A case with seven label maps takes about 25 kB, in two files, both in C order (X, Y, Z). `NNN.webp` is the image
in 256 grey levels between two percentiles, one row of Z pixels for each (X, Y); it is lossy, for display only.
`NNN.gz` is a gzip stream of the truth and of one label map for each model, one byte a voxel.
"""

import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hipposeg import files
from hipposeg.data.cohort import Cohort
from hipposeg.experiments.registry import FLAGSHIP
from hipposeg.results.load import ResultsError, Run
from hipposeg.viz.slices import PLANES, grey_window, plane_name
from hipposeg.workspace import Workspace

QUALITY = 60
MOST_MODELS = 10
SCHEDULES = ("standard", "smoke")


def chosen(runs: Sequence[Run]) -> list[Run]:
    """The models to show: one run for each model (seed 0 of the standard schedule), flagship first, atlas last.

    At most MOST_MODELS, in the order of the notebooks. Raises ResultsError if none is left.
    """
    main = [run for run in runs if run.config["seed"] == 0 and run.config["schedule"] in SCHEDULES]
    ranked = sorted(main, key=lambda run: (run.model != FLAGSHIP, run.is_atlas, run.config["notebook"]))
    if not ranked:
        raise ResultsError("no run of seed 0 to show in the explorer; run notebook 03 first, as `make 07` does")
    return ranked[: MOST_MODELS - 1] + [run for run in ranked[MOST_MODELS - 1 :] if run.is_atlas][:1]


def greys(image: np.ndarray) -> np.ndarray:
    """An image (X, Y, Z) in 256 grey levels between the 0.5th and 99.5th percentile, uint8."""
    low, high = grey_window(image)
    return np.rint(np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def pack(grey: np.ndarray, maps: Sequence[np.ndarray]) -> tuple[bytes, bytes]:
    """The bytes of a case's two files: grey levels, and the truth with the models' label maps, all uint8 (X, Y, Z)."""
    stream = io.BytesIO()
    picture = Image.fromarray(grey.reshape(-1, grey.shape[2])).convert("RGB")
    picture.save(stream, "WEBP", quality=QUALITY, method=6)
    return stream.getvalue(), gzip.compress(b"".join(one.tobytes() for one in maps), 9, mtime=0)


def write(ws: Workspace, cohort: Cohort, runs: Sequence[Run]) -> Path:
    """Write artifacts/explorer and return the path of its index.json; files of other cases are removed.

    Args:
        ws: where to write.
        cohort: images and truths.
        runs: with masks, on grouped fold 0; those of `chosen` are shown.
    """
    spec, folder, models, cases, kept = cohort.spec, ws.artifacts / "explorer", chosen(runs), [], set()
    for number in models[0].values().index:
        case, name = cohort.cases[int(number)], f"{number:03d}"
        contents = pack(greys(case.image[0]), [case.label, *(run.masks[case.number] for run in models)])
        for end, content in zip(("webp", "gz"), contents, strict=True):
            files.write_bytes(folder / f"{name}.{end}", content)
            kept.add(folder / f"{name}.{end}")
        shape = list(case.label.shape)
        cases.append(
            {"case": case.number, "person": case.subject, "shape": shape, "spacing": case.spacing, "name": name}
        )
    for stale in {*folder.glob("[!.]*.gz"), *folder.glob("[!.]*.webp")} - kept:
        stale.unlink()
    planes = [{"name": plane_name(spec, axis), "axes": PLANES[axis]} for axis in range(3)]
    shown = [{"run": run.name, "model": run.model} for run in models]
    index = {"folds": "grouped", "fold": 0, "ends": spec.axes, "planes": planes, "models": shown, "cases": cases}
    files.write_json(folder / "index.json", index)
    return folder / "index.json"
