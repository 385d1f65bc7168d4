"""The download, against a server on loopback: whole, resumed after a kill, restarted, refused, and unsafe archives."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hipposeg.data import download
from hipposeg.data.spec import DataError

FOLDER = "Task04_Hippocampus"


class Server(ThreadingHTTPServer):
    """Serves one file; `ranges`, `cut` (bytes before the connection breaks) and `pause` (s a chunk) change how."""

    content = b""
    ranges = True
    cut: int | None = None
    pause = 0.0
    status: int | None = None
    requests: list[str | None]  # the Range header of every request
    daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/archive.tar"


class Handler(BaseHTTPRequestHandler):
    """GET with or without a range."""

    server: Server

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Serve the file as the server's switches say."""
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append(wanted)
        if server.status:
            self.send_error(server.status)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        if start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.cut is not None:
            body, server.cut = body[: server.cut], None
            self.wfile.write(body)
            return
        for begin in range(0, len(body), 1 << 15):
            try:
                self.wfile.write(body[begin : begin + (1 << 15)])
            except OSError:
                return
            time.sleep(server.pause)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server on a free port of the loopback interface, past any proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as running:
        running.requests = []
        running.content = tar_of({f"{FOLDER}/dataset.json": b"{}", f"{FOLDER}/imagesTr/a": os.urandom(1 << 20)})
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()


def tar_of(files: dict[str, bytes], extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
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


def archive_of(server: Server) -> download.Archive:
    """The served file with its true MD5."""
    return download.Archive(server.url, hashlib.md5(server.content).hexdigest())


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden or not."""
    return sorted(path.name for path in folder.iterdir())


def test_whole_download_leaves_only_the_folder(server: Server, tmp_path: Path) -> None:
    download.fetch(archive_of(server), tmp_path / FOLDER, progress=False)
    assert names(tmp_path) == [FOLDER]
    assert names(tmp_path / FOLDER) == ["dataset.json", "imagesTr"]
    assert server.requests == [None]


def test_a_killed_download_resumes(server: Server, tmp_path: Path) -> None:
    """A process is killed with SIGKILL in the middle; the next one asks for the rest and ends with the same bytes."""
    server.pause = 0.05
    archive = archive_of(server)
    code = (
        "import sys; from pathlib import Path; from hipposeg.data import download as d;"
        "d.fetch(d.Archive(sys.argv[1], sys.argv[2]), Path(sys.argv[3]), progress=False)"
    )
    part = tmp_path / f".{FOLDER}.tar.part"
    process = subprocess.Popen([sys.executable, "-c", code, archive.url, archive.md5, str(tmp_path / FOLDER)])
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 100_000):
        assert process.poll() is None and time.monotonic() < deadline, "the download ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / FOLDER).exists()
    size = part.stat().st_size
    assert 0 < size < len(server.content)
    server.pause = 0.0
    download.fetch(archive, tmp_path / FOLDER, progress=False)
    assert server.requests == [None, f"bytes={size}-"]
    assert names(tmp_path) == [FOLDER]


def test_a_broken_connection_is_resumed_at_once(server: Server, tmp_path: Path) -> None:
    server.cut = 300_000
    download.fetch(archive_of(server), tmp_path / FOLDER, progress=False)
    first, second = server.requests
    assert first is None and 200_000 < int(second.removeprefix("bytes=").rstrip("-")) <= 300_000
    assert names(tmp_path) == [FOLDER]


def test_a_server_without_ranges_restarts_cleanly(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / f".{FOLDER}.tar.part").write_bytes(server.content[:1000])
    download.fetch(archive_of(server), tmp_path / FOLDER, progress=False)
    assert names(tmp_path) == [FOLDER]


@pytest.mark.parametrize("length", [1000, 1 << 22])
def test_a_part_of_another_file_is_thrown_away(server: Server, tmp_path: Path, length: int) -> None:
    """Shorter or longer than the archive: the hash finds it out, and a clean restart follows."""
    (tmp_path / f".{FOLDER}.tar.part").write_bytes(bytes(length))
    download.fetch(archive_of(server), tmp_path / FOLDER, progress=False)
    assert server.requests == [f"bytes={length}-", None]
    assert names(tmp_path) == [FOLDER]


def test_a_complete_part_is_only_unpacked(server: Server, tmp_path: Path) -> None:
    (tmp_path / f".{FOLDER}.tar.part").write_bytes(server.content)
    download.fetch(archive_of(server), tmp_path / FOLDER, progress=False)
    assert names(tmp_path) == [FOLDER]


def test_a_wrong_hash_is_refused_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found MD5 \w{32}, expected 0000.*HIPPOSEG_DATA"):
        download.fetch(download.Archive(server.url, "0" * 32), tmp_path / FOLDER, progress=False)
    assert names(tmp_path) == []


def test_a_refusing_server_counts_as_no_network(server: Server, tmp_path: Path) -> None:
    server.status = 403
    with pytest.raises(download.NoNetworkError, match="answered 403"):
        download.fetch(archive_of(server), tmp_path / FOLDER, progress=False)
    assert names(tmp_path) == []


def test_a_closed_port_counts_as_no_network(server: Server, tmp_path: Path) -> None:
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(download.NoNetworkError, match="could not be reached"):
        download.fetch(download.Archive(url, "0"), tmp_path / FOLDER, progress=False)


def test_a_hanging_name_look_up_ends_in_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """getaddrinfo has no time limit of its own: it is simulated by a request that never returns."""
    import requests

    assert download.CONNECT_S < 20
    monkeypatch.setattr(download, "CONNECT_S", 0.3)
    release = threading.Event()
    monkeypatch.setattr(requests, "get", lambda *args, **kwargs: release.wait(30))
    begin = time.monotonic()
    with pytest.raises(download.NoNetworkError, match="no answer within"):
        download.fetch(download.Archive("http://example.invalid/a", "0"), tmp_path / FOLDER, progress=False)
    release.set()
    assert time.monotonic() - begin < 5


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """A link member."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


MALICIOUS = {
    "climbs out": (tar_of({f"{FOLDER}/../evil": b"x"}), "expected a path inside"),
    "absolute": (tar_of({"/evil": b"x"}), "expected a path inside"),
    "beside": (tar_of({"evil": b"x"}), "expected a path inside"),
    "symlink": (tar_of({}, (link(f"{FOLDER}/imagesTr", "/"),)), "found a link or device"),
    "hard link": (tar_of({}, (link(f"{FOLDER}/a", "../../evil", tarfile.LNKTYPE),)), "found a link or device"),
    "device": (tar_of({}, (link(f"{FOLDER}/a", "", tarfile.CHRTYPE),)), "found a link or device"),
    "not a tar": (b"<html>not found</html>", "cannot be unpacked"),
    "cut off": (tar_of({f"{FOLDER}/a": bytes(100_000)})[:50_000], "cannot be unpacked"),
    "empty": (tar_of({}), "cannot be unpacked"),
}


@pytest.mark.parametrize("case", MALICIOUS)
def test_unsafe_archives_are_refused_and_leave_nothing(case: str, tmp_path: Path) -> None:
    content, message = MALICIOUS[case]
    inner = tmp_path / "data"
    inner.mkdir()
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=message):
        download.unpack(tmp_path / "a.tar", inner / FOLDER)
    assert names(inner) == [] and names(tmp_path) == ["a.tar", "data"]


def test_apple_double_files_are_left_out(tmp_path: Path) -> None:
    files = {f"{FOLDER}/._dataset.json": b"x", f"{FOLDER}/dataset.json": b"{}", f"._{FOLDER}": b"x"}
    (tmp_path / "a.tar").write_bytes(tar_of(files))
    (tmp_path / f".{FOLDER}.unpack.1").mkdir()
    download.unpack(tmp_path / "a.tar", tmp_path / FOLDER)
    assert names(tmp_path) == [FOLDER, "a.tar"]
    assert names(tmp_path / FOLDER) == ["dataset.json"]
