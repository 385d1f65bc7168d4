"""Find the data set: a named folder, the project's folder, a download, or at last the phantom.

Imports neither torch nor nibabel: make calls it before every target, so it must return in a fraction of a second.
"""

import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from hipposeg.data.spec import MSD_HIPPOCAMPUS, PHANTOM_SPEC, DataError, DatasetSpec
from hipposeg.files import DamagedError, read_json, sha256_bytes
from hipposeg.workspace import PROFILES, Workspace, output_root, project_root

FOLDER = "Task04_Hippocampus"
# As in MONAI's `DecathlonDataset`. Source: Antonelli et al. 2022, doi:10.1038/s41467-022-30695-9.
URL = "https://msd-for-monai.s3-us-west-2.amazonaws.com/Task04_Hippocampus.tar"
MD5 = "9d24dba78a72977dbd1d2e110310f31b"
# Seconds until the server must accept a connection, and the longest pause in a transfer.
TIMEOUT_S = (10.0, 20.0)
MOST_BYTES = 200_000_000  # of a download; the archive has 27 MB
PHANTOM_SUBJECTS = 13
PHANTOM_SEED = 20180405


class NoNetworkError(ConnectionError):
    """The server could not be reached, or refused."""


@dataclass(frozen=True)
class Source:
    """A data set that was found: "msd" or "phantom", its folder and its description."""

    dataset: str
    folder: Path
    spec: DatasetSpec


def locate(profile: str, quiet: bool = False) -> Source:
    """Find the data set for a profile, downloading or generating it where need be.

    The profile smoke always takes the phantom. The others take the first of: the folder named by HIPPOSEG_DATA, the
    project's data folder, a download (unless HIPPOSEG_OFFLINE=1), and the phantom, with a warning on stderr (unless
    `quiet`).

    Raises:
        DataError: HIPPOSEG_DATA or the project's data folder is not a valid data set, or a download broke off.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile is {profile!r}; choose one of {', '.join(PROFILES)}")
    if profile == "smoke":
        return _phantom()
    named = os.environ.get("HIPPOSEG_DATA")
    if named:
        return _valid(Path(named).expanduser().resolve(), "Set HIPPOSEG_DATA to a complete copy of it, or unset it.")
    folder = project_root() / "data" / FOLDER
    reason = None if folder.exists() else _download(folder)
    if reason is None:
        return _valid(folder, "Delete that folder; it is then downloaded again.")
    if not quiet:
        sys.stderr.write(
            f"PHANTOM DATA: nothing below comes from patients. The real data set is missing ({reason}).\n"
            f"Set HIPPOSEG_DATA to the folder {FOLDER}, or connect to the network and run `make data`.\n"
        )
    return _phantom()


def case_numbers(folder: Path, spec: DatasetSpec) -> list[int]:
    """Check the layout of a data set and return the numbers of its labelled cases, sorted.

    Names beginning with a dot (macOS `._*`) are skipped.

    Raises:
        DataError: dataset.json disagrees with the description, or imagesTr and labelsTr with dataset.json.
    """
    if spec.entries:
        return list(range(1, len(spec.entries) + 1))
    listing = read_listing(folder)
    _check_listing(folder, listing, spec)
    sides = {
        side: {listed_file(folder, entry, side).rsplit("/", 1)[-1] for entry in listing["training"]}
        for side in ("image", "label")
    }
    for side in sides:
        sides[side] = {name for name in sides[side] if not name.startswith(".")}
        inside = folder / f"{side}sTr"
        found = {path.name for path in inside.iterdir() if not path.name.startswith(".")} if inside.is_dir() else set()
        _compare(inside, found, sides[side])
    _compare(folder / "labelsTr", sides["label"], sides["image"])
    try:
        numbers = sorted(spec.case_number(name) for name in sides["image"])
    except ValueError as error:
        raise DataError(f"{folder / 'imagesTr'}: found {error}. Rename or remove that file.") from error
    if len(numbers) != (spec.n_cases or len(numbers)) or not numbers:
        wanted = spec.n_cases or "at least one"
        raise DataError(f"{folder}: found {len(numbers)} labelled cases, expected {wanted}. Fetch the data set again.")
    return numbers


def fingerprint(source: Source) -> str:
    """SHA-256 over names, sizes and modification times: changes when a file does, without reading the volumes."""
    files = [source.folder / "dataset.json", *source.folder.glob("imagesTr/*"), *source.folder.glob("labelsTr/*")]
    lines = []
    for path in sorted(path for path in files if not path.name.startswith(".")):
        status = path.stat()
        lines.append(f"{path.relative_to(source.folder).as_posix()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return sha256_bytes(source.dataset.encode(), *lines)


def _valid(folder: Path, advice: str) -> Source:
    try:
        if "phantom" in read_listing(folder):
            raise DataError(f"{folder / 'dataset.json'}: found the synthetic phantom, expected the real data set.")
        case_numbers(folder, MSD_HIPPOCAMPUS)
    except DataError as error:
        nested = folder / FOLDER
        hint = f" There is a folder {nested}: perhaps that one is meant." if nested.is_dir() else ""
        raise DataError(f"{folder} is not a valid {FOLDER}. {error} {advice}{hint}") from error
    return Source("msd", folder, MSD_HIPPOCAMPUS)


def read_listing(folder: Path, training: bool = True) -> dict[str, Any]:
    """dataset.json of a folder, with a list `training` unless the layout has none. Raises DataError."""
    path = folder / "dataset.json"
    if not path.is_file():
        raise DataError(f"{path}: found no such file, expected MSD's description of the data set.")
    try:
        listing = read_json(path)
    except DamagedError as error:
        raise DataError(
            f"{path}: found a file that is not JSON ({error.__cause__}), expected JSON. Fetch it again."
        ) from error
    if not isinstance(listing, dict):
        raise DataError(f"{path}: found {json.dumps(listing)[:40]}, expected a JSON object. Fetch the file again.")
    if training and not isinstance(listing.get("training"), list):
        raise DataError(f"{path}: found no list `training`, expected image and label files. Fetch it again.")
    return listing


def listed_file(folder: Path, entry: Any, side: str) -> str:
    """The file of one side ("image" or "label") in an entry of the list `training`, with forward slashes."""
    found = entry.get(side) if isinstance(entry, dict) else None
    if not isinstance(found, str):
        raise DataError(
            f"{folder / 'dataset.json'}: found the entry {json.dumps(entry)[:80]} in `training`, expected an object "
            f'with "image" and "label". Correct the entry, or fetch the file again.'
        )
    return found.replace("\\", "/")


def mapping_of(folder: Path, listing: dict[str, Any], *names: str) -> dict[str, Any]:
    """The first field of these names that dataset.json holds, a JSON object. Raises DataError for anything else."""
    name = next((name for name in names if name in listing), names[0])
    found = listing.get(name, {})
    if not isinstance(found, dict):
        raise DataError(
            f"{folder / 'dataset.json'}: found `{name}` {json.dumps(found)[:80]}, expected an object, such as "
            '{"0": "background", "1": "left"} for labels or {"0": "T1"} for channels. Correct that field.'
        )
    return found


def _check_listing(folder: Path, listing: dict[str, Any], spec: DatasetSpec) -> None:
    labels = {str(key): str(value).lower() for key, value in mapping_of(folder, listing, "labels").items()}
    wanted = {"0": "background", **{str(label.value): label.name.lower() for label in spec.labels}}
    channels = len(mapping_of(folder, listing, "modality"))
    for what, found, expected, advice in (
        ("labels", labels, wanted, "This is another data set: `hipposeg train --data` takes it."),
        ("channels", channels, len(spec.channels), "This is another data set: `hipposeg train --data` takes it."),
        ("numTraining", listing.get("numTraining"), len(listing["training"]), "Fetch it again."),
    ):
        if found != expected:
            raise DataError(f"{folder / 'dataset.json'}: found {what} {found}, expected {expected}. {advice}")


def _compare(folder: Path, found: set[str], wanted: set[str]) -> None:
    for kind, names, advice in (
        ("missing", sorted(wanted - found), "Fetch the data set again."),
        ("extra", sorted(found - wanted), "Remove it, or list it in dataset.json."),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise DataError(
                f"{folder / names[0]}: found {kind} file{more}, expected exactly the {len(wanted)} files that "
                f"dataset.json lists. {advice}"
            )


def _download(folder: Path) -> str | None:
    """Download the data set to `folder`. Returns None, or the reason why the network failed."""
    if os.environ.get("HIPPOSEG_OFFLINE") == "1":
        return "HIPPOSEG_OFFLINE=1"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.exists():  # another process may have fetched it meanwhile
                fetch(folder)
    except NoNetworkError as error:
        return str(error)
    return None


def fetch(folder: Path, url: str = URL, md5: str = MD5, progress: bool = True) -> None:
    """Download a tar file and move its top folder, which must have the name of `folder`, to `folder`.

    The folder must not exist; it appears only when everything in it is complete.

    Raises:
        NoNetworkError: the server cannot be reached, or refuses.
        DataError: the transfer breaks off, the MD5 differs, or the archive is damaged or unsafe.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    loader = pooch.HTTPDownloader(progressbar=progress, timeout=TIMEOUT_S, hooks={"response": _limited})
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Process numbers repeat in containers, so two of them may share this folder's disk and a number.
        temporary = Path(tempfile.mkdtemp(prefix=f".{os.getpid()}.part.", dir=folder.parent))
        archive = pooch.retrieve(url, f"md5:{md5}", "archive.tar", temporary, downloader=loader)
        with tarfile.open(archive, "r:") as tar:  # not compressed, so it cannot hold more than its own size
            # The filter refuses paths that leave the folder, links out of it, and devices; Python 3.11.4 brought it.
            tar.extractall(temporary, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        (temporary / folder.name).rename(folder)
    except (requests.ConnectionError, requests.Timeout, requests.HTTPError) as error:
        cause = re.split(r"Caused by |>: |\): ", str(error))[-1].strip("'\")( ")  # without the layers of requests
        raise NoNetworkError(f"{url} cannot be reached: {cause}") from error
    except (requests.RequestException, tarfile.TarError, OSError, ValueError) as error:
        raise DataError(
            f"{url}: the download failed ({error}). Check that 200 MB of disk space are free and run the same "
            "command again, or set HIPPOSEG_DATA to a copy of the data set. HIPPOSEG_OFFLINE=1 takes a phantom instead."
        ) from error
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)


def _limited(response: Any, *_: Any, **__: Any) -> None:
    """Let a response of requests end with a ValueError beyond MOST_BYTES, whatever it claims its length to be."""
    chunks = response.iter_content

    def counted(*sizes: Any, **options: Any) -> Iterator[bytes]:
        total = 0
        for chunk in chunks(*sizes, **options):
            total += len(chunk)
            if total > MOST_BYTES:
                raise ValueError(f"it sends more than {MOST_BYTES // 1_000_000} MB")
            yield chunk

    response.iter_content = counted


def _phantom() -> Source:
    """The phantom, generated if it is missing or of other parameters; what came of an older one is deleted."""
    from hipposeg.data import phantom

    ws = Workspace(output_root(), "phantom", "smoke")
    folder = ws.work / "data" / FOLDER
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not phantom.is_current(folder, PHANTOM_SPEC, PHANTOM_SUBJECTS, PHANTOM_SEED):
            for outdated in (ws.artifacts, folder):
                shutil.rmtree(outdated, ignore_errors=True)
            phantom.generate(folder, PHANTOM_SPEC, PHANTOM_SUBJECTS, PHANTOM_SEED)
    return Source("phantom", folder, PHANTOM_SPEC)
