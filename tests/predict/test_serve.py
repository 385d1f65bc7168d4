"""The web page: a scan goes in, volumes, QC page and files come out; other sites and second scans are refused."""

import asyncio
import io
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
import zipfile

import pytest
from aiohttp.test_utils import TestClient, TestServer

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.predict import serve
from hipposeg.predict.ensemble import load_ensemble


def session(desk, steps):
    """Run an async function with a client of the page."""

    async def run():
        async with TestClient(TestServer(serve.application(desk, "Kept."))) as client:
            await steps(client)

    asyncio.run(run())


async def ended(client):
    while True:
        state = await (await client.get("/state")).json()
        if not state["busy"]:
            return state["scans"]
        await asyncio.sleep(0.05)


@pytest.fixture
def desk(served, tmp_path):
    return serve.Desk(tmp_path / "scans", tmp_path / "results", load_ensemble(served.folder))


def test_an_upload_gives_volumes_a_page_and_files(desk, served):
    async def steps(client):
        page = await (await client.get("/")).text()
        assert "Kept." in page and "http" not in page.replace("https://", "")
        crop = served.image(1).read_bytes()
        assert (await client.post("/scans", params={"name": "../my scan.nii.gz"}, data=crop)).status == 202
        again = await client.post("/scans", params={"name": "b.nii"}, data=crop)
        assert again.status == 409 and "Another scan" in await again.text()
        (scan,) = await ended(client)
        assert scan["status"] in ("ok", "check") and scan["scan"] == "_my_scan.nii.gz"
        assert scan["files"] == [f"_my_scan{end}" for end in ("_dseg.nii.gz", "_dseg.tsv", "_volumes.json", "_qc.html")]
        assert "data:image/png" in await (await client.get("/files/_my_scan_qc.html")).text()
        assert scan["status"] in await (await client.get("/files/volumes.csv")).text()
        assert not list(desk.folder.rglob("*.nii.gz")), "uploads are removed"

        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as stream:
            stream.writestr("../../evil.nii.gz", crop)
        await client.post("/scans", params={"name": "zipped.zip"}, data=archive.getvalue())
        assert (await ended(client))[0]["status"] == scan["status"]
        await client.post("/scans", params={"name": "notes.txt"}, data=b"no scan")
        (last, *_) = await ended(client)
        assert last["status"] == "refused" and "another kind of file" in last["reasons"]
        assert desk.count == 3
        assert str(desk.folder) not in last["reasons"]

    session(desk, steps)


def test_what_is_refused(desk, monkeypatch, tmp_path):
    async def steps(client):
        async def refused(status, words, data=b"x", **more):
            answer = await client.post("/scans", params={"name": "a.zip"}, data=data, **more)
            assert answer.status == status and words in await answer.text()

        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            await refused(403, "address that `hipposeg serve` prints", headers=headers)
        assert (await client.get("/files/..%2Fcard.json")).status == 404
        assert serve.MOST_BYTES == 2**30, "as SECURITY.md promises"
        monkeypatch.setattr(serve, "MOST_BYTES", 1 << 20)
        await refused(400, "found more than 1 MiB", data=bytes((1 << 20) + 1))
        assert (await client.post("/scans", params={"name": "a.txt"}, data=bytes(1 << 20))).status == 202
        assert "another kind of file" in (await ended(client)).pop()["reasons"]
        desk.scans.clear()
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
            stream.writestr("bomb", bytes(2 << 20))
        await refused(400, "more than 1 MiB in it", data=archive.getvalue())
        path = tmp_path / "full.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stream:
            stream.writestr("full", bytes(1 << 20))
        assert serve.unpacked(path).stat().st_size == 1 << 20
        assert not desk.busy and not desk.scans and not any(desk.folder.rglob("*.zip"))

    session(desk, steps)


def test_a_session_listens_here_alone_and_ends_well(served, monkeypatch):
    doors = []
    monkeypatch.setattr(serve.web, "run_app", lambda app, sock, **more: doors.append(sock.getsockname()[0]))
    assert serve.run(0, None, served.folder) == 0 and doors == ["127.0.0.1"]


@pytest.mark.processes
def test_the_whole_command(msd_dir, tmp_path):
    command = [sys.executable, "-u", "-m", "hipposeg.cli", "serve", "--port", "0"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as one:
        try:
            address = re.search(r"http://127.0.0.1:\d+", one.stdout.readline())[0]
            crop = (msd_dir / "imagesTr" / MSD_HIPPOCAMPUS.file_name(1)).read_bytes()
            urllib.request.urlopen(f"{address}/scans?name=a.nii.gz", data=crop)
            while (state := json.load(urllib.request.urlopen(f"{address}/state")))["busy"]:
                time.sleep(0.2)
            assert state["scans"][0]["status"] == "ok"
            assert b"Status: ok" in urllib.request.urlopen(f"{address}/files/a_qc.html").read()
        finally:
            one.send_signal(2)
            assert one.wait(30) == 0
    assert not list(tmp_path.iterdir()), "nothing is kept"
