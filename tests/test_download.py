"""The download from a server on loopback: complete or not at all."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hipposeg.data import download
from hipposeg.data.spec import DataError

FOLDER = "Task04_Hippocampus"


class Server(ThreadingHTTPServer):
    """Serves one file, with an error status or cut off if so set."""

    content = b""
    cut: int | None = None
    status = 200
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
    download.fetch(folder / FOLDER, server.url, md5 or hashlib.md5(server.content).hexdigest(), progress=False)


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden or not."""
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_download_leaves_only_the_folder(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path / "data")
    assert names(tmp_path / "data") == [FOLDER]
    assert names(tmp_path / "data" / FOLDER) == ["dataset.json", "imagesTr"]


def test_a_wrong_hash_is_refused_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="download failed.*hash.*HIPPOSEG_DATA"):
        fetch(server, tmp_path, "0" * 32)
    assert names(tmp_path) == []


def test_a_broken_connection_is_an_error_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.cut = 300_000
    with pytest.raises(DataError, match="download failed.*same command again"):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


def test_a_refusing_server_counts_as_no_network(server: Server, tmp_path: Path) -> None:
    server.status = 403
    with pytest.raises(download.NoNetworkError, match="cannot be reached: 403"):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


def test_a_closed_port_counts_as_no_network(server: Server, tmp_path: Path) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(download.NoNetworkError, match="cannot be reached: .*refused"):
        fetch(server, tmp_path)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """A link member."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


BAD = {
    "climbs out": tar_of({f"{FOLDER}/../../evil": b"x"}),
    "another folder": tar_of({"evil": b"x"}),
    "symbolic link": tar_of({}, link(f"{FOLDER}/imagesTr", "/")),
    "hard link": tar_of({}, link(f"{FOLDER}/a", "../../evil", tarfile.LNKTYPE)),
    "device": tar_of({}, link(f"{FOLDER}/a", "", tarfile.CHRTYPE)),
    "not a tar": b"<html>not found</html>",
    "cut off": tar_of({f"{FOLDER}/a": bytes(100_000)})[:50_000],
    "empty": tar_of({}),
}


@pytest.mark.parametrize("case", BAD)
def test_unsafe_and_damaged_archives_are_refused_and_leave_nothing(server: Server, case: str, tmp_path: Path) -> None:
    server.content = BAD[case]
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="download failed"):
        fetch(server, tmp_path / "data")
    assert names(tmp_path) == ["data"] and names(tmp_path / "data") == []
