"""Executed notebooks and the manifest: the same bytes twice, failures named, every difference found."""

import hashlib
import io
import os
import time

import nbformat
import numpy as np
import pytest
from PIL import Image

from hipposeg import cli, reproduce
from hipposeg.files import read_json, remove_parts, replacing, smaller_png, write_json, write_text
from hipposeg.workspace import Workspace

HEADER = """# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 99. A notebook made by a test

# %% tags=["parameters"]
profile = "standard"

"""

NOISY = """# %%
import os
import sys
import time
from pathlib import Path

print("profile", profile, "in", Path.cwd() / "notebooks", os.environ["HIPPOSEG_HEADLESS"])
print("seconds on stderr", time.time(), file=sys.stderr)
print("10 %", end="\\r")
print("100 %", end="\\r")
print("done")

# %%
object()

# %%
object()
"""

FAILING = """# %%
print("this works")

# %% [markdown]
# Now it breaks.

# %%
numerator = 1
numerator / 0
"""


@pytest.fixture
def ws(tmp_path) -> Workspace:
    return Workspace(tmp_path / "out", "phantom", "smoke")


def write(folder, text, stem="99_test"):
    path = folder / f"{stem}.py"
    path.write_text(text)
    return path


def files_below(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_copy_is_the_same_twice_and_free_of_the_machine(ws, tmp_path, capfd):
    path = write(tmp_path, HEADER + NOISY)
    first = reproduce.execute_file(path, ws)
    content = first.read_bytes()
    second = reproduce.execute_file(path, Workspace(tmp_path / "elsewhere", "phantom", "smoke"))
    assert second.read_bytes() == content
    assert "seconds on stderr" in capfd.readouterr().err, "the terminal shows stderr"

    notebook = nbformat.reads(content.decode(), as_version=4)
    texts = [output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output]
    assert texts == ["profile smoke in notebooks 1\ndone\n"]
    assert str(tmp_path) not in content.decode()
    assert b"papermill" not in content.replace(b'"injected-parameters"', b"")
    assert b"0x7f" not in content
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    nbformat.validate(notebook)


def test_failing_cell_is_named_and_nothing_is_left(ws, tmp_path):
    path, copy = write(tmp_path, HEADER + FAILING), ws.artifacts / "notebooks" / "99_test.ipynb"
    write_text(copy, "earlier")
    with pytest.raises(reproduce.NotebookError) as caught:
        reproduce.execute_file(path, ws)
    message = str(caught.value)
    line = path.read_text().splitlines().index("numerator = 1") + 1
    assert f"stopped in the cell that begins in line {line}: ZeroDivisionError: division by zero" in message
    assert "numerator / 0" in message
    assert files_below(ws.artifacts) == [copy.name] and copy.read_text() == "earlier", "nothing replaces the last copy"
    assert not [name for name in files_below(tmp_path) if name.endswith(".ipynb") and name != copy.name]


def test_a_dead_kernel_is_explained_and_nothing_is_written(ws, tmp_path):
    with pytest.raises(reproduce.NotebookError, match="memory"):
        reproduce.execute_file(write(tmp_path, HEADER + "# %%\nimport os\n\nos._exit(1)\n"), ws)
    assert not ws.artifacts.exists()


def test_environment_is_restored(ws, monkeypatch):
    monkeypatch.delenv("HIPPOSEG_HEADLESS", raising=False)
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    with reproduce.environment(ws):
        assert os.environ["PYTHONHASHSEED"] == "0"
    assert "HIPPOSEG_HEADLESS" not in os.environ
    assert os.environ["PYTHONHASHSEED"] == "7"


def test_files_of_a_renamed_figure_are_deleted(ws):
    for name in ("01_old.svg", "01_kept.svg", "02_other.svg"):
        (ws.figures / name).parent.mkdir(parents=True, exist_ok=True)
        (ws.figures / name).write_text("<svg/>")
    (ws.figures / "01_exploration.json").write_text('[{"file": "01_kept.svg", "caption": "c", "alt": "a"}]')
    reproduce.remove_outdated(ws, "01_exploration")
    assert files_below(ws.figures) == ["01_exploration.json", "01_kept.svg", "02_other.svg"]


def test_parts_of_killed_processes_are_ignored_and_deleted(tmp_path):
    parts, kept = [".71.part.facts.json", ".71.part.Task04/imagesTr/a", ".72.part.new"], ["a.part.csv", ".hidden"]
    for name in (*parts, *kept):
        write_text(tmp_path / "facts" / name, "x")
    for path in [*(tmp_path / "facts").iterdir()]:
        if path.name != parts[-1]:
            os.utime(path, (time.time() - 4000, time.time() - 4000))
    assert list(reproduce.compared_files(tmp_path)) == ["facts/a.part.csv"]
    remove_parts(tmp_path, tmp_path / "absent")
    assert sorted(path.name for path in (tmp_path / "facts").iterdir()) == sorted([parts[-1], *kept])
    with replacing(tmp_path / "b.svg") as part:
        assert part.name == f".{os.getpid()}.part.b.svg"
        part.write_text("<svg/>")


def fill(root, dataset="phantom", profile="smoke") -> Workspace:
    ws = Workspace(root, dataset, profile)
    write_text(ws.artifacts / "runs.csv", "run,key,processor,threads,torch,train_s\nunet2d,k,EPYC,1,2.15.0,60.5\n")
    write_json(ws.artifacts / "configs.json", {"unet2d": {"data_sha256": "d" * 64}})
    write_text(ws.figures / "01_shapes.svg", "<svg/>")
    write_text(ws.artifacts / "bench" / "summary.json", "{}")
    write_text(ws.artifacts / "reproduced.csv", "run\n")
    write_text(ws.page, "<html></html>")
    return ws


def test_manifest_holds_what_is_compared_and_a_new_page_keeps_the_recorded_sources(tmp_path, monkeypatch):
    ws = fill(tmp_path, "msd", "standard")
    content = read_json(reproduce.write_manifest(ws))
    assert sorted(content["files"]) == ["configs.json", "figures/01_shapes.svg", "runs.csv"]
    assert content["files"]["figures/01_shapes.svg"] == hashlib.sha256(b"<svg/>").hexdigest()
    assert content["data_sha256"] == "d" * 64
    assert len(content["source_sha256"]) == 64
    write_json(ws.artifacts / "configs.json", {"a": {"data_sha256": "d" * 64}, "b": {"data_sha256": "e" * 64}})
    with pytest.raises(ValueError, match="2 data sets"):
        reproduce.manifest(ws)
    write_json(ws.artifacts / "configs.json", {})
    before = content["source_sha256"]
    monkeypatch.setattr(reproduce, "source_hash", lambda: "later")
    assert read_json(reproduce.write_manifest(ws, made=False))["source_sha256"] == before
    assert read_json(reproduce.write_manifest(ws))["source_sha256"] == "later"


def test_compare_ignores_times_and_finds_one_byte(tmp_path, capsys):
    a, b = fill(tmp_path / "a", "msd", "full"), fill(tmp_path / "b", "msd", "full")
    runs = b.artifacts / "runs.csv"
    write_text(runs, runs.read_text().replace("60.5", "61.5").replace("EPYC", "Xeon"))
    write_text(b.artifacts / "bench" / "summary.json", "[]")
    assert cli.main(["compare", str(a.artifacts), str(b.artifacts)]) == 0
    assert "3 files compared" in capsys.readouterr().out

    write_text(b.figures / "01_shapes.svg", "<svg />")
    write_text(b.figures / "01_new.svg", "<svg/>")
    (a.artifacts / "only.csv").write_text("x")
    assert cli.main(["compare", str(a.artifacts), str(b.artifacts)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"figures/01_new.svg: only in {b.artifacts}", "figures/01_shapes.svg: the bytes differ",
        f"only.csv: only in {a.artifacts}",
    ]  # fmt: skip
    (tmp_path / "empty").mkdir()
    for other in ("empty", "absent"):
        assert cli.main(["compare", str(a.artifacts), str(tmp_path / other)]) == 1
        assert "nothing to compare" in capsys.readouterr().err


def test_pictures_shrink_and_stay_what_they_show():
    rng = np.random.default_rng(0)
    pixels = np.zeros((60, 80, 4), np.uint8)
    pixels[:30, :, 0], pixels[30:, :, 2] = 230, 200
    pixels[:, 10:, 3] = 255  # the first ten columns are transparent: white on a page
    pixels[..., 1] = rng.integers(0, 40, (60, 80))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=0)
    before = stream.getvalue()
    after = smaller_png(before)
    assert after == smaller_png(before) == smaller_png(after)
    assert len(after) < len(before) / 2
    shown = np.asarray(Image.open(io.BytesIO(after)).convert("RGB")).astype(int)
    assert np.all(shown[:, :10] == 255)
    assert np.abs(shown[:, 10:] - pixels[:, 10:, :3]).max() < 12
