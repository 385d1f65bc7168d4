"""Executed notebooks as HTML for the laboratory: self-contained, without scripts, the same bytes each time."""

import re
from collections.abc import Callable
from pathlib import Path

from hipposeg import files
from hipposeg_lab.page.artifacts import Artifacts, ReportError, visible

MAX_BYTES = 2_000_000
# What would be fetched, such as the badge of Colab, goes.
REMOTE = re.compile(r'(<a [^>]*>\s*)?<img\b[^>]*\bsrc="(?!data:)[^"]*"[^>]*>(?(1)\s*</a>)')


def body(path: Path) -> str:
    """The cells of an executed notebook as HTML that loads nothing."""
    import nbformat
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    notebook = nbformat.read(path, as_version=4)
    hidden = ("injected-parameters", "remove-cell")
    notebook.cells = [
        cell
        for cell in notebook.cells
        if not set(hidden) & set(cell.metadata.get("tags", ())) and '"google.colab" in sys.modules' not in cell.source
    ]
    without_input = {"TagRemovePreprocessor": {"enabled": True, "remove_input_tags": {"hide-input"}}}
    exporter = HTMLExporter(template_name="basic", config=Config(without_input))
    return REMOTE.sub("", exporter.from_notebook_node(notebook)[0])


def write(art: Artifacts, folder: Path, rendered: Callable[[str, str], str]) -> None:
    """Write `folder`/NN_slug.html for every executed notebook; others are removed. Raises ReportError above 2 MB.

    rendered: (name, HTML of the cells) -> a whole page.
    """
    for path in art.executed:
        content = rendered(path.stem, body(path)).encode()
        if len(content) > MAX_BYTES:
            raise ReportError(f"{path.name} has {len(content) / 1e6:.1f} MB as HTML, at most 2 are allowed")
        files.write_bytes(folder / f"{path.stem}.html", content)
    for stale in {*visible(folder, ".html")} - {folder / f"{path.stem}.html" for path in art.executed}:
        stale.unlink()
