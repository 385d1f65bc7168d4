"""Sizes of the notebooks: `python tests/notebook_counts.py` prints them, test_notebooks.py has their limits."""

import ast
import re
import sys
from pathlib import Path

from hipposeg import reproduce

REPORTING = {"save", "say", "facts", "display", "claim", "show", "figure", "caption"}


def code_lines(text: str) -> list[str]:
    """Lines that are neither blank nor a comment."""
    return [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def counts(path: Path) -> dict[str, int]:
    """Cells, words of Markdown, and lines of code: all, imports, reporting (with imports), with a tensor."""
    cells = reproduce.read(path).cells
    found = {"cells": len(cells), "words": 0, "code": 0, "imports": 0, "reporting": 0, "torch": 0}
    for cell in cells:
        if cell.cell_type == "markdown":
            found["words"] += len(re.findall(r"\w[\w'’.,-]*", cell.source))
            continue
        found["code"] += len(code_lines(cell.source))
        found["torch"] += sum("torch" in line or "nn." in line for line in code_lines(cell.source))
        for node in ast.parse(cell.source).body:
            size = len(code_lines("\n".join(cell.source.splitlines()[node.lineno - 1 : node.end_lineno])))
            imports = isinstance(node, (ast.Import, ast.ImportFrom))
            found["imports"] += size * imports
            found["reporting"] += size * (imports or _reports(node))
    return found


def _reports(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    called = node.value.func
    return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) in REPORTING


if __name__ == "__main__":
    for source in sorted(Path(sys.argv[1] if sys.argv[1:] else "notebooks").glob("[0-9A][0-9]_*.py")):
        row = counts(source)
        share = f"{100 * row['reporting'] / row['code']:.0f} %"
        print(f"{source.stem:28}", *(f"{name} {value:<5}" for name, value in row.items()), f"reporting share {share}")
