"""`hipposeg serve`: a web page on this machine that takes a scan, one at a time, and shows its volumes and its QC page.

Only this machine can reach it. Requests that name another host or come from another page are refused, so no web site
can use it through the browser (DNS rebinding, cross-site requests).
"""

import os
import re
import shutil
import socket
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from hipposeg.predict import output
from hipposeg.predict.ensemble import Ensemble, load_ensemble

HOST = "127.0.0.1"
MOST_BYTES = 1 << 30  # of an upload, and of what a ZIP file holds
PAGE = """<p>Both hippocampi in a T1-weighted scan of a whole head: NIfTI, MGZ, NRRD, MetaImage, or a DICOM folder as a
ZIP file. The scan stays on this machine. KEPT Not a medical device.</p>
<form><input type="file" required aria-label="Scan"> <button>Segment</button></form>
<p role="status" class="status"></p><ul></ul><p><a href="files/volumes.csv">volumes.csv</a></p>
<script>
const [form, line, list] = ["form", "[role=status]", "ul"].map(one => document.querySelector(one));
const link = name => Object.assign(document.createElement("a"), {href: "files/" + encodeURIComponent(name),
  textContent: name, target: name.endsWith(".html") ? "_blank" : ""});
async function show() {
  const {busy, scans} = await (await fetch("state")).json();
  line.textContent = busy ? busy + " …" : "";
  form.querySelector("button").disabled = Boolean(busy);
  list.replaceChildren(...scans.map(one => {
    const item = document.createElement("li");
    item.append(`${one.scan}: ${one.status}. ${one.reasons} `, ...one.files.flatMap(name => [link(name), " "]));
    return item;
  }));
  if (busy) setTimeout(show, 1000);
}
form.addEventListener("submit", async event => {
  event.preventDefault();
  line.textContent = "uploading …";
  const file = form.querySelector("input").files[0];
  const answer = await fetch("scans?name=" + encodeURIComponent(file.name), {method: "POST", body: file});
  if (answer.ok) show(); else line.textContent = await answer.text();
});
show();
</script>"""


class Desk:
    """The scans of one session. Uploads are removed as soon as they are segmented."""

    def __init__(self, folder: Path, results: Path, ensemble: Ensemble) -> None:
        self.folder, self.results, self.ensemble = folder, output.Folder(results, ()), ensemble
        self.busy = ""  # the stage of the scan in progress
        self.scans, self.count = [], 0  # those that ended, the latest first, and how many began

    async def take(self, request: web.Request) -> web.Response:
        """Receive a scan, and start to segment it."""
        if self.busy:
            raise web.HTTPConflict(text="Another scan is being segmented. Try again when it has ended.")
        self.busy, self.count = "receiving the scan", self.count + 1
        name = re.sub(r"[^\w.-]", "_", request.query.get("name", "")).lstrip(".")[-100:] or "scan"
        folder = self.folder / f"{self.count:04d}"
        folder.mkdir(parents=True)
        try:
            with (folder / name).open("wb") as stream:
                async for chunk in request.content.iter_chunked(1 << 20):
                    if stream.tell() + len(chunk) > MOST_BYTES:
                        raise ValueError(f"{name}: found more than {MOST_BYTES >> 20} MiB, expected one scan.")
                    stream.write(chunk)
            threading.Thread(target=self._segment, args=(unpacked(folder / name), name), daemon=True).start()
        except BaseException as error:  # also of a browser that goes away
            self.busy = ""
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, (ValueError, OSError)):
                raise web.HTTPBadRequest(text=str(error)) from error
            raise
        return web.Response(status=202)

    def _segment(self, path: Path, name: str) -> None:
        def say(text: str) -> None:
            self.busy = text

        try:
            status, why, _ = output.one(path, self.results, self.ensemble, say=say)
            files = [one.name for one in self.results.files(path) if one.is_file()]
            why = why.replace(f"{path.parent}{os.sep}", "")
            self.scans.insert(0, {"scan": name, "status": status, "reasons": why, "files": files})
        finally:  # whatever happened, the next scan is taken
            shutil.rmtree(self.folder, ignore_errors=True)
            self.busy = ""

    async def state(self, request: web.Request) -> web.Response:
        """What is in progress, and what has ended."""
        return web.json_response({"busy": self.busy, "scans": self.scans})

    async def file(self, request: web.Request) -> web.FileResponse:
        """The table, or a file of a scan of this session."""
        name = request.match_info["name"]
        if name not in {output.TABLE, *(file for one in self.scans for file in one["files"])}:
            raise web.HTTPNotFound(text="There is no such file.")
        return web.FileResponse(self.results.path / name)


def unpacked(path: Path) -> Path:
    """What a ZIP file holds, a folder or a single file, under numbers for names; another file itself."""
    if not zipfile.is_zipfile(path):
        return path
    folder = path.parent / f"{path.stem}_files"
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            if sum(one.file_size for one in members) > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES >> 20} MiB in it")
            folder.mkdir()
            for number, one in enumerate(members):
                (folder / f"{number:05d}").write_bytes(archive.read(one))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError) as error:
        raise ValueError(f"{path.name}: found {error}, expected a ZIP file of one scan.") from error
    return folder / "00000" if len(members) == 1 else folder


@web.middleware
async def only_here(request: web.Request, handler: Any) -> web.StreamResponse:
    """Refuse what another web page may have sent."""
    origin, host = request.headers.get("Origin"), request.host
    if urlsplit(f"//{host}").hostname not in (HOST, "localhost") or (origin and urlsplit(origin).netloc != host):
        raise web.HTTPForbidden(text="Open the page under the address that `hipposeg serve` prints.")
    return await handler(request)


def application(desk: Desk, kept: str) -> web.Application:
    """All pages; kept: what happens to the results, in a sentence."""

    async def start(request: web.Request) -> web.Response:
        page = output.html_page("Segment a scan", PAGE.replace("KEPT", kept))
        return web.Response(text=page, content_type="text/html")

    app, found = web.Application(middlewares=[only_here]), web.get("/files/{name}", desk.file)
    app.add_routes([web.get("/", start), web.get("/state", desk.state), web.post("/scans", desk.take), found])
    return app


def run(port: int, folder: Path | None = None, weights: Path | None = None) -> int:
    """Serve until Ctrl-C, as `hipposeg serve --help` says. Raises OSError or ValueError if port or folder fail."""
    os.environ["MPLBACKEND"] = "Agg"
    with socket.socket() as door, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((HOST, port))
            door.listen()  # before the address is printed
        except OSError as error:
            raise ValueError(f"--port {port}: found {error.strerror}, expected a free port. Use 0 for any.") from error
        desk = Desk(Path(work) / "scans", folder or Path(work) / "results", load_ensemble(weights))
        kept = f"Results are kept in {desk.results.path}." if folder else "Results are removed when the program ends."
        address = f"http://{HOST}:{door.getsockname()[1]}"
        output.print_safely(f"Open {address} in a browser; Ctrl-C ends it. {kept}")
        web.run_app(application(desk, kept), sock=door, print=None, access_log=None)
    return 0
