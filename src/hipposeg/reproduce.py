"""Reproducible notebooks and artifacts: execute, strip, hash, compare.

Papermill runs a notebook; the terminal shows its whole output. The copy in artifacts/ has the same bytes every time:
stderr, times, widget state, memory addresses and paths of the machine are removed. Its images have 256 colours; the
figures of full quality are the files in figures/. The manifest lists the SHA-256 of every file that a rerun reproduces.
"""

import base64
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from hipposeg import files, sources
from hipposeg.data import locate
from hipposeg.results import store
from hipposeg.workspace import Workspace, output_root, project_root, source_hash

LIMIT_BYTES = 1_500_000
WIDGETS = "application/vnd.jupyter.widget"
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")
MANIFEST = "manifest.json"
NOT_COMPARED = (MANIFEST, store.REPRODUCED)
# Folders of measured values.
NOT_COMPARED_FOLDERS = ("bench",)


class NotebookError(RuntimeError):
    """A notebook stopped before its end; the message names the cell."""


def execute(number: str, profile: str) -> Path:
    """Execute notebook `number` ("03") and write artifacts/notebooks/NN_slug.ipynb.

    Args:
        number: the first part of its name.
        profile: one of workspace.PROFILES; the phantom always has "smoke".

    Returns:
        The path of the executed copy.

    Raises:
        NotebookError: a cell failed, the kernel died, or the copy is larger than 1.5 MB. Nothing is written then.
    """
    path = sources.find(number)
    source = locate.locate(profile, quiet=True)
    ws = Workspace(output_root(), source.dataset, "smoke" if source.dataset == "phantom" else profile)
    files.remove_parts(ws.artifacts, ws.work)
    copy = execute_file(path, ws)
    remove_outdated(ws, path.stem)
    return copy


def execute_file(path: Path, ws: Workspace) -> Path:
    """Execute one percent file with the workspace's profile, and write and return its stripped copy."""
    notebook = sources.read(path)
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    # Papermill accepts a parameter that no cell declares; the notebook would then run with its default.
    if len(tagged) != 1 or not re.search(r"^profile\s*=", tagged[0].source, re.MULTILINE):
        raise NotebookError(f'{path.name}: expected one cell tagged "parameters" that sets `profile`')
    with environment(ws):
        done = _run(notebook, path, ws.profile)
    text = sources.dump(strip(done, [ws.root, project_root(), _data_folder()]))
    if len(text.encode()) > LIMIT_BYTES:
        raise NotebookError(_too_large(path, done, len(text.encode())))
    copy = ws.artifacts / "notebooks" / f"{path.stem}.ipynb"
    files.write_text(copy, text)
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
        raise NotebookError(_failure(path, error)) from None
    except (DeadKernelError, CellTimeoutError) as error:
        raise NotebookError(
            f"{path.name}: the notebook's Python process died ({error}). The usual cause is a lack of memory: close "
            "other programs and run the same target again; finished runs and checkpoints are kept."
        ) from error


def _failure(path: Path, error: Any) -> str:
    """Describe a failed cell: its place, its source and the traceback."""
    cells = sources.read(path).cells
    parameters = next(i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    # Papermill inserts a cell after the parameters.
    index = error.cell_index - 1 if error.cell_index > parameters else error.cell_index
    line = sources.cell_line(path, index)
    where = f"cell {index + 1} of {len(cells)}" + (f" (line {line})" if line else "")
    trace = "\n".join(error.traceback)
    if not sys.stderr.isatty():
        trace = ANSI.sub("", trace)
    source = "\n".join(f"    {text}" for text in error.source.splitlines())
    return f"{path.name} stopped in {where}: {error.ename}: {error.evalue}\n\n{source}\n\n{trace}"


def strip(notebook: Any, folders: list[Path | None]) -> Any:
    """Remove from an executed notebook what another run of the same code would write differently.

    Args:
        notebook: changed in place.
        folders: absolute paths to cut out of text outputs.

    Returns:
        The same notebook.
    """
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.get("jupytext", {}).pop("text_representation", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = [_plain(output, folders) for output in _joined(cell.outputs)]
    sources.give_ids(notebook)
    return notebook


def _joined(outputs: list[Any]) -> list[Any]:
    """Drop stderr and widgets, and join neighbouring pieces of stdout."""
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


def _too_large(path: Path, notebook: Any, size: int) -> str:
    sizes = [sum(len(str(output)) for output in cell.get("outputs", [])) for cell in notebook.cells]
    index = sizes.index(max(sizes))
    return (
        f"{path.name}: the executed copy has {size / 1e6:.1f} MB, more than the limit of {LIMIT_BYTES / 1e6} MB. The "
        f"outputs of `{notebook.cells[index].source.splitlines()[0]}` are the largest: {sizes[index] / 1e6:.1f} MB."
    )


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
    """Hash every compared file below an artifacts folder: relative path -> SHA-256, sorted.

    Hidden files, the manifest and measured values are left out.
    """
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    kept = [
        path for path in paths
        if path.name not in NOT_COMPARED and path.parts[0] not in NOT_COMPARED_FOLDERS
        and not any(part.startswith(".") for part in path.parts)
    ]  # fmt: skip
    return {path.as_posix(): files.sha256_bytes(_compared(folder / path)) for path in kept}


def _compared(path: Path) -> bytes:
    """The bytes of a file; of runs.csv, those without the measured columns."""
    if path.name != store.RUNS:
        return path.read_bytes()
    return pd.read_csv(path, dtype=str).drop(columns=list(store.MEASURED)).to_csv(index=False).encode()


def manifest(ws: Workspace) -> dict[str, Any]:
    """Compute the manifest.

    Returns:
        files: path below artifacts -> SHA-256; page: SHA-256 of the page; source_sha256: of the code; data_sha256: of
        the data set that the runs trained on, None without runs.

    Raises:
        ValueError: the tables hold runs on several data sets.
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

    Args:
        ws: whose artifacts to hash.
        made: all notebooks ran with the present sources. Otherwise the recorded hash of the sources is kept, because a
            new page makes no run or figure newer.
    """
    path, content = ws.artifacts / MANIFEST, manifest(ws)
    if not made and path.is_file():
        content["source_sha256"] = files.read_json(path)["source_sha256"]
    files.write_json(path, content)
    return path


def check_manifest(ws: Workspace) -> list[str]:
    """List the differences between the manifest and the files, as sentences."""
    recorded, found = files.read_json(ws.artifacts / MANIFEST), manifest(ws)
    differences = _differences(recorded["files"], found["files"], "the manifest", "the folder")
    return differences + (["project.html: the bytes differ"] if recorded["page"] != found["page"] else [])


def compare(a: Path, b: Path) -> list[str]:
    """List the differences between two artifacts folders, as sentences; measured times are left out.

    Raises:
        FileNotFoundError: a folder is missing or holds nothing to compare.
    """
    hashes = []
    for folder in (a, b):
        if not folder.is_dir() or not (found := compared_files(folder)):
            raise FileNotFoundError(f"{folder}: found nothing to compare; expected an artifacts folder")
        hashes.append(found)
    return _differences(*hashes, str(a), str(b))


def _differences(a: dict[str, str], b: dict[str, str], name_a: str, name_b: str) -> list[str]:
    lines = [f"{path}: in {name_a}, not in {name_b}" for path in sorted(a.keys() - b.keys())]
    lines += [f"{path}: in {name_b}, not in {name_a}" for path in sorted(b.keys() - a.keys())]
    return lines + [f"{path}: the bytes differ" for path in sorted(a.keys() & b.keys()) if a[path] != b[path]]
