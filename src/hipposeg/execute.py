"""Running a notebook with papermill, and keeping a copy that has the same bytes every time.

The terminal sees everything as it happens, progress bars and warnings too. The copy in artifacts/ keeps what a
reader wants: text, tables and figures. Left out are stderr (progress bars, seconds, process ids), papermill's own
times, widget state, memory addresses and the paths of the machine. Its pictures are reduced to 256 colours, which
keeps it small; the figures of full quality are the files in figures/.
"""

import base64
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hipposeg import sources
from hipposeg.data import locate
from hipposeg.files import read_json, sha256_bytes, smaller_png, write_text
from hipposeg.workspace import Workspace, output_root, project_root

LIMIT_BYTES = 1_500_000
WIDGETS = "application/vnd.jupyter.widget"
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")


class NotebookError(RuntimeError):
    """A notebook that did not run to its end; the message names the cell."""


@dataclass(frozen=True)
class Executed:
    """A notebook that ran: its copy, the copy's SHA-256 and how long it took."""

    path: Path
    sha256: str
    seconds: float


def execute(number: str, profile: str) -> Executed:
    """Run notebook `number` ("03") of the project and write artifacts/notebooks/NN_slug.ipynb.

    Raises NotebookError if a cell fails, the kernel dies or the copy is larger than 1.5 MB; nothing is written then.
    """
    path = sources.find(number)
    source = locate.locate(profile, quiet=True)
    ws = Workspace(output_root(), source.dataset, "smoke" if source.dataset == "phantom" else profile)
    result = execute_file(path, ws)
    remove_leftovers(ws, path.stem)
    return result


def execute_file(path: Path, ws: Workspace) -> Executed:
    """Run one percent file with `profile` set to the workspace's, and write its stripped copy."""
    notebook = sources.read(path)
    check_parameters(notebook, path)
    started = time.perf_counter()
    with environment(ws):
        done = run(notebook, path, ws.profile)
    seconds = time.perf_counter() - started
    text = sources.dump(strip(done, [ws.root, project_root(), data_folder()]))
    if len(text.encode()) > LIMIT_BYTES:
        raise NotebookError(too_large(path, done, len(text.encode())))
    copy = ws.artifacts / "notebooks" / f"{path.stem}.ipynb"
    write_text(copy, text)
    return Executed(copy, sha256_bytes(text.encode()), seconds)


def check_parameters(notebook: Any, path: Path) -> None:
    """Papermill accepts a parameter that no cell declares, and the notebook then runs with its default: refuse that."""
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1 or not re.search(r"^profile\s*=", tagged[0].source, re.MULTILINE):
        raise NotebookError(f'{path.name}: expected one cell tagged "parameters" that sets `profile`')


@contextmanager
def environment(ws: Workspace) -> Iterator[None]:
    """What the kernel inherits: this installation's own kernel, no personal IPython start-up files, inline figures."""
    wanted = {
        "HIPPOSEG_HEADLESS": "1",
        "HIPPOSEG_OUT": str(ws.root),
        "PYTHONHASHSEED": "0",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "IPYTHONDIR": str(ws.work / "ipython"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    if ws.is_phantom:
        # Decided before the kernel starts: it must not find a network and another data set in the meantime.
        wanted["HIPPOSEG_OFFLINE"] = "1"
    if data := data_folder():
        wanted["HIPPOSEG_DATA"] = str(data)
    before = {name: os.environ.get(name) for name in wanted}
    # The kernel's own notice, on every start, that it talks to its parent over plain loopback helps nobody here.
    write_text(ws.work / "ipython" / "profile_default" / "ipython_kernel_config.py", "c.IPKernelApp.log_level = 50\n")
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def data_folder() -> Path | None:
    """HIPPOSEG_DATA as an absolute path."""
    named = os.environ.get("HIPPOSEG_DATA")
    return Path(named).expanduser().resolve() if named else None


def run(notebook: Any, path: Path, profile: str) -> Any:
    """Execute a notebook in the project's root, its output shown as it comes. Raises NotebookError."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    try:
        # Without an output path papermill leaves no half-written file behind when a cell fails.
        return papermill.execute_notebook(
            notebook, None, {"profile": profile}, kernel_name="python3", progress_bar=False, cwd=str(project_root()),
            stdout_file=sys.stdout, stderr_file=sys.stderr,
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        raise NotebookError(failure(path, error)) from None
    except (DeadKernelError, CellTimeoutError) as error:
        raise NotebookError(
            f"{path.name}: the notebook's Python process died ({error}). The usual cause is a lack of memory: close "
            "other programs and run the same target again; finished runs and checkpoints are kept."
        ) from error


def failure(path: Path, error: Any) -> str:
    """Which cell failed, where it stands, its text and what Python said."""
    cells = sources.read(path).cells
    parameters = next(i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    # Papermill puts a cell of its own after the parameters.
    index = error.cell_index - 1 if error.cell_index > parameters else error.cell_index
    line = sources.cell_line(path, index)
    where = f"cell {index + 1} of {len(cells)}" + (f" (line {line})" if line else "")
    said = "\n".join(error.traceback)
    if not sys.stderr.isatty():
        said = ANSI.sub("", said)
    source = "\n".join(f"    {text}" for text in error.source.splitlines())
    return f"{path.name} stopped in {where}: {error.ename}: {error.evalue}\n\n{source}\n\n{said}"


def strip(notebook: Any, folders: list[Path | None]) -> Any:
    """Remove from an executed notebook what another run of the same code would write differently.

    folders: their absolute paths are cut out of text outputs. Changes and returns `notebook`.
    """
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.get("jupytext", {}).pop("text_representation", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = [plain(output, folders) for output in joined(cell.outputs)]
    sources.give_ids(notebook)
    return notebook


def joined(outputs: list[Any]) -> list[Any]:
    """Outputs without stderr and widgets; neighbouring pieces of stdout become one."""
    kept: list[Any] = []
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            continue
        if any(kind.startswith(WIDGETS) for kind in output.get("data", {})):
            continue
        if kept and output.output_type == "stream" and kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def plain(output: Any, folders: list[Path | None]) -> Any:
    """One output without memory addresses, machine paths, and lines that a carriage return overwrote."""

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
            output.data[kind] = base64.b64encode(smaller_png(base64.b64decode(content))).decode()
    return output


def too_large(path: Path, notebook: Any, size: int) -> str:
    """Which cell to look at when the copy is too large to commit."""
    sizes = [sum(len(str(output)) for output in cell.get("outputs", [])) for cell in notebook.cells]
    index = sizes.index(max(sizes))
    return (
        f"{path.name}: the executed copy has {size / 1e6:.1f} MB, more than the {LIMIT_BYTES / 1e6} MB that fit in the "
        f"repository. The outputs after `{notebook.cells[index].source.splitlines()[0]}` are the largest: "
        f"{sizes[index] / 1e6:.1f} MB."
    )


def remove_leftovers(ws: Workspace, stem: str) -> None:
    """Delete what an earlier version of this notebook wrote and the present one does not, such as renamed figures."""
    index = ws.figures / f"{stem}.json"
    listed = {figure["file"] for figure in read_json(index)} if index.is_file() else set()
    wanted = {f"{stem}.json", f"{stem}.ipynb"} | listed
    for folder in (ws.figures, ws.artifacts / "facts", ws.artifacts / "notebooks"):
        for path in folder.glob(f"{stem.split('_')[0]}_*"):
            if path.name not in wanted:
                path.unlink()
