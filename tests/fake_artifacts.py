"""Artifacts as the notebooks leave them, in small, for tests of what reads them; and what tests ask of a page."""

import csv
import json
import struct
import zlib
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from html.parser import HTMLParser
from pathlib import Path

from hipposeg.config import Workspace
from hipposeg.files import write_csv, write_json, write_text
from hipposeg.report.words import CHAPTERS, FLOOR

METRICS = ("dice", "iou", "nsd1", "nsd2", "hd95", "msd", "volume_bias", "volume_abs_error")
LABELS = ("anterior", "posterior", "mean", "union")
SVG = b"""<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 36"><path id="a" d="M0 0L9 9"/></svg>"""
SCORED, TRAINED = (1, 2, 5, 9), (3, 4, 7, 11)


def png() -> bytes:
    """A grey picture of 300 x 150 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" + b"\x80" * 300 for _ in range(150)))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 300, 150, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def result(run: str, arm: str, dice: float, **other: object) -> list[dict]:
    """The four rows of one run; distances and volumes are made from its Dice."""
    rows = []
    for shift, label in zip((0.01, -0.01, 0.0, 0.02), LABELS, strict=True):
        values = {"dice": dice + shift, "nsd1": 0.95, "hd95": 3 * (1 - dice), "volume_bias": -12345.4 * (1 - dice)}
        row = {"run": run, "arm": arm, "notebook": "03", "dims": 2, "folds": "grouped", "fold": 0, "seed": 0,
               "budget": "standard", "device": "cpu", "torch": "2.15.0", "params": 482000, "gflops": 1.9,
               "steps": 2340, "label": label, "n": len(SCORED), "n_nan": 0, "older": False, **other}  # fmt: skip
        for metric in METRICS:
            value = values.get(metric, 0.5)
            row |= {metric: value, f"{metric}_low": value - 0.0123, f"{metric}_high": value + 0.0145}
        rows.append(row)
    return rows


def fill(ws: Workspace) -> Workspace:
    """Artifacts as the notebooks leave them: floor, two networks, an older run, and one on other folds."""
    rows = [
        *result("unet2d.grouped0.s0.standard", "unet2d", 0.8835),
        *result("unet2d-mobilenetv3.grouped0.s0.standard", "unet2d-mobilenetv3", 0.85),
        *result(f"{FLOOR}.grouped0.s0.standard", FLOOR, 0.7075, params=0),
        *result("scse2d.grouped0.s0.standard", "scse2d", 0.891, older=True),
        *result("unet2d.nnunet0.s0.standard", "unet2d", 0.899, folds="nnunet"),
    ]
    write_csv(ws.artifacts / "results.csv", list(rows[0]), rows)
    cases = [
        {"run": row["run"], "case": case, "subject": (case + 1) // 2, "label": row["label"], "dice": row["dice"]}
        for row in rows for case in SCORED
    ]  # fmt: skip
    write_csv(ws.artifacts / "cases.csv", list(cases[0]), cases)
    for run in sorted({row["run"] for row in rows}):
        config = {"run": run, "device": "cpu", "threads": 2, "precision": "bfloat16", "torch": "2.15.0+cpu"}
        write_json(ws.artifacts / "runs" / run / "config.json", config)
        history = "\n".join(json.dumps({"epoch": epoch, "loss": 1 / epoch}) for epoch in (1, 2, 3))
        write_text(ws.artifacts / "runs" / run / "history.jsonl", history + "\n")
    trained = {"device": "cpu", "threads": 2, "machine": "Test CPU"}
    times = [{"kind": "run", "name": "unet2d.grouped0.s0.standard", "train_s": 432.1, **trained}]
    times += [{"kind": "notebook", "name": chapter.name, "total_s": 60.0} for chapter in CHAPTERS]
    columns = ("kind", "name", "train_s", "total_s", "device", "threads", "machine")
    write_csv(ws.artifacts / "timings.csv", columns, times)
    fold = {"train": list(TRAINED), "scored": list(SCORED)}
    leaky = {"train": [2, 3, 4, 7, 9], "scored": [1, 5, 10, 11]}
    write_json(ws.folds, {"grouped": [fold], "nnunet": [leaky], "dev": [fold], "n_cases": 8, "n_people": 6})
    for chapter in CHAPTERS:
        for kind, content in (("png", png()), ("svg", SVG)):
            path = ws.figures / f"{chapter.number}_some-{kind}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        figures = [
            {"file": f"{chapter.number}_some-{kind}.{kind}", "caption": f"Caption <{kind}>", "alt": f'A "{kind}"'}
            for kind in ("png", "svg")
        ]
        write_json(ws.figures / f"{chapter.name}.json", figures)
        write_json(ws.artifacts / "facts" / f"{chapter.name}.json", {"some_number": 0.12345, "sizes": [31, 40, 24]})
    return ws


@dataclass
class Page(HTMLParser):
    """What the tests ask of a page: tags with attributes, and (attributes, text) of every <data>."""

    html: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    data: list[tuple[dict[str, str | None], str]] = field(default_factory=list)
    inside: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag == "data"
        if self.inside:
            self.data.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.data[-1] = (self.data[-1][0], self.data[-1][1] + data)

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of one name."""
        return [attrs for name, attrs in self.tags if name == tag]


def expected(text: str, kind: str) -> str:
    """A CSV field as the page must show it, worked out without the package."""
    scale, places = {"millions": ("1e-6", 2), "mm": ("1", 2), "bias": ("1", 0), "count": ("1", 0),
                     "gflops": ("1", 2)}.get(kind, ("1", 3))  # fmt: skip
    value = (Decimal(text) * Decimal(scale)).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    sign = "\u2212" if value < 0 else "+" if kind == "bias" and value > 0 else ""
    digits = f"{abs(value):f}"
    if abs(value) >= 10000:
        digits = f"{abs(value):,}".replace(",", "\u202f")
    return sign + digits + ("\u202fM" if kind == "millions" else "")


def wrong_numbers(page: Page, results: Path) -> list[str]:
    """Every number of the page that names its place in results.csv and is not what stands there."""
    with results.open(newline="") as stream:
        table = {(row["run"], row["label"]): row for row in csv.DictReader(stream)}
    wrong, checked = [], 0
    for attrs, text in page.data:
        if of := attrs.get("data-of"):
            run, label, column = of.rsplit(":", 2)
            wanted = table[run, label][column]
            checked += 1
            if text != expected(wanted, attrs["data-kind"]) or float(attrs["value"]) != float(wanted):
                wrong.append(f"{of}: page says {text}, file says {wanted}")
    return wrong if checked else ["no number on the page says where it comes from"]
