"""Percent sources of the notebooks: find them, read them with fixed cell ids, write the paired .ipynb files.

A notebook's source is `notebooks/NN_slug.py`. The `.ipynb` beside it, for Jupyter and Colab, holds the same cells
without outputs. `hipposeg sync` writes it; edit the source.
"""

import re
from pathlib import Path
from typing import Any

from hipposeg.files import sha256_bytes, write_text
from hipposeg.workspace import REPOSITORY, is_project, project_root

FORMATS = "ipynb,py:percent"
COLAB = "<!-- colab -->"
INSTALL = "# Only on Colab: install the package."
CELL_START = re.compile(r"^# %%", re.MULTILINE)


def home() -> Path:
    """Find the folder of the notebooks. Raises FileNotFoundError outside of a checkout of this project."""
    root = project_root()
    if not is_project(root):
        raise FileNotFoundError(f"{root} is not a checkout of hipposeg; change to the folder that holds its notebooks/")
    return root / "notebooks"


def find(number: str, folder: Path | None = None) -> Path:
    """Find the source of a notebook ("03"). Raises FileNotFoundError if there is none, or more than one."""
    folder = folder or home()
    found = sorted(folder.glob(f"{number}_*.py"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "nothing"
        raise FileNotFoundError(f"{folder.name}/{number}_*.py: found {names}, expected one notebook source")
    return found[0]


def read(path: Path) -> Any:
    """Read a percent file as an nbformat notebook; its cell ids depend only on the cells' text."""
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
    """Serialise a notebook as JSON; equal notebooks give equal text."""
    import nbformat

    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


def cell_line(path: Path, index: int) -> int | None:
    """Find the line where cell `index` of a percent file begins; None if a cell lacks its `# %%`."""
    text = path.read_text(encoding="utf-8")
    starts = [match.start() for match in CELL_START.finditer(text)]
    if len(starts) != len(read(path).cells):
        return None
    return text.count("\n", 0, starts[index]) + 1


def badge(stem: str) -> str:
    """Markdown of the link that opens a notebook on Colab."""
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({image})](https://colab.research.google.com/github/{REPOSITORY}/blob/main/notebooks/{stem}.ipynb)"


def install_cell() -> str:
    """Source of the first code cell: plain Python, because a magic inside an `if` is not valid in a script."""
    return f"""{INSTALL}
import sys

if "google.colab" in sys.modules:
    import subprocess

    package = "hipposeg @ git+https://github.com/{REPOSITORY}"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", package], check=True)
"""


def with_address(text: str, stem: str) -> str:
    """Write the address of `workspace.REPOSITORY` into the badge and the install cell of a percent source."""
    lines = rf"^# {re.escape(COLAB)}\n(?:# \[!\[Open in Colab\].*\n)?"
    text = re.sub(lines, lambda _: f"# {COLAB}\n# {badge(stem)}\n", text, flags=re.MULTILINE)
    cell = rf"^{re.escape(INSTALL)}\n.*?(?=^# %%|\Z)"
    return re.sub(cell, lambda _: install_cell() + "\n", text, flags=re.MULTILINE | re.DOTALL)


def paired_text(path: Path) -> str:
    """Text of the `.ipynb` beside a source."""
    notebook = read(path)
    notebook.metadata.get("jupytext", {}).pop("text_representation", None)
    return dump(notebook)


def sync(folder: Path, check: bool = False) -> list[str]:
    """Update address, badge and `.ipynb` of every source in `folder`.

    Args:
        folder: the notebooks.
        check: write nothing.

    Returns:
        Names of the files that were out of date, and of every `.ipynb` without a source, which is never changed.
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
