"""The front page, the laboratory and the executed notebooks as HTML, built from a workspace's artifacts alone.

The front page is one file. The laboratory links figures of artifacts/figures beside it. Nothing else is loaded, by this
code or by the pages. The same artifacts and source give the same bytes; the pages carry hashes, and no date.
"""

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from hipposeg import files
from hipposeg.workspace import Workspace, source_hash
from hipposeg_lab.page import notebooks
from hipposeg_lab.page.artifacts import ReportError, load
from hipposeg_lab.page.context import page_context
from hipposeg_lab.page.front import front_context
from hipposeg_lab.page.numbers import MISSING, THIN, interval, show
from hipposeg_lab.page.pictures import VENDOR
from hipposeg_lab.page.view import RunRow

log = logging.getLogger(__name__)

TEMPLATES = Path(__file__).parent / "templates"
MAX_BYTES = 3_000_000
# Parts of each page's style and script, in the order in which they are inlined.
STYLES = {
    "front": ("base", "front", "plot", "tables", "viewer", "print"),
    "laboratory": ("base", "laboratory", "plot", "tables", "print"),
    "notebook": ("base", "notebook", "print"),
}
SCRIPTS = {
    "front": ("page", "plot", "volumes", "slices", "mesh", "surface", "explorer", "draw"),
    "laboratory": ("page", "table", "zoom"),
    "notebook": (),
}


def laboratory(ws: Workspace) -> Path:
    """The second page: everything that the front page leaves out."""
    return ws.artifacts / "page" / "laboratory.html"


def build(ws: Workspace, source: str | None = None) -> Path:
    """Write all pages of `ws` and return the front page's path.

    source: hash of the code that made it, by default of this checkout. The pages name notebooks that have not run.
    Raises ReportError on a damaged artifact and where a file would be too large.
    """
    art, at = load(ws), laboratory(ws)
    shared = page_context(art, at) | {"source": source if source is not None else source_hash()}
    content = {
        ws.page: render("front", shared | front_context(art, shared)).encode(),
        at: render("laboratory", shared | {"three_licence": (VENDOR / "LICENSE").read_text("utf-8")}).encode(),
    }
    for path, html in content.items():
        if len(html) > MAX_BYTES:
            raise ReportError(
                f"{path.name} would have {len(html) / 1e6:.1f} MB, at most {MAX_BYTES / 1e6:.0f} are allowed"
            )
    chapters = {chapter.name: chapter for chapter, _ in shared["chapters"]}
    notebooks.write(art, at.parent / "notebooks", lambda name, body: render(
        "notebook", shared | {"chapter": chapters[name], "body": Markup(body), "front": f"../{shared['front']}"}
    ))  # fmt: skip
    for path, html in content.items():
        files.write_bytes(path, html)
        log.info("%s: %.2f MB", path, len(html) / 1e6)
    return ws.page


def render(page: str, context: dict[str, Any]) -> str:
    """The HTML of one of the pages in STYLES."""
    style = {"css": inlined("css", STYLES[page]), "js": inlined("js", SCRIPTS[page])}
    return _environment().get_template(f"{page}.html.j2").render(context | style)


@cache
def _environment() -> Environment:
    """The templates, each compiled once, and what they call."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, lstrip_blocks=True
    )  # fmt: skip
    made.filters["codes"] = _codes
    made.filters["pretty"] = lambda value: files.to_json(value).rstrip()
    made.filters["percent"] = lambda value: round(100 * value, 2)
    made.globals |= {"num": number, "span": span, "scored": scored, "show": show, "thin": THIN}
    return made


def _codes(text: str) -> Markup:
    """Text with names between backticks, as HTML."""
    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts))


def inlined(kind: str, names: Sequence[str]) -> Markup:
    """The named files of templates/<kind>, one after the other."""
    return Markup("\n").join(Markup((TEMPLATES / kind / f"{n}.{kind}").read_text(encoding="utf-8")) for n in names)


def number(value: Any, kind: str = "auto", origin: str = "", place: str = "of") -> Markup:
    """A number as `<data value=...>`: the text is rounded by `show`, the attribute holds the value before.

    Args:
        value: the number.
        kind: of `numbers.KINDS`.
        origin: where the number is stored, kept as `data-<place>` so that a check can look it up.
        place: what `origin` means. "of": `<run>:<label>:<column>`, the mean over the run's cases in scores.csv.gz, or
            with `_low` or `_high` behind the column an end of its interval. "case": `<case>:<label>:<column>` of
            scores.csv.gz, in the one of the flagship's five folds that tests the case. "typical": `<label>`, the median
            over all cases, out of fold, of the absolute volume error. "model": `<model>:<label>:<column>`, the mean
            over its seeds. "runs": `<run>:<column>` of runs.csv. "cell": `<study>:<row>:<column>`. "json": `<file below
            artifacts>:<path>/<in>/<it>`. "published": `<row>:<field>` of published.toml. "column": no origin is kept;
            in the table of all runs `data-run` of the row and `data-fields` of the column's head give it.
    """
    text = show(value, kind)
    if text == MISSING:
        return Markup('<span class="na">{}</span>').format(text)
    if isinstance(value, (bool, str)):
        return escape(text)
    of = Markup("") if place == "column" else Markup(' data-kind="{}"').format(kind)
    of += Markup(' data-{}="{}"').format(place, origin) if origin and of else ""
    return Markup('<data value="{}"{}>{}</data>').format(value, of, text)


def scored(row: RunRow, label: str, column: str, kind: str, place: str = "of") -> Markup:
    """A score of a run, see `number`."""
    return number(row.get(label, column), kind, f"{row.name}:{label}:{column}", place)


def span(row: RunRow, label: str, metric: str, kind: str, place: str = "of") -> Markup:
    """`0.878 to 0.889`: both ends of a score's interval, see `number`."""
    low, high = row.get(label, f"{metric}_low"), row.get(label, f"{metric}_high")
    if interval(low, high, kind) == MISSING:
        return Markup('<span class="na">no interval</span>')
    return Markup(" to ").join(scored(row, label, f"{metric}_{side}", kind, place) for side in ("low", "high"))
