"""project.html: one self-contained page, built from a workspace's artifacts alone.

Nothing is fetched, by this code or by the page: figures travel as data URIs, style and script are inlined. The same
artifacts and source give the same bytes; the page carries a source hash, and neither date nor commit.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from hipposeg import files
from hipposeg.workspace import Workspace, source_hash
from hipposeg_lab.page.artifacts import Artifacts, ReportError, load, visible
from hipposeg_lab.page.context import page_context
from hipposeg_lab.page.numbers import MISSING, THIN, interval, show
from hipposeg_lab.page.view import RunRow

log = logging.getLogger(__name__)

TEMPLATES = Path(__file__).parent / "templates"
MAX_BYTES = 8_000_000
# Parts of the page's style and script, in the order in which they are inlined.
STYLES = ("base", "hero", "tables", "figures", "plot", "viewer", "print")
SCRIPTS = ("page", "table", "plot", "volumes", "slices", "mesh", "surface", "explorer", "zoom")


def build(ws: Workspace, source: str | None = None) -> Path:
    """Write the page of `ws` and return its path.

    source: hash of the code that made it, by default of this checkout. The page names notebooks that have not run.
    Raises ReportError on a damaged artifact and above 8 MB.
    """
    html = render(load(ws), source if source is not None else source_hash())
    content = html.encode()
    if len(content) > MAX_BYTES:
        raise ReportError(
            f"the page would have {len(content) / 1e6:.1f} MB, at most {MAX_BYTES / 1e6:.0f} are allowed. "
            f"Largest figures: {_largest(ws)}. Save them with fewer points, at a lower dpi, or as png instead of svg"
        )
    files.write_bytes(ws.page, content)
    log.info("%s: %.2f MB", ws.page, len(content) / 1e6)
    return ws.page


def _largest(ws: Workspace) -> str:
    found = sorted([*visible(ws.figures, ".png"), *visible(ws.figures, ".svg")], key=lambda p: -p.stat().st_size)
    return ", ".join(f"{path.name} ({path.stat().st_size / 1e6:.1f} MB)" for path in found[:3])


def render(art: Artifacts, source: str) -> str:
    """The page's HTML. Raises ReportError as `build` does, apart from the size."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, lstrip_blocks=True
    )
    environment.filters["codes"] = _codes
    environment.filters["pretty"] = lambda value: files.to_json(value).rstrip()
    style = {"css": inlined("css", STYLES), "js": inlined("js", SCRIPTS)}
    tools = {"num": number, "span": span, "scored": scored, "show": show, "thin": THIN}
    return environment.get_template("page.html.j2").render(page_context(art) | style | tools | {"source": source})


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
            scores.csv.gz, in the one of the flagship's five folds that tests the case. "model":
            `<model>:<label>:<column>`, the mean over its seeds. "runs": `<run>:<column>` of runs.csv. "cell":
            `<study>:<row>:<column>`. "json": `<file below artifacts>:<path>/<in>/<it>`. "column": no origin is kept; in
            the table of all runs `data-run` of the row and `data-fields` of the column's head give it.
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
