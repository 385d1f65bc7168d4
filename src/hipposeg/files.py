"""Writing files so that a killed process or a full disk never leaves half of one behind."""

import csv
import gzip
import hashlib
import io
import json
import logging
import math
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

# How a cell begins that a spreadsheet takes for a formula, and may run.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class DamagedError(ValueError):
    """A file that is not what it should be. The message names it, its cause is what a reader found."""


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever readers raise on a damaged file into a DamagedError; kind: what the file should be."""
    try:
        yield
    except (
        ValueError, EOFError, RecursionError, csv.Error, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile
    ) as error:  # fmt: skip
        found = str(error) or type(error).__name__
        raise DamagedError(
            f"{path}: found a damaged file ({found}), expected {kind}. Restore it with git, or delete it and run the "
            "command again that writes it."
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` on success, delete it on failure.

    The temporary file is hidden, and has the suffix of `path`, by which nibabel and matplotlib choose a format. An
    error of the disk that names no file is given the name of `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.part.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
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


def write_cached(path: Path, content: bytes | memoryview) -> None:
    """Write a cached file atomically: the SHA-256 of its content in the first line, then the content."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(hashlib.sha256(content).hexdigest().encode() + b"\n")
        stream.write(content)


def read_cached(path: Path, digest: str | None = None) -> bytes | None:
    """The content of a cached file; None if there is none, or if it is not as it was written, which is logged.

    Formats do not protect their content: torch reads a damaged checkpoint, numpy a damaged array.

    digest: SHA-256 of the file, if another file keeps it; by default it stands in the file (`write_cached`).
    """
    if not path.is_file():
        return None
    content = path.read_bytes()
    if digest is None:
        first, end, content = content.partition(b"\n")
        digest = first.decode(errors="replace") if end else "none"
    if sha256_bytes(content) == digest:
        return content
    log.warning("%s is damaged (its content is not what was written) and counts as missing", path)
    return None


def cached_arrays(paths: Sequence[Path], make: Callable[[], Sequence[Any]]) -> tuple[Any, ...]:
    """Arrays in .npy files, whose voxels are read when they are needed.

    make: computes them, if one of the files is missing or is not as it was written; then all are written. Each file has
    its SHA-256 in another beside it.
    """
    import numpy as np

    beside = {path: path.with_name(f"{path.name}.sha256") for path in paths}
    digests = {path: one.read_text(errors="replace") if one.is_file() else "none" for path, one in beside.items()}
    if any(read_cached(path, digests[path]) is None for path in paths):
        for path, array in zip(paths, make(), strict=True):
            with replacing(path) as temporary:
                np.save(temporary, array)
            write_text(beside[path], sha256_file(path))
    return tuple(np.load(path, mmap_mode="r") for path in paths)


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
    """Read one JSON file. Raises DamagedError."""
    with reading(path, "JSON"):
        return json.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a byte order mark


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


def gunzip(content: bytes, most: int, wbits: int = 31) -> bytes:
    """Unpack gzip, and stop beyond `most` bytes of the result. Raises ValueError, EOFError or zlib.error.

    wbits: kind of compressed data, as of zlib.decompressobj; by default gzip alone.
    """
    parts, size = [], 0
    while content:
        stream = zlib.decompressobj(wbits)
        parts.append(stream.decompress(content, most - size + 1))
        size += len(parts[-1])
        if size > most:
            raise ValueError(f"it unpacks to more than {most} bytes")
        if not stream.eof:
            raise EOFError("the compressed data end too early")
        content = stream.unused_data.lstrip(b"\0")  # zeros may fill up a block of a tape
    return parts[0] if len(parts) == 1 else b"".join(parts)


def printable(text: str) -> str:
    """A text without what moves a terminal's cursor, clears it or reorders letters; line ends stay."""
    return "".join(one if one == "\n" or one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def as_utf8(text: str) -> str:
    """A text without what UTF-8 cannot store: bytes of a file name in another encoding become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def as_cell(text: str) -> str:
    """A text that is one line, steers no terminal and is no formula to a spreadsheet."""
    text = printable(as_utf8(text)).replace("\n", " ")
    return "'" * text.startswith(FORMULA) + text


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
