"""The notebooks' percent sources: finding them, reading them with fixed cell ids, writing the paired .ipynb files.

A notebook's source is `notebooks/NN_slug.py`. The `.ipynb` beside it, for Jupyter and Colab, holds the same cells
without outputs; it is written by `hipposeg sync`, never by hand.
"""

import re
from pathlib import Path
from typing import Any

from hipposeg.files import sha256_bytes, write_text
from hipposeg.workspace import REPOSITORY, project_root

FORMATS = "ipynb,py:percent"
COLAB = "<!-- colab -->"
INSTALL = "# Only on Colab: install the package."
CELL_START = re.compile(r"^# %%", re.MULTILINE)


def find(number: str, folder: Path | None = None) -> Path:
    """The source of a notebook ("03"). Raises FileNotFoundError if there is none, or more than one."""
    folder = folder or project_root() / "notebooks"
    found = sorted(folder.glob(f"{number}_*.py"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "nothing"
        raise FileNotFoundError(f"{folder.name}/{number}_*.py: found {names}, expected one notebook source")
    return found[0]


def read(path: Path) -> Any:
    """A percent file as an nbformat notebook whose cell ids depend on the cells' text alone."""
    import jupytext

    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    give_ids(notebook)
    return notebook


def give_ids(notebook: Any) -> None:
    """Set each cell's id to a hash of its text (jupytext and papermill draw random ones); repeats get a counter."""
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        short = sha256_bytes(cell.cell_type.encode(), b"\0", cell.source.encode())[:10]
        seen[short] = seen.get(short, 0) + 1
        cell["id"] = short if seen[short] == 1 else f"{short}-{seen[short]}"


def dump(notebook: Any) -> str:
    """A notebook as JSON text, the same for equal notebooks."""
    import nbformat

    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


def cell_line(path: Path, index: int) -> int | None:
    """Line of a percent file at which cell `index` begins; None if its cells are not all marked with `# %%`."""
    text = path.read_text(encoding="utf-8")
    starts = [match.start() for match in CELL_START.finditer(text)]
    if len(starts) != len(read(path).cells):
        return None
    return text.count("\n", 0, starts[index]) + 1


def badge(stem: str) -> str:
    """The link that opens a notebook on Colab."""
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({image})](https://colab.research.google.com/github/{REPOSITORY}/blob/main/notebooks/{stem}.ipynb)"


def install_cell() -> str:
    """The first code cell of every notebook: plain Python, because a magic inside an `if` is not valid in a script."""
    return f"""{INSTALL}
import sys

if "google.colab" in sys.modules:
    import subprocess

    package = "hipposeg @ git+https://github.com/{REPOSITORY}"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", package], check=True)
"""


def with_address(text: str, stem: str) -> str:
    """A percent source with its badge and its install cell as `config.REPOSITORY` wants them."""
    lines = rf"^# {re.escape(COLAB)}\n(?:# \[!\[Open in Colab\].*\n)?"
    text = re.sub(lines, lambda _: f"# {COLAB}\n# {badge(stem)}\n", text, flags=re.MULTILINE)
    cell = rf"^{re.escape(INSTALL)}\n.*?(?=^# %%|\Z)"
    return re.sub(cell, lambda _: install_cell() + "\n", text, flags=re.MULTILINE | re.DOTALL)


def paired_text(path: Path) -> str:
    """What the `.ipynb` beside a source must hold."""
    notebook = read(path)
    notebook.metadata.get("jupytext", {}).pop("text_representation", None)
    return dump(notebook)


def sync(folder: Path, check: bool = False) -> list[str]:
    """Bring address, badge and `.ipynb` of every source in `folder` up to date.

    Returns the names of the files that were not, having written them unless `check`. An `.ipynb` without a source is
    named too, and left alone.
    """
    stale = []
    for path in sorted(folder.glob("[0-9][0-9]_*.py")):
        text = path.read_text(encoding="utf-8")
        addressed = with_address(text, path.stem)
        if addressed != text:
            stale.append(path.name)
            if not check:
                write_text(path, addressed)
        pair = path.with_suffix(".ipynb")
        wanted = paired_text(path)
        if not pair.is_file() or pair.read_text(encoding="utf-8") != wanted:
            stale.append(pair.name)
            if not check:
                write_text(pair, wanted)
    return stale + [path.name for path in sorted(folder.glob("*.ipynb")) if not path.with_suffix(".py").is_file()]
