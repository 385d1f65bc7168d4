"""Running notebooks: the same bytes twice, a failing cell named, nothing half-written left behind."""

import io

import nbformat
import numpy as np
import pytest
from PIL import Image

from hipposeg import execute, sources
from hipposeg.files import smaller_png
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


def test_copy_is_the_same_twice_and_says_nothing_of_the_machine(ws, tmp_path, capfd):
    path = write(tmp_path, HEADER + NOISY)
    first = execute.execute_file(path, ws)
    content = first.path.read_bytes()
    second = execute.execute_file(path, Workspace(tmp_path / "elsewhere", "phantom", "smoke"))
    assert second.path.read_bytes() == content
    assert second.sha256 == first.sha256
    assert "seconds on stderr" in capfd.readouterr().err, "the terminal sees stderr as it comes"

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
    path = write(tmp_path, HEADER + FAILING)
    with pytest.raises(execute.NotebookError) as caught:
        execute.execute_file(path, ws)
    message = str(caught.value)
    line = path.read_text().splitlines().index("numerator = 1")  # the marker's line, counted from 1
    assert f"99_test.py stopped in cell 5 of 5 (line {line}): ZeroDivisionError: division by zero" in message
    assert "    numerator / 0" in message
    assert not ws.artifacts.exists()
    assert not [name for name in files_below(tmp_path) if name.endswith(".ipynb")]


def test_earlier_copy_survives_a_failure(ws, tmp_path):
    path = write(tmp_path, HEADER + NOISY)
    copy = execute.execute_file(path, ws).path
    before = copy.read_bytes()
    write(tmp_path, HEADER + FAILING)
    with pytest.raises(execute.NotebookError):
        execute.execute_file(path, ws)
    assert copy.read_bytes() == before
    assert files_below(ws.artifacts) == ["99_test.ipynb"]


def test_dead_kernel_is_explained(ws, tmp_path):
    path = write(tmp_path, HEADER + "# %%\nimport os\n\nos._exit(1)\n")
    with pytest.raises(execute.NotebookError, match="memory"):
        execute.execute_file(path, ws)
    assert not ws.artifacts.exists()


def test_parameter_that_no_cell_declares_is_refused(ws, tmp_path):
    path = write(tmp_path, HEADER.replace('tags=["parameters"]', "") + NOISY)
    with pytest.raises(execute.NotebookError, match="tagged"):
        execute.execute_file(path, ws)


def test_too_large_a_copy_is_refused(ws, tmp_path):
    path = write(tmp_path, HEADER + '# %%\nprint("x" * 1_600_000)\n')
    with pytest.raises(execute.NotebookError, match=r"1\.6 MB.*print"):
        execute.execute_file(path, ws)
    assert not ws.artifacts.exists()


def test_environment_is_given_back(ws, monkeypatch):
    monkeypatch.delenv("HIPPOSEG_HEADLESS", raising=False)
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    with execute.environment(ws):
        assert execute.os.environ["PYTHONHASHSEED"] == "0"
    assert "HIPPOSEG_HEADLESS" not in execute.os.environ
    assert execute.os.environ["PYTHONHASHSEED"] == "7"


def test_leftovers_of_a_renamed_figure_go(ws):
    for name in ("01_old.svg", "01_kept.svg", "02_other.svg"):
        (ws.figures / name).parent.mkdir(parents=True, exist_ok=True)
        (ws.figures / name).write_text("<svg/>")
    (ws.figures / "01_exploration.json").write_text('[{"file": "01_kept.svg", "caption": "c", "alt": "a"}]')
    execute.remove_leftovers(ws, "01_exploration")
    assert files_below(ws.figures) == ["01_exploration.json", "01_kept.svg", "02_other.svg"]


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


def test_ids_follow_the_text_and_stay_unique():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in ("a", "b", "a")])
    sources.give_ids(notebook)
    first, second, third = (cell.id for cell in notebook.cells)
    assert third == f"{first}-2"
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("new"))
    sources.give_ids(notebook)
    assert [cell.id for cell in notebook.cells][1:] == [first, second, third]
