"""Figures as data URIs, so that the page is one file and fetches nothing.

Pictures travel as WebP, drawings as SVG text: both far smaller than base64 of the files as they are.
"""

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from hipposeg_lab.page.artifacts import Picture, ReportError

# CSS pixels are 1/96 inch; the house style saves PNG files at 150 dots per inch, and SVG files in points (1/72 inch).
PNG_PIXEL, SVG_POINT = 96 / 150, 96 / 72
# Libraries of others, as published, with their licences; the folder's README describes them.
VENDOR = Path(__file__).parent / "vendor"
QUALITY, COLOURS = 80, 128


@dataclass(frozen=True)
class Embedded:
    """A picture ready for the template. width and height in CSS pixels keep the page from jumping while it loads."""

    slug: str
    uri: str
    width: int
    height: int
    caption: str
    alt: str

    @property
    def wide(self) -> bool:
        """Whether a phone should let the reader scroll inside the figure instead of shrinking its text away."""
        return self.width > 1.3 * self.height


def svg_size(content: bytes, name: str) -> tuple[int, int]:
    """Width and height in CSS pixels from an SVG's viewBox (matplotlib writes points)."""
    match = re.search(rb'viewBox="\s*[-\d.]+[ ,]+[-\d.]+[ ,]+([\d.]+)[ ,]+([\d.]+)', content[:4000])
    if not match:
        raise ReportError(f"{name} has no viewBox, so its shape is unknown; save the figure again")
    return round(float(match[1]) * SVG_POINT), round(float(match[2]) * SVG_POINT)


def _rounded(number: re.Match) -> str:
    """A number of a path with two decimals, both of them even if they are 0: the next one may start with its point."""
    text = re.sub(r"^(-?)0\.", r"\1.", f"{float(number[0]):.2f}")
    return f" {text}" if number[0].startswith(".") and text.startswith("1") else text  # its point parted it from others


def _placed(letter: re.Match) -> str:
    """A letter's place to a whole hundredth of the type size, by the shorter attribute."""
    return f'<use x="{float(letter[1]):.0f}" '


def svg_uri(content: bytes) -> Markup:
    """An SVG as text in a data URI that may stand in an attribute between double quotes.

    Each SVG is its own document this way, so ids of two of them cannot clash. What a browser does not need goes: the
    document type, the prefix of links, and digits beyond a hundredth of a point or of a letter's size. Double quotes
    become single ones, which need no escape here, unless an attribute has single ones already.
    """
    text = re.sub(r"^(<\?xml[^>]*>\s*)?(<!DOCTYPE[^>]*>\s*)?", "", content.decode()).replace("xlink:href", "href")
    text = re.sub(r'<use transform="translate\(([-\d.e]+)\)" ', _placed, text)
    text = re.sub(r'(?<= d=")[^"]+', lambda path: re.sub(r"-?\d*\.\d{3,}", _rounded, path[0]), text)
    if "='" not in text:
        text = text.replace("'", "&apos;").replace('"', "'")
    for sign, escaped in (("%", "%25"), ('"', "%22"), ("#", "%23"), ("&", "%26"), ("<", "%3C"), ("\n", " ")):
        text = text.replace(sign, escaped)
    return Markup(f"data:image/svg+xml,{text}")  # no sign is left that HTML would read as its own


def webp(content: bytes, name: str) -> tuple[str, tuple[int, int]]:
    """A PNG on white as WebP in a data URI, and its size in CSS pixels.

    Tissue drawn voxel by voxel is smaller with few colours without loss, a shaded surface with some loss: the smaller
    of both is taken. Raises ReportError if the file is no picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(content)).convert("RGBA")
    except UnidentifiedImageError as error:
        raise ReportError(f"{name} is not a PNG file; save the figure again") from error
    flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    few = flat.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    lossless, lossy = io.BytesIO(), io.BytesIO()
    few.save(lossless, "WEBP", lossless=True, method=4)
    flat.save(lossy, "WEBP", quality=QUALITY, method=6)
    smaller = min(lossless.getvalue(), lossy.getvalue(), key=len)
    size = (round(image.width * PNG_PIXEL), round(image.height * PNG_PIXEL))
    return f"data:image/webp;base64,{base64.b64encode(smaller).decode()}", size


def embed(picture: Picture) -> Embedded:
    """Read, measure and encode one figure. Raises ReportError on a format other than PNG and SVG."""
    path = picture.path
    if path.suffix not in (".png", ".svg"):
        raise ReportError(f"{path.name}: the page takes .png and .svg, not {path.suffix or 'no suffix'}")
    content = path.read_bytes()
    if path.suffix == ".svg":
        uri, size = svg_uri(content), svg_size(content, path.name)
    else:
        uri, size = webp(content, path.name)
    return Embedded(picture.slug, uri, *size, picture.caption, picture.alt)
