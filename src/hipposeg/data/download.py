"""Download of the published archive: checked by its MD5, unpacked safely, moved into place whole.

Address and MD5 are those of MONAI's `DecathlonDataset`. Source: Antonelli et al. 2022, doi:10.1038/s41467-022-30695-9.
"""

import os
import shutil
import tarfile
from pathlib import Path

from hipposeg.data.spec import DataError

URL = "https://msd-for-monai.s3-us-west-2.amazonaws.com/Task04_Hippocampus.tar"
MD5 = "9d24dba78a72977dbd1d2e110310f31b"
# Seconds until the server must accept a connection, and the longest pause in a transfer.
TIMEOUT_S = (10.0, 20.0)


class NoNetworkError(ConnectionError):
    """The server could not be reached, or refused."""


def fetch(folder: Path, url: str = URL, md5: str = MD5, progress: bool = True) -> None:
    """Download a tar file and move its top folder, which must have the name of `folder`, to `folder`.

    Args:
        folder: where the data set will be; must not exist. It appears only when everything in it is complete.
        url: address of the archive.
        md5: MD5 of the archive, as hex.
        progress: draw a progress bar.

    Raises:
        NoNetworkError: the server cannot be reached, or refuses.
        DataError: the transfer breaks off, the MD5 differs, or the archive is damaged or unsafe.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    temporary = folder.with_name(f".{os.getpid()}.part.{folder.name}")
    loader = pooch.HTTPDownloader(progressbar=progress, timeout=TIMEOUT_S)
    try:
        temporary.mkdir(parents=True)
        archive = pooch.retrieve(url, f"md5:{md5}", "archive.tar", temporary, downloader=loader)
        with tarfile.open(archive) as tar:
            # The filter refuses paths that leave the folder, links out of it, and devices; Python 3.11.4 brought it.
            tar.extractall(temporary, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        (temporary / folder.name).rename(folder)
    except (requests.ConnectionError, requests.Timeout, requests.HTTPError) as error:
        raise NoNetworkError(f"{url} cannot be reached: {_innermost(error)}") from error
    except (requests.RequestException, tarfile.TarError, OSError, ValueError) as error:
        raise DataError(
            f"{url}: the download failed ({error}). Check that 200 MB of disk space are free and run the same "
            "command again, or set HIPPOSEG_DATA to a copy of the data set. HIPPOSEG_OFFLINE=1 takes a phantom instead."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _innermost(error: Exception) -> str:
    """The cause without the layers that requests wraps around it."""
    text = str(error)
    for marker in ("Caused by ", ">: ", "): "):
        text = text.rsplit(marker, 1)[-1]
    return text.strip("'\")( ") or type(error).__name__
