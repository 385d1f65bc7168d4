"""The explorer's part of the page: the cases' files as they are, their metrics as text, and slices drawn ahead of time.

Volumes travel as base64 of the files that `runs.explorer` wrote, and a browser unpacks only the case that is looked
at. What stands drawn (the first screen; best, median and worst case) is SVG, and needs no script.
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
from hipposeg_lab.page.artifacts import Artifacts, ReportError, Row
from hipposeg_lab.page.embed import data_uri_of
from hipposeg_lab.page.numbers import show
from hipposeg_lab.page.view import LABELS
from hipposeg_lab.page.words import model_text

# Columns of the metrics table: key in cases.csv, and how it is written.
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
    study = art.studies.get("words")
    words = {(row["run"], row["case"]): row["words"] for row in study.rows} if study else {}
    runs = [model["run"] for model in index["models"]]
    scores = _scores(art, runs)
    cases = []
    for case in index["cases"]:
        told = [[_told(scores, run, case["case"], label) for label in LABELS] for run in runs]
        parts = {kind: _base64(folder / f"{case['name']}.{end}") for kind, end in (("image", "webp"), ("masks", "gz"))}
        cases.append(
            {key: case[key] for key in ("case", "person", "shape", "spacing")}
            | {"told": told, "words": [words.get((run, case["case"]), "") for run in runs]}
            | parts
        )
    models = [{"model": model["model"], "text": model_text(model["model"])} for model in index["models"]]
    labels = [{"name": label.name, "colour": label.colour} for label in MSD_HIPPOCAMPUS.labels]
    kept = {key: index[key] for key in ("ends", "planes")}
    content = kept | {"models": models, "labels": labels, "rows": LABELS, "cases": cases, "rules": rules(art, runs[0])}
    return json.dumps(content, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")


def _base64(path: Path) -> str:
    if not path.is_file():
        raise ReportError(f"explorer/index.json names {path.name}, which is not there; run notebook 07 again")
    return base64.b64encode(path.read_bytes()).decode()


def _scores(art: Artifacts, runs: Sequence[str]) -> dict[tuple[str, int, str], Row]:
    return {(row["run"], row["case"], row["label"]): row for row in art.cases if row["run"] in runs}


def _told(scores: dict[tuple[str, int, str], Row], run: str, case: int, label: str) -> list[str]:
    row = scores.get((run, case, label))
    if row is None:
        raise ReportError(f"cases.csv has no {label} of case {case} of {run}; run notebook 07 again")
    return [
        "" if label == "mean" and metric in NOT_OF_MEAN else show(row.get(metric), kind) for metric, kind in METRICS
    ]


def rules(art: Artifacts, run: str) -> dict[str, int]:
    """Best, median and worst case of a run by mean Dice (lower middle if even, ties to the lower case number)."""
    scores = [(-row["dice"], row["case"]) for row in art.cases if (row["run"], row["label"]) == (run, "mean")]
    ranked = [case for _, case in sorted(scores)]
    return {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]} if ranked else {}


def drawn(art: Artifacts, rule: str, axes: Sequence[int]) -> Shown | None:
    """The case that a rule chooses for the first model, sliced across `axes` where the truth is fullest."""
    if not art.explorer:
        return None
    from hipposeg.viz.planes import fullest
    from hipposeg_lab.studies.explorer import read

    model = art.explorer["models"][0]
    number = rules(art, model["run"])[rule]
    case = next(one for one in art.explorer["cases"] if one["case"] == number)
    volume = read(art.ws.artifacts / "explorer", case["name"], case["shape"])
    at = {axis: fullest(volume.truth, axis, case["shape"]) for axis in axes}
    rows = tuple(
        (name, tuple(_panel(art.explorer, volume.grey, mask, axis, at[axis], name, number) for axis in axes))
        for name, mask in (("expert", volume.truth), ("network", volume.masks[0]))
    )
    dice = next(r["dice"] for r in art.cases if (r["run"], r["case"], r["label"]) == (model["run"], number, "mean"))
    return Shown(number, rule, dice, model["run"], rows)


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
