"""Where the data set comes from, in which order, the message when it is missing, and a safe download."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hipposeg.data import cohort, folds, locate, phantom
from hipposeg.data.spec import MSD_HIPPOCAMPUS, PHANTOM_SPEC, DataError
from hipposeg.workspace import Workspace

FOLDER = "Task04_Hippocampus"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project without data and without network, whose phantom is small."""
    monkeypatch.delenv("HIPPOSEG_DATA", raising=False)
    monkeypatch.setenv("HIPPOSEG_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("HIPPOSEG_OFFLINE", "1")
    monkeypatch.setattr(locate, "project_root", lambda: tmp_path)
    monkeypatch.setattr(locate, "PHANTOM_SUBJECTS", 1)
    return tmp_path


def standing_in(folder: Path) -> Path:
    """Write 260 cases in the real layout; `locate` does not read their contents, so one byte each is enough."""
    names = [MSD_HIPPOCAMPUS.file_name(case) for case in range(1, 261)]
    for side in ("imagesTr", "labelsTr"):
        (folder / side).mkdir(parents=True)
        for name in names:
            (folder / side / name).write_bytes(b"x")
    listing = {
        "relase": "1.0 04/05/2018",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "numTraining": 260,
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
    }
    (folder / "dataset.json").write_text(json.dumps(listing))
    return folder


def test_the_named_folder_comes_first_and_the_projects_second(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standing_in(root / "data" / FOLDER)
    named = standing_in(root / "elsewhere")
    monkeypatch.setenv("HIPPOSEG_DATA", str(named))
    source = locate.locate("standard")
    assert (source.dataset, source.folder, source.spec) == ("msd", named, MSD_HIPPOCAMPUS)
    monkeypatch.delenv("HIPPOSEG_DATA")
    assert locate.locate("standard").folder == root / "data" / FOLDER


def test_a_named_folder_that_is_not_valid_is_never_passed_over(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standing_in(root / "data" / FOLDER)
    monkeypatch.setenv("HIPPOSEG_DATA", str(root / "nowhere"))
    with pytest.raises(DataError, match=r"nowhere is not a valid.*found no such file.*unset it"):
        locate.locate("standard")
    monkeypatch.setenv("HIPPOSEG_DATA", str(root / "data"))
    with pytest.raises(DataError, match="perhaps that one is meant"):
        locate.locate("standard")
    (root / "data" / FOLDER / "labelsTr" / "hippocampus_007.nii.gz").unlink()
    monkeypatch.setenv("HIPPOSEG_DATA", str(root / "data" / FOLDER))
    with pytest.raises(DataError, match=r"hippocampus_007\.nii\.gz: found missing file"):
        locate.locate("standard")


def test_a_phantom_is_never_taken_for_the_real_data(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phantom.generate(root / "p", n_subjects=1)
    monkeypatch.setenv("HIPPOSEG_DATA", str(root / "p"))
    with pytest.raises(DataError, match="found the synthetic phantom"):
        locate.locate("standard")


def test_smoke_takes_the_phantom_even_where_the_data_is(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HIPPOSEG_DATA", str(standing_in(root / "data" / FOLDER)))
    source = locate.locate("smoke")
    assert source.dataset == "phantom" and source.spec == PHANTOM_SPEC
    assert source.folder == root / "out" / ".work" / "phantom" / "data" / FOLDER
    assert capsys.readouterr().err == ""


def test_without_data_and_network_two_lines_name_the_remedies(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = locate.locate("standard")
    assert source == locate.locate("smoke"), "one phantom for all profiles"
    first, second = capsys.readouterr().err.splitlines()
    assert "nothing below comes from patients" in first and "HIPPOSEG_OFFLINE=1" in first
    assert "HIPPOSEG_DATA" in second and "`make data`" in second
    locate.locate("standard", quiet=True)
    assert capsys.readouterr().err == ""


def test_a_phantom_of_an_older_version_goes_with_what_was_made_of_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locate, "PHANTOM_SUBJECTS", 5)
    file = Workspace(root / "out", "phantom", "smoke").folds
    before = folds.read_or_write(file, cohort.load(locate.locate("smoke")))
    locate.locate("smoke")
    assert file.exists()
    monkeypatch.setattr(phantom, "GENERATOR_VERSION", phantom.GENERATOR_VERSION + 1)
    monkeypatch.setattr(locate, "PHANTOM_SUBJECTS", 6)
    source = locate.locate("smoke")
    assert not file.exists()
    assert folds.read_or_write(file, cohort.load(source)) != before


def test_without_network_the_phantom_is_taken_and_a_download_is_made_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HIPPOSEG_OFFLINE", "0")

    def fail(folder: Path) -> None:
        raise locate.NoNetworkError("the archive cannot be reached: no route")

    monkeypatch.setattr(locate, "fetch", fail)
    assert locate.locate("standard").dataset == "phantom"
    assert "no route" in capsys.readouterr().err
    monkeypatch.setattr(locate, "fetch", standing_in)
    source = locate.locate("standard")
    assert (source.dataset, source.folder) == ("msd", root / "data" / FOLDER)
    monkeypatch.setenv("HIPPOSEG_OFFLINE", "1")
    assert locate.locate("standard") == source


def test_the_fingerprint_follows_the_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = locate.Source("msd", standing_in(root / "a"), MSD_HIPPOCAMPUS)
    before = locate.fingerprint(source)
    (source.folder / "imagesTr" / "._hippocampus_001.nii.gz").write_bytes(b"x")
    assert locate.fingerprint(source) == before
    path = source.folder / "labelsTr" / "hippocampus_100.nii.gz"
    os.utime(path, ns=(1, 1))
    touched = locate.fingerprint(source)
    path.write_bytes(b"xy")
    assert len({before, touched, locate.fingerprint(source)}) == 3


class Server(ThreadingHTTPServer):
    """Serves one file, with an error status or cut off if so set; the first requests are sent elsewhere."""

    content = b""
    cut: int | None = None
    status = 200
    elsewhere: tuple[str, ...] = ()
    daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/archive.tar"


class Handler(BaseHTTPRequestHandler):
    """Sends the server's file."""

    server: Server

    def log_message(self, *args: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        """Send the file as the server is set."""
        if self.server.elsewhere:
            first, *self.server.elsewhere = self.server.elsewhere
            self.send_response(302)
            self.send_header("Location", first)
            self.end_headers()
            return
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content[: self.server.cut])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server on a free port of the loopback interface, past any proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as running:
        running.content = tar_of({f"{FOLDER}/dataset.json": b"{}", f"{FOLDER}/imagesTr/a": bytes(1 << 20)})
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def tar_of(files: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    """An uncompressed tar of the named contents, then the extra members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in extra:
            tar.addfile(member)
    return stream.getvalue()


def fetch(server: Server, folder: Path, md5: str = "") -> None:
    locate.fetch(folder / FOLDER, server.url, md5 or hashlib.md5(server.content).hexdigest(), progress=False)


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden or not."""
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_download_leaves_only_the_folder(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path / "data")
    assert names(tmp_path / "data") == [FOLDER]
    assert names(tmp_path / "data" / FOLDER) == ["dataset.json", "imagesTr"]


def test_a_failed_transfer_is_an_error_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="download failed.*hash.*HIPPOSEG_DATA"):
        fetch(server, tmp_path, "0" * 32)
    server.cut = 300_000
    with pytest.raises(DataError, match="download failed.*same command again"):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


def test_a_server_that_refuses_or_is_closed_counts_as_no_network(server: Server, tmp_path: Path) -> None:
    server.status = 403
    with pytest.raises(locate.NoNetworkError, match="cannot be reached: 403"):
        fetch(server, tmp_path)
    server.shutdown()
    server.server_close()
    with pytest.raises(locate.NoNetworkError, match="cannot be reached: .*refused"):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


def test_a_redirect_is_followed_to_what_has_the_hash_and_to_nothing_else(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.elsewhere = (f"{server.url}?again", "/archive.tar")
    fetch(server, tmp_path / "data")
    assert names(tmp_path / "data") == [FOLDER]
    secret = tmp_path / "secret"
    secret.write_bytes(server.content)
    for elsewhere in ((secret.as_uri(),), ("ftp://127.0.0.1/archive.tar",), (server.url,) * 40):
        server.elsewhere = elsewhere
        with pytest.raises(DataError, match="download failed"):
            fetch(server, tmp_path / "other")
    server.elsewhere, other = ("http://127.0.0.1:1/archive.tar",), hashlib.md5(b"other").hexdigest()
    with pytest.raises(locate.NoNetworkError, match="cannot be reached"):
        fetch(server, tmp_path / "other")
    server.elsewhere = ("/another.tar",)
    with pytest.raises(DataError, match="download failed.*hash"):
        fetch(server, tmp_path / "other", other)
    monkeypatch.setattr(locate, "MOST_BYTES", len(server.content) - 1)
    server.elsewhere = ("/archive.tar",)
    with pytest.raises(DataError, match="it sends more than"):
        fetch(server, tmp_path / "other")
    assert names(tmp_path / "other") == []


def test_a_download_has_a_largest_size_whatever_the_server_claims(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locate, "MOST_BYTES", len(server.content) - 1)
    with pytest.raises(DataError, match="download failed .it sends more than"):
        fetch(server, tmp_path)
    assert names(tmp_path) == []
    monkeypatch.setattr(locate, "MOST_BYTES", len(server.content))
    fetch(server, tmp_path)
    assert names(tmp_path) == [FOLDER]


def test_two_downloads_at_once_make_one_whole_folder(
    root: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads have one process number, as two containers may."""
    monkeypatch.setenv("HIPPOSEG_OFFLINE", "0")
    md5, real, count = hashlib.md5(server.content).hexdigest(), locate.fetch, []

    def counted(folder: Path) -> None:
        count.append(folder)
        real(folder, server.url, md5, progress=False)

    monkeypatch.setattr(locate, "fetch", counted)
    folder = root / "data" / FOLDER
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(locate._download, [folder] * 4)) == [None] * 4
    assert count == [folder] and names(folder) == ["dataset.json", "imagesTr"]


LINK = tarfile.TarInfo(f"{FOLDER}/imagesTr")
LINK.type, LINK.linkname = tarfile.SYMTYPE, "/"
OUTSIDE = tarfile.TarInfo(f"{FOLDER}/link")
OUTSIDE.type, OUTSIDE.linkname = tarfile.LNKTYPE, "../../etc/passwd"
BAD = {
    "hard link": tar_of({}, OUTSIDE),
    "absolute": tar_of({"/tmp/evil": b"x"}),
    "compressed": gzip.compress(tar_of({f"{FOLDER}/a": bytes(1 << 22)})),
    "climbs out": tar_of({f"{FOLDER}/../../evil": b"x"}),
    "another folder": tar_of({"evil": b"x"}),
    "symbolic link": tar_of({}, LINK),
    "not a tar": b"<html>not found</html>",
    "cut off": tar_of({f"{FOLDER}/a": bytes(100_000)})[:50_000],
}


@pytest.mark.parametrize("case", BAD)
def test_unsafe_and_damaged_archives_are_refused_and_leave_nothing(server: Server, case: str, tmp_path: Path) -> None:
    server.content = BAD[case]
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="download failed"):
        fetch(server, tmp_path / "data")
    assert names(tmp_path) == ["data"] and names(tmp_path / "data") == []
