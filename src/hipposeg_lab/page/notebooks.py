"""Executed notebooks as HTML for the laboratory: self-contained, without scripts, the same bytes each time."""

import re
from collections.abc import Callable
from pathlib import Path

from hipposeg import files
from hipposeg_lab.page.artifacts import Artifacts, ReportError, visible

MAX_BYTES = 2_000_000
# Options of nbconvert: cells and inputs that a reader does not need, by tag, and the cell that prepares Colab.
LEFT_OUT = {
    "TagRemovePreprocessor": {
        "enabled": True,
        "remove_cell_tags": ["injected-parameters", "remove-cell"],
        "remove_input_tags": ["hide-input"],
    },
    "RegexRemovePreprocessor": {"patterns": [r'[\s\S]*"google\.colab" in sys\.modules']},
}
# What would be fetched, such as the badge of Colab, goes.
REMOTE = re.compile(r'(<a [^>]*>\s*)?<img\b[^>]*\bsrc="(?!data:)[^"]*"[^>]*>(?(1)\s*</a>)')


def body(path: Path) -> str:
    """The cells of an executed notebook as HTML that loads nothing."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    exporter = HTMLExporter(template_name="basic", config=Config(LEFT_OUT))
    return REMOTE.sub("", exporter.from_filename(str(path))[0])


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
