"""Reproducible notebooks and artifacts: sources and their .ipynb files, execution, hashes, comparison.

A notebook's source is `notebooks/NN_slug.py` (appendices: `A1_slug.py`) in jupytext's percent format. The `.ipynb`
beside it, for Jupyter and Colab, holds the same cells without outputs. Papermill executes the source; the terminal
shows its whole output. The copy in artifacts/ has the same bytes every time: stderr, times, widget state, memory
addresses and paths of the machine are removed, and its images have 256 colours (the figures of full quality are the
files in figures/). The manifest lists the SHA-256 of every file that a rerun reproduces.
"""

import base64
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hipposeg import files
from hipposeg.data import locate
from hipposeg.results import store
from hipposeg.workspace import Workspace, is_project, project_root, source_hash

WIDGETS = "application/vnd.jupyter.widget"
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")
MANIFEST = "manifest.json"
# Files and folders that show measured times, and the list of hashes itself.
NOT_COMPARED = (MANIFEST, store.REPRODUCED, "bench", "laboratory.html")


class NotebookError(RuntimeError):
    """A notebook stopped before its end; the message names the line."""


def home() -> Path:
    """Find the folder of the notebooks. Raises FileNotFoundError outside of a checkout of this project."""
    root = project_root()
    if not is_project(root):
        raise FileNotFoundError(f"{root} is not a checkout of hipposeg; change to the folder that holds its notebooks/")
    return root / "notebooks"


def read(path: Path) -> Any:
    """Read a percent file as an nbformat notebook; its cell ids depend only on the cells' text."""
    import jupytext

    return with_ids(jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent"))


def with_ids(notebook: Any) -> Any:
    """Set each cell's id to a hash of its text (jupytext and papermill draw random ones); repeats get a counter."""
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        short = files.sha256_bytes(cell.cell_type.encode(), b"\0", cell.source.encode())[:10]
        seen[short] = seen.get(short, 0) + 1
        cell["id"] = short if seen[short] == 1 else f"{short}-{seen[short]}"
    return notebook


def dump(notebook: Any) -> str:
    """Serialise a notebook as JSON; equal notebooks give equal text."""
    import nbformat

    notebook.metadata.get("jupytext", {}).pop("text_representation", None)
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


def sync(folder: Path, check: bool = False) -> list[str]:
    """Write the `.ipynb` beside every source, unless `check`; return the names of those that were out of date."""
    stale = []
    for path in sorted(folder.glob("[0-9A][0-9]_*.py")):
        pair, wanted = path.with_suffix(".ipynb"), dump(read(path))
        if not pair.is_file() or pair.read_text(encoding="utf-8") != wanted:
            stale.append(pair.name)
            if not check:
                files.write_text(pair, wanted)
    return stale


def execute(number: str, profile: str) -> Path:
    """Execute notebook `number` ("03") and return its executed copy, artifacts/notebooks/NN_slug.ipynb.

    Raises FileNotFoundError if there is no such notebook, and NotebookError.
    """
    found = sorted(home().glob(f"{number}_*.py"))
    if len(found) != 1:
        raise FileNotFoundError(f"notebooks/{number}_*.py: found {len(found)} notebook sources, expected one")
    source = locate.locate(profile, quiet=True)
    ws = Workspace.here(source.dataset, profile)
    files.remove_parts(ws.artifacts, ws.work)
    copy = execute_file(found[0], ws)
    remove_outdated(ws, found[0].stem)
    return copy


def execute_file(path: Path, ws: Workspace) -> Path:
    """Execute one percent file with the workspace's profile, and write and return its stripped copy.

    Raises NotebookError if a cell failed or the kernel died; nothing is written then.
    """
    with environment(ws):
        done = _run(read(path), path, ws.profile)
    copy = ws.artifacts / "notebooks" / f"{path.stem}.ipynb"
    files.write_text(copy, dump(strip(done, [ws.root, project_root(), _data_folder()])))
    return copy


@contextmanager
def environment(ws: Workspace) -> Iterator[None]:
    """Set what the kernel inherits: this installation's kernel, no personal IPython start-up files, inline figures."""
    before = dict(os.environ)
    os.environ.update(
        HIPPOSEG_HEADLESS="1", HIPPOSEG_OUT=str(ws.root), PYTHONHASHSEED="0", JUPYTER_PREFER_ENV_PATH="1",
        IPYTHONDIR=str(ws.work / "ipython"), MPLBACKEND="module://matplotlib_inline.backend_inline",
        PYDEVD_DISABLE_FILE_VALIDATION="1",
    )  # fmt: skip
    if ws.is_phantom:  # the kernel must not find a network, and another data set, in the meantime
        os.environ["HIPPOSEG_OFFLINE"] = "1"
    if data := _data_folder():
        os.environ["HIPPOSEG_DATA"] = str(data)
    # Without the kernel's notice, on every start, that it uses plain loopback.
    settings = ws.work / "ipython" / "profile_default" / "ipython_kernel_config.py"
    files.write_text(settings, "c.IPKernelApp.log_level = 50\n")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _data_folder() -> Path | None:
    named = os.environ.get("HIPPOSEG_DATA")
    return Path(named).expanduser().resolve() if named else None


def _run(notebook: Any, path: Path, profile: str) -> Any:
    """Execute a notebook in the project's root, showing its output. Raises NotebookError."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    try:
        # Without an output path papermill leaves no half-written file when a cell fails.
        return papermill.execute_notebook(
            notebook, None, {"profile": profile}, kernel_name="python3", progress_bar=False, cwd=str(project_root()),
            stdout_file=sys.stdout, stderr_file=sys.stderr,
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        text, trace = path.read_text(encoding="utf-8"), "\n".join(error.traceback)
        line = text.count("\n", 0, text.find(error.source)) + 1
        raise NotebookError(
            f"{path.name} stopped in the cell that begins in line {line}: {error.ename}: {error.evalue}\n\n"
            f"{trace if sys.stderr.isatty() else ANSI.sub('', trace)}"
        ) from None
    except (DeadKernelError, CellTimeoutError) as error:
        raise NotebookError(
            f"{path.name}: the notebook's Python process died ({error}). The usual cause is a lack of memory: close "
            "other programs and run the same target again; finished runs and checkpoints are kept."
        ) from error


def strip(notebook: Any, folders: list[Path | None]) -> Any:
    """Remove from an executed notebook, in place, what another run of the same code would write differently.

    folders: absolute paths to cut out of text outputs.
    """
    for where in (notebook, *notebook.cells):
        for key in ("papermill", "widgets", "execution", "collapsed", "scrolled"):
            where.metadata.pop(key, None)
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        kept: list[Any] = []
        for output in cell.outputs:
            if output.get("name") == "stderr" or any(kind.startswith(WIDGETS) for kind in output.get("data", {})):
                continue
            if kept and output.output_type == kept[-1].output_type == "stream":
                kept[-1].text += output.text
            else:
                kept.append(output)
        cell.outputs = [_plain(output, folders) for output in kept]
    return with_ids(notebook)


def _plain(output: Any, folders: list[Path | None]) -> Any:
    """Remove memory addresses, paths of the machine, and lines that a carriage return overwrote from one output."""

    def clean(text: str) -> str:
        text = "\n".join(line.removesuffix("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
        for folder in sorted({str(folder) for folder in folders if folder}, key=len, reverse=True):
            text = text.replace(folder + os.sep, "").replace(folder, ".")
        return ADDRESS.sub("at 0x...", text)

    if output.output_type == "stream":
        output.text = clean(output.text)
    for kind, content in output.get("data", {}).items():
        if kind.startswith("text/") and isinstance(content, str):
            output.data[kind] = clean(content)
        elif kind == "image/png":
            output.data[kind] = base64.b64encode(files.smaller_png(base64.b64decode(content))).decode()
    return output


def remove_outdated(ws: Workspace, stem: str) -> None:
    """Delete files that only an earlier version of this notebook wrote, such as renamed figures."""
    index = ws.figures / f"{stem}.json"
    listed = {figure["file"] for figure in files.read_json(index)} if index.is_file() else set()
    wanted = {f"{stem}.json", f"{stem}.ipynb"} | listed
    for folder in (ws.figures, ws.artifacts / "facts", ws.artifacts / "notebooks"):
        for path in folder.glob(f"{stem.split('_')[0]}_*"):
            if path.name not in wanted:
                path.unlink()


def compared_files(folder: Path) -> dict[str, str]:
    """Hash every file below an artifacts folder by its path, without hidden ones, NOT_COMPARED, measured columns."""
    found = {}
    for path in sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()):
        if any(part in NOT_COMPARED or part.startswith(".") for part in path.parts):
            continue
        content = (folder / path).read_bytes()
        if path.name == store.RUNS:
            table = store.read_table(folder / path, dtype=str).drop(columns=list(store.MEASURED))
            content = table.to_csv(index=False).encode()
        found[path.as_posix()] = files.sha256_bytes(content)
    return found


def manifest(ws: Workspace) -> dict[str, Any]:
    """Compute the SHA-256 of the sources, the runs' data set (None without runs), files below artifacts, and the page.

    Raises ValueError if the tables hold runs on several data sets.
    """
    data = {config["data_sha256"] for config in store.read_configs(ws.artifacts).values()}
    if len(data) > 1:
        raise ValueError(f"{ws.artifacts} holds runs on {len(data)} data sets; restore the tables with git")
    return {
        "source_sha256": source_hash(),
        "data_sha256": data.pop() if data else None,
        "files": compared_files(ws.artifacts),
        "page": files.sha256_bytes(ws.page.read_bytes()) if ws.page.is_file() else None,
    }


def write_manifest(ws: Workspace, made: bool = True) -> Path:
    """Write `artifacts/manifest.json` and return its path.

    made: all notebooks ran with the present sources. Otherwise the recorded hash of the sources is kept, because a new
    page makes no run or figure newer.
    """
    path, content = ws.artifacts / MANIFEST, manifest(ws)
    if not made and path.is_file():
        content["source_sha256"] = files.read_json(path)["source_sha256"]
    files.write_json(path, content)
    return path


def compare(a: Path, b: Path) -> tuple[list[str], int]:
    """Compare two artifacts folders; measured times are left out.

    Returns:
        The differences, as sentences, and the number of files in `a`.

    Raises:
        FileNotFoundError: a folder is missing or holds nothing to compare.
    """
    first, second = compared_files(a), compared_files(b)
    for folder, found in ((a, first), (b, second)):
        if not found:
            raise FileNotFoundError(f"{folder}: found nothing to compare; expected an artifacts folder")
    lines = []
    for path in sorted(first.keys() | second.keys()):
        if path not in second or path not in first:
            lines.append(f"{path}: only in {a if path in first else b}")
        elif first[path] != second[path]:
            lines.append(f"{path}: the bytes differ")
    return lines, len(first)
