"""Pictures of the two pages: figures of notebooks, linked with their sizes, and what the front page carries itself."""

import base64
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nibabel
import numpy as np

from hipposeg.predict.registration import BOXES, TEMPLATE
from hipposeg_lab.page.artifacts import Picture, ReportError

# CSS pixels are 1/96 inch; the house style saves PNG files at 150 dots per inch, and SVG files in points (1/72 inch).
PNG_PIXEL, SVG_POINT = 96 / 150, 96 / 72
# Libraries of others, as published, with their licences; the folder's README describes them.
VENDOR = Path(__file__).parent / "vendor"


@dataclass(frozen=True)
class Figure(Picture):
    """A figure ready for a template. width and height in CSS pixels keep the page from jumping while it loads."""

    src: str
    width: int
    height: int

    @property
    def wide(self) -> bool:
        """Whether a phone should let the reader scroll inside the figure instead of shrinking its text away."""
        return self.width > 1.3 * self.height


def address(target: Path, page: Path) -> str:
    """The relative address of a file for a link on `page`; never an absolute one or one with a scheme."""
    return quote(Path(os.path.relpath(target, page.parent)).as_posix())


def figure(picture: Picture, page: Path) -> Figure:
    """A figure that `page` links. Raises ReportError on a damaged file or a format other than PNG and SVG."""
    from PIL import Image, UnidentifiedImageError

    path, size = picture.path, None
    if path.suffix == ".svg":
        found = re.search(rb'viewBox="\s*[-\d.]+[ ,]+[-\d.]+[ ,]+([\d.]+)[ ,]+([\d.]+)', path.read_bytes()[:4000])
        size = found and [SVG_POINT * float(number) for number in found.groups()]
    elif path.suffix == ".png":
        try:
            with Image.open(path) as image:
                size = [PNG_PIXEL * side for side in image.size]
        except UnidentifiedImageError:
            size = None
    if not size:
        raise ReportError(f"{path.name} is not a PNG file or an SVG with a viewBox; save the figure again")
    return Figure(**vars(picture), src=address(path, page), width=round(size[0]), height=round(size[1]))


def webp(image: Any) -> str:
    """A PIL image as WebP in a data URI."""
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=75, method=6)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


@dataclass(frozen=True)
class Where:
    """A slice of the template's head. boxes: crops around the hippocampi, (left, top, width, height) in per cent."""

    name: str
    uri: str
    width: int
    height: int
    boxes: tuple[tuple[float, float, float, float], ...]


def places() -> list[Where]:
    """Where the hippocampus lies: a side view and a front view of the template's head."""
    from PIL import Image

    head = nibabel.load(TEMPLATE / "mni152_2mm_head.nii.gz")
    image, (low, high) = np.asarray(head.dataobj, dtype=np.float64), np.array(BOXES["left"])
    into = np.linalg.inv(head.affine)
    low, high = (into[:3, :3] @ end + into[:3, 3] for end in (low, high))
    grey = np.clip(image / np.percentile(image[image > 0], 99.5), 0, 1) * 255
    found = []
    for name, axis in (("from the side", 0), ("from the front", 1)):
        across = 1 - axis
        plane = np.take(grey, round((low[axis] + high[axis]) / 2), axis).T[::-1]
        rows, columns = plane.shape
        left, top = 100 * low[across] / columns, 100 * (rows - high[2]) / rows
        width, height = 100 * (high[across] - low[across]) / columns, 100 * (high[2] - low[2]) / rows
        # The template is symmetric, so the other side's box is the mirror image.
        lefts = (left, 100 - left - width) if across == 0 else (left,)
        boxes = tuple(tuple(round(float(one), 1) for one in (at, top, width, height)) for at in lefts)
        shown = Image.fromarray(plane.astype(np.uint8)).resize((2 * columns, 2 * rows), Image.Resampling.LANCZOS)
        found.append(Where(name, webp(shown), 2 * columns, 2 * rows, boxes))
    return found
