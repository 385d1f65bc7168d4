"""The explorer's part of the page: the cases' files as they are, their metrics as text, and slices drawn ahead of time.

Volumes travel as base64 of the files that `studies.explorer` wrote, and a browser unpacks only the case that is shown.
The first screen and the best, median and worst case are drawn as SVG, which needs no script.
"""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.metrics import MEAN
from hipposeg.results import load
from hipposeg.results.tables import cases_by_rule
from hipposeg_lab.page.artifacts import Artifacts, ReportError
from hipposeg_lab.page.embed import data_uri_of
from hipposeg_lab.page.numbers import show
from hipposeg_lab.page.view import LABELS

# Columns of the metrics table: column of `results.load`, and how it is written.
METRICS = (
    ("dice", "score"), ("nsd1", "score"), ("hd95", "mm"), ("volume_true", "mm3"), ("volume_predicted", "mm3"),
    ("volume_bias", "bias"),
)  # fmt: skip
# The row "mean" averages two scores; a mean of two parts' volumes is the volume of nothing.
NOT_OF_MEAN = ("volume_true", "volume_predicted", "volume_bias")
TINT = 0.36


@dataclass(frozen=True)
class Panel:
    """One slice. width, height: voxels. image: data URI, a pixel a voxel. outlines: (label, SVG path) in voxels."""

    title: str
    words: str
    width: int
    height: int
    image: str
    outlines: tuple[tuple[str, str], ...]
    ends: tuple[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True)
class Shown:
    """A case drawn ahead of time: rows of panels, such as expert and network in three planes each. dice: of `run`."""

    case: int
    rule: str
    dice: float
    run: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]


def payload(art: Artifacts) -> str:
    """Everything that the explorer's script reads, as JSON that may stand inside a script element; "" without files."""
    if not art.explorer:
        return ""
    index, folder = art.explorer, art.ws.artifacts / "explorer"
    words = {(row["run"], row["case"]): row["words"] for row in art.rows("words")}
    runs = shown_runs(art)
    scores = [run.rows.set_index(["case", "label"]).to_dict("index") for run in runs]
    cases = []
    for case in index["cases"]:
        told = [[_told(rows[case["case"], label], label) for label in LABELS] for rows in scores]
        parts = {kind: _base64(folder / f"{case['name']}.{end}") for kind, end in (("image", "webp"), ("masks", "gz"))}
        cases.append(
            {key: case[key] for key in ("case", "person", "shape", "spacing")}
            | {"told": told, "words": [words.get((run.name, case["case"]), "") for run in runs]}
            | parts
        )
    models = [{"model": run.model, "text": run.config["title"]} for run in runs]
    labels = [{"name": label.name, "colour": label.colour} for label in MSD_HIPPOCAMPUS.labels]
    kept = {key: index[key] for key in ("ends", "planes")}
    content = kept | {"models": models, "labels": labels, "rows": LABELS, "cases": cases}
    content["rules"] = cases_by_rule(runs[0].values())
    return json.dumps(content, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")


def _base64(path: Path) -> str:
    if not path.is_file():
        raise ReportError(f"explorer/index.json lists {path.name}, which is missing; run notebook 07 again")
    return base64.b64encode(path.read_bytes()).decode()


def shown_runs(art: Artifacts) -> list[load.Run]:
    """The runs whose masks the explorer holds, in its order. Raises ReportError if results lack a run or a case."""
    names = [model["run"] for model in art.explorer["models"]]
    found = {run.name: run for run in load.runs(art.results[art.results["run"].isin(names)], art.ws)}
    cases = {case["case"] for case in art.explorer["cases"]}
    for name in names:
        if name not in found or not cases <= set(found[name].rows["case"]):
            raise ReportError(f"explorer/index.json lists cases of {name} without scores; run notebook 07 again")
    return [found[name] for name in names]


def _told(row: dict[str, Any], label: str) -> list[str]:
    return ["" if label == MEAN and metric in NOT_OF_MEAN else show(row[metric], kind) for metric, kind in METRICS]


def drawn(art: Artifacts, rule: str, axes: Sequence[int]) -> Shown | None:
    """The case that a rule selects for the first model, sliced across `axes` where the truth is largest."""
    if not art.explorer:
        return None
    from hipposeg.viz.planes import fullest
    from hipposeg_lab.studies.explorer import read

    run = shown_runs(art)[0]
    number = cases_by_rule(run.values())[rule]
    case = next(one for one in art.explorer["cases"] if one["case"] == number)
    volume = read(art.ws.artifacts / "explorer", case["name"], case["shape"])
    at = {axis: fullest(volume.truth, axis, case["shape"]) for axis in axes}
    rows = tuple(
        (name, tuple(_panel(art.explorer, volume.grey, mask, axis, at[axis], name, number) for axis in axes))
        for name, mask in (("expert", volume.truth), ("network", volume.masks[0]))
    )
    return Shown(number, rule, float(run.values()[number]), run.name, rows)


def _panel(index: dict[str, Any], grey: np.ndarray, mask: np.ndarray, axis: int, at: int, who: str, case: int) -> Panel:
    """A slice as a picture with tinted labels, and the labels' outlines along voxel edges. The low end is below."""
    from PIL import Image

    from hipposeg.viz.planes import outline, plane

    shade, cut = (plane(volume, axis, at) for volume in (grey, mask))
    pixels = np.repeat(shade[..., None], 3, axis=2).astype(float)
    outlines = []
    for label in MSD_HIPPOCAMPUS.labels:
        colour = np.array([int(label.colour[i : i + 2], 16) for i in (1, 3, 5)])
        inside = cut == label.value
        pixels[inside] = (1 - TINT) * pixels[inside] + TINT * colour
        if inside.any():
            outlines.append((label.name, _path(outline(inside), cut.shape[1])))
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8).transpose(1, 0, 2)[::-1].copy()).save(stream, "WEBP", lossless=True)
    name = index["planes"][axis]["name"]
    horizontal, vertical = index["planes"][axis]["axes"]
    ends = (tuple(index["ends"][horizontal]), tuple(index["ends"][vertical]))
    words = f"{name} slice {at + 1} of case {case:03d}, outlined by the {who}"
    image = data_uri_of("image/webp", stream.getvalue())
    return Panel(f"{name}, slice {at + 1}", words, *cut.shape, image, tuple(outlines), ends)


def _path(segments: np.ndarray, height: int) -> str:
    """Unit segments (n, 2, 2) between voxel centres' halves as an SVG path, y downwards."""
    said = []
    for (h0, v0), (h1, _) in segments + 0.5:
        said.append(f"M{h0:g} {height - v0:g}" + ("h1" if h1 > h0 else "v-1"))
    return "".join(said)
