"""Fetching the published archive: resumed or restarted, checked by its hash, unpacked safely, moved into place whole.

Address and MD5 are those of MONAI's `DecathlonDataset`; the data set is described in Antonelli et al. 2022,
doi:10.1038/s41467-022-30695-9. A killed download leaves a `.part` file that the next one goes on with; the data folder
appears only when everything in it is complete.
"""

import hashlib
import logging
import os
import shutil
import tarfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hipposeg.data.spec import DataError

log = logging.getLogger(__name__)

CHUNK = 1 << 16
# The first answer must come within this many seconds in all, name look-up, proxies and redirects included.
CONNECT_S = 15.0
# A transfer that has begun may pause this long, and is resumed this many times in a row without progress.
STALL_S = 20.0
ATTEMPTS = 3


@dataclass(frozen=True)
class Archive:
    """A tar file on the web, and the MD5 of its bytes (hex)."""

    url: str
    md5: str


MSD_ARCHIVE = Archive(
    "https://msd-for-monai.s3-us-west-2.amazonaws.com/Task04_Hippocampus.tar", "9d24dba78a72977dbd1d2e110310f31b"
)


class NoNetworkError(ConnectionError):
    """The server could not be reached, or refused, before any byte of the archive came."""


def fetch(archive: Archive, folder: Path, progress: bool = True) -> None:
    """Download `archive` and unpack its top folder, which must be named as `folder` is, to `folder`.

    Raises NoNetworkError if nothing can be reached within `CONNECT_S` seconds, DataError if a transfer breaks off, the
    hash is wrong or the archive is unsafe. Only a complete, checked folder is ever moved to `folder`.
    """
    part = folder.with_name(f".{folder.name}.tar.part")
    resumed = part.exists()
    _transfer(archive.url, part, progress)
    if _md5(part) != archive.md5 and resumed:
        log.warning("%s: the resumed file has another MD5 than published; starting over", part)
        part.unlink()
        _transfer(archive.url, part, progress)
    found = _md5(part)
    if found != archive.md5:
        part.unlink()
        raise DataError(
            f"{archive.url}: found MD5 {found}, expected {archive.md5}. The file was deleted: the server, or something "
            "between, delivered another one. Try again later, or set HIPPOSEG_DATA to a copy of the data set."
        )
    unpack(part, folder)
    part.unlink()


def _transfer(url: str, part: Path, progress: bool) -> None:
    """Bring `part` to its full length, resuming after breaks as long as each attempt brings new bytes."""
    import requests

    failures, reached = 0, False
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _attempt(url, part, progress)
            return
        except NoNetworkError:
            if not reached:
                raise
            reason = "the server can no longer be reached"
        except (requests.RequestException, OSError) as error:
            reason = str(error) or type(error).__name__
        reached = True
        size = part.stat().st_size if part.exists() else 0
        failures = failures + 1 if size <= before else 0
        log.warning("download stopped at %.1f MB (%s); resuming", size / 1e6, reason)
        if failures >= ATTEMPTS:
            raise DataError(
                f"{url}: the download stopped at {size / 1e6:.1f} MB ({reason}), expected the whole archive. Run the "
                "same command again: it goes on from there. HIPPOSEG_OFFLINE=1 works without the real data."
            )
        time.sleep(0.2 * failures)


def _attempt(url: str, part: Path, progress: bool) -> None:
    """One request: appends where the server honours the range, starts over where it sends the whole file."""
    from tqdm import tqdm

    have = part.stat().st_size if part.exists() else 0
    response = _open(url, have)
    with response:
        if response.status_code == 416:
            # Nothing lies beyond what is here: complete, or not this file. The hash decides.
            return
        begin = have if _continues(response, have) else 0
        length = response.headers.get("Content-Length")
        total = begin + int(length) if length else None
        bar = tqdm(total=total, initial=begin, unit="B", unit_scale=True, desc="MSD Task04", disable=not progress)
        written = begin
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("r+b" if begin else "wb") as stream, bar:
            stream.seek(begin)
            for chunk in response.iter_content(CHUNK):
                stream.write(chunk)
                # Flushed each time, so that a killed process loses no more than the last chunk.
                stream.flush()
                written += len(chunk)
                bar.update(len(chunk))
        if total is not None and written != total:
            raise OSError(f"the connection closed after {written} of {total} bytes")


def _continues(response: Any, have: int) -> bool:
    """True if the answer is the rest of the file from byte `have`."""
    return bool(response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-"))


def _open(url: str, have: int) -> Any:
    """Send the request in a thread of its own: a hanging name look-up cannot be given a time limit otherwise."""
    import requests

    answer: dict[str, Any] = {}

    def ask() -> None:
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        try:
            answer["response"] = requests.get(url, stream=True, timeout=(CONNECT_S, STALL_S), headers=headers)
        except (requests.RequestException, OSError) as error:
            answer["error"] = error

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_S)
    if "response" not in answer:
        reason = answer.get("error") or f"no answer within {CONNECT_S:g} s"
        raise NoNetworkError(f"{url} could not be reached: {_short(reason)}")
    response = answer["response"]
    if response.status_code not in (200, 206, 416):
        response.close()
        raise NoNetworkError(f"{url} could not be reached: the server answered {response.status_code}")
    return response


def _short(reason: object) -> str:
    """The innermost cause: requests wraps it in several layers of object addresses."""
    text = str(reason)
    for marker in ("Caused by ", ">: ", "): "):
        text = text.rsplit(marker, 1)[-1]
    return text.strip("'\")( ") or type(reason).__name__


def _md5(path: Path) -> str:
    """MD5 as published beside the archive: a check of the transfer, not a defence."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar whose only top folder is named as `folder` is, then rename it into place in one step.

    Takes plain files and folders only. Raises DataError for anything else: links, devices, absolute paths, paths that
    climb out. macOS `._*` files are left out. `folder` must not exist.
    """
    for leftover in folder.parent.glob(f".{folder.name}.unpack.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.unpack.{os.getpid()}")
    try:
        with tarfile.open(archive) as tar:
            wanted = [member for member in tar if _keep(member, folder.name)]
            # The filter came with Python 3.11.4; `_keep` alone already refuses all that it would.
            safety: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            tar.extractall(temporary, members=wanted, **safety)
        (temporary / folder.name).rename(folder)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(
            f"{archive}: cannot be unpacked ({error}), expected a tar file with one folder {folder.name}. Delete the "
            "file and try again; check that the disk has 200 MB free."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _keep(member: tarfile.TarInfo, top: str) -> bool:
    """False for files to skip; DataError for members that no honest archive of this data set holds."""
    path = PurePosixPath(member.name)
    if path.name.startswith("._"):
        return False
    if path.is_absolute() or ".." in path.parts or path.parts[:1] != (top,):
        raise DataError(f"archive member {member.name!r}: expected a path inside {top}/. The archive is not trusted.")
    if not (member.isfile() or member.isdir()):
        raise DataError(f"archive member {member.name!r}: found a link or device, expected a plain file. Not unpacked.")
    return True
