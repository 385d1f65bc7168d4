"""Writing files so that a killed process or a full disk never leaves half of one behind."""

import csv
import gzip
import hashlib
import io
import json
import math
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` on success, delete it on failure.

    The temporary file is hidden, and has the suffix of `path`, by which nibabel and matplotlib choose a format.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_parts(*folders: Path) -> None:
    """Delete what `replacing` left below `folders` an hour ago or earlier, when its process was killed."""
    for path in [path for folder in folders for path in folder.rglob(".*.part.*")]:
        if path.exists() and time.time() - path.stat().st_mtime > 3600:
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8 with `\\n` line ends."""
    write_bytes(path, text.encode())


def plain(value: Any) -> Any:
    """Convert numpy scalars and arrays, paths and tuples to JSON's types; NaN and infinities become None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return value.as_posix()
    return value


def to_json(value: Any) -> str:
    """Serialise with sorted keys, so that equal values give equal bytes."""
    return json.dumps(plain(value), indent=1, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` atomically as sorted JSON."""
    write_text(path, to_json(value))


def read_json(path: Path) -> Any:
    """Read one JSON file."""
    return json.loads(path.read_text())


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write these columns of dictionaries as CSV atomically, compressed if the name ends in .gz.

    Floats keep at most six decimals; NaN and None become empty fields.
    """

    def field(value: Any) -> Any:
        value = plain(value)
        if value is None:
            return ""
        if not isinstance(value, float):
            return value
        return f"{round(value, 6) + 0.0:.6f}".rstrip("0").rstrip(".")  # adding 0 turns -0 into 0

    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([field(row.get(column)) for column in columns] for row in rows)
    content = stream.getvalue().encode()
    write_bytes(path, gzip.compress(content, 9, mtime=0) if path.suffix == ".gz" else content)


def sha256_bytes(*parts: bytes) -> str:
    """SHA-256 of the concatenated parts, as hex."""
    return hashlib.sha256(b"".join(parts)).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    return sha256_bytes(path.read_bytes())


def smaller_png(content: bytes) -> bytes:
    """Reduce a PNG to a palette of 256 colours on white; return the PNG itself if it is smaller."""
    from PIL import Image

    image = Image.open(io.BytesIO(content)).convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    # Maximum coverage keeps the label colours where most of a picture is grey; the default greys them.
    reduced = flat.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    reduced.save(stream, "PNG", optimize=True)
    return min(content, stream.getvalue(), key=len)


def smaller_svg(content: bytes) -> bytes:
    """Remove comments, metadata, long names and digits beyond the fifth from an SVG (scour)."""
    from scour import scour

    options = scour.sanitizeOptions()
    for name in ("remove_metadata", "strip_comments", "strip_ids", "shorten_ids", "strip_xml_prolog", "group_create"):
        setattr(options, name, True)
    options.digits, options.indent_type, options.newlines, options.quiet = 5, "none", False, True
    return scour.scourString(content.decode(), options).strip().encode() + b"\n"
