"""Figures as data URIs, so that the page is one file and asks nobody for anything.

Pictures travel as WebP, drawings as plain SVG text: both far smaller than base64 of the files as they are, and shown
without script.
"""

import base64
import io
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from hipposeg_lab.page.artifacts import Picture, ReportError

# CSS pixels are 1/96 inch; the house style saves PNG files at 150 dots per inch, and SVG files in points (1/72 inch).
PNG_PIXEL, SVG_POINT = 96 / 150, 96 / 72
# Libraries of others, as published, with their licences; what they are is told in the folder's README.
VENDOR = Path(__file__).parent / "vendor"
MIME = {".png": "image/webp", ".svg": "image/svg+xml"}
QUALITY, COLOURS = 80, 128
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


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


def png_size(content: bytes, name: str) -> tuple[int, int]:
    """Width and height in CSS pixels from a PNG's header."""
    if content[:8] != PNG_SIGNATURE or len(content) < 24:
        raise ReportError(f"{name} is not a PNG file; save the figure again")
    width, height = struct.unpack(">II", content[16:24])
    return round(width * PNG_PIXEL), round(height * PNG_PIXEL)


def svg_size(content: bytes, name: str) -> tuple[int, int]:
    """Width and height in CSS pixels from an SVG's viewBox (matplotlib writes points)."""
    match = re.search(rb'viewBox="\s*[-\d.]+[ ,]+[-\d.]+[ ,]+([\d.]+)[ ,]+([\d.]+)', content[:4000])
    if not match:
        raise ReportError(f"{name} has no viewBox, so its shape is unknown; save the figure again")
    return round(float(match[1]) * SVG_POINT), round(float(match[2]) * SVG_POINT)


def data_uri_of(mime: str, content: bytes) -> str:
    """`data:<type>;base64,...`."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def _rounded(number: re.Match) -> str:
    """A number of a path with two decimals, both of them even if they are 0: the next one may start with its point."""
    text = re.sub(r"^(-?)0\.", r"\1.", f"{float(number[0]):.2f}")
    return f" {text}" if number[0].startswith(".") and text.startswith("1") else text  # its point parted it from others


def _placed(letter: re.Match) -> str:
    """A letter's place, in hundredths of the type size, to a whole one by the shorter attribute: nobody sees it."""
    return f'<use x="{float(letter[1]):.0f}" '


def svg_uri(content: bytes) -> Markup:
    """An SVG as text in a data URI that may stand in an attribute between double quotes.

    Each SVG is its own document this way, so ids of two of them cannot clash. What a browser does not ask for goes: the
    document type, and the prefix of links; letters are placed to a hundredth of their size, and outlines rounded to a
    hundredth of a point. Double quotes become single ones, which need no escape here, unless an attribute has single
    ones already.
    """
    text = re.sub(r"^(<\?xml[^>]*>\s*)?(<!DOCTYPE[^>]*>\s*)?", "", content.decode()).replace("xlink:href", "href")
    text = re.sub(r'<use transform="translate\(([-\d.e]+)\)" ', _placed, text)
    text = re.sub(r'(?<= d=")[^"]+', lambda path: re.sub(r"-?\d*\.\d{3,}", _rounded, path[0]), text)
    if "='" not in text:
        text = text.replace("'", "&apos;").replace('"', "'")
    for sign, escaped in (("%", "%25"), ('"', "%22"), ("#", "%23"), ("&", "%26"), ("<", "%3C"), ("\n", " ")):
        text = text.replace(sign, escaped)
    return Markup(f"data:{MIME['.svg']},{text}")  # no sign is left that HTML would read as its own


def webp(content: bytes) -> bytes:
    """A PNG on white as WebP: few colours without loss, or all of them with some, whichever is smaller.

    Tissue drawn voxel by voxel is smaller without loss, a shaded surface with.
    """
    from PIL import Image

    image = Image.open(io.BytesIO(content)).convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    few = flat.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    lossless, lossy = io.BytesIO(), io.BytesIO()
    few.save(lossless, "WEBP", lossless=True, method=4)
    flat.save(lossy, "WEBP", quality=QUALITY, method=6)
    return min(lossless.getvalue(), lossy.getvalue(), key=len)


def embed(picture: Picture) -> Embedded:
    """Read, measure and encode one figure. Raises ReportError on a format other than PNG and SVG."""
    path = picture.path
    if path.suffix not in MIME:
        raise ReportError(f"{path.name}: the page takes {' and '.join(MIME)}, not {path.suffix or 'no suffix'}")
    content = path.read_bytes()
    if path.suffix == ".svg":
        size = svg_size(content, path.name)
        uri = svg_uri(content)
    else:
        size = png_size(content, path.name)
        uri = data_uri_of(MIME[path.suffix], webp(content))
    return Embedded(picture.slug, uri, *size, picture.caption, picture.alt)
