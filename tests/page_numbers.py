"""Parse a page for tests: its tags and numbers, and whether each number equals the file that it refers to."""

import csv
import gzip
import json
import tomllib
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from statistics import median

from hipposeg.experiments.registry import FLAGSHIP
from hipposeg.stats import interval
from hipposeg_lab.studies import published

# kind -> (factor, decimals); other kinds show three decimals of the number as it is.
KINDS = {"millions": ("1e-6", 2), "mm": ("1", 2), "score2": ("1", 2), "correlation": ("1", 2), "bias": ("1", 0),
         "count": ("1", 0), "gflops": ("1", 2), "mm3": ("1", 0), "percent": ("100", 1), "schedule": ("1", 1),
         "voxels": ("1", 1), "seconds": ("1", 2), "times": ("1", 1),
         "nnunet_days": (str(Decimal(1000 * 250) / 86400), 0)}  # fmt: skip
COLUMNS = {"dice": "score", "iou": "score", "nsd1": "score", "hd95": "mm", "volume_bias": "bias", "params": "millions",
           "gflops": "gflops", "train_s": "minutes"}  # fmt: skip
PLACES = ("of", "runs", "cell", "case", "typical", "model", "json", "published")


@dataclass
class Page(HTMLParser):
    """A parsed page: tags with attributes, and (attributes, text) of every <data>.

    A number without place and kind belongs to the run of its table row; the head of its column lists what the first,
    second and third number of a cell are.
    """

    html: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    data: list[tuple[dict[str, str | None], str]] = field(default_factory=list)
    inside: bool = False
    run: str = ""
    heads: list[list[str]] = field(default_factory=list)
    cell: int = -1
    within: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag == "data"
        if tag == "table":
            self.heads = []
        elif tag == "tr":
            self.run, self.cell = dict(attrs).get("data-run") or "", -1
        elif tag in ("th", "td"):
            self.cell, self.within = self.cell + 1, 0
            if dict(attrs).get("scope") == "col":
                self.heads.append((dict(attrs).get("data-fields") or "").split())
        elif self.inside:
            self.data.append((self.completed(dict(attrs)), ""))
            self.within += 1

    def completed(self, attrs: dict[str, str | None]) -> dict[str, str | None]:
        """The attributes of a number, completed from its row and column."""
        if "data-kind" in attrs:
            return attrs
        field_ = self.heads[self.cell][self.within]
        column = field_.rpartition(":")[2].removesuffix("_low").removesuffix("_high")
        place = "data-of" if ":" in field_ else "data-runs"
        return attrs | {place: f"{self.run}:{field_}", "data-kind": COLUMNS[column]}

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.data[-1] = (self.data[-1][0], self.data[-1][1] + data)

    def handle_endtag(self, tag: str) -> None:
        self.inside = False
        self.run = "" if tag == "tr" else self.run

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of one name."""
        return [attrs for name, attrs in self.tags if name == tag]


def expected(text: str, kind: str) -> str:
    """A field of a file as the page must show it, worked out without the package."""
    number = Decimal(text)
    if kind == "auto":
        return _automatic(number)
    factor, places = KINDS.get(kind, ("1", 3))
    value = number / 60 if kind == "minutes" else number * Decimal(factor)
    places = 1 if kind == "minutes" else places
    value = value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    if kind in ("minutes", "schedule", "seconds", "p") and not value:
        return f"under {Decimal(1).scaleb(-places)}"
    sign = "\u2212" if value < 0 else "+" if kind in ("bias", "difference") and value > 0 else ""
    return sign + _grouped(abs(value)) + {"millions": "\u202fM", "percent": "\u202f%"}.get(kind, "")


def _automatic(number: Decimal) -> str:
    sign = "\u2212" if number < 0 else ""
    if number == number.to_integral_value():
        return sign + _grouped(abs(number.to_integral_value()))
    if not Decimal("1e-4") <= abs(number) < 10**6:
        return f"{float(number):.3g}".replace("-", "\u2212")
    places = min(6, max(0, 3 - number.adjusted()))  # four significant digits
    text = _grouped(abs(number.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)))
    return sign + (text.rstrip("0").rstrip(".") if places else text)


def _grouped(value: Decimal) -> str:
    return f"{value:,f}".replace(",", "\u202f") if value >= 10000 else f"{value:f}"


def wrong_numbers(page: Page, artifacts: Path) -> tuple[list[str], dict[str, int]]:
    """Numbers that differ from the file that they refer to, and how many were checked of each place.

    artifacts: the folder of the tables.
    """
    rows.cache_clear(), objects.cache_clear(), ends.cache_clear()
    files = Files(artifacts)
    wrong, checked = [], dict.fromkeys(PLACES, 0)
    for attrs, text in page.data:
        for place in PLACES:
            where = attrs.get(f"data-{place}")
            if where is None:
                continue
            checked[place] += 1
            found = getattr(files, place)(where)
            # A single field must be shown digit for digit; of a mean, the page keeps six decimals.
            shown, near = (found[0], 1e-9) if len(found) == 1 else (attrs["value"], 1e-6)
            mean = sum(map(float, found)) / len(found) if found else float("nan")
            if not abs(float(attrs["value"]) - mean) < near * max(1, abs(mean)):
                wrong.append(f"{where}: the page has {attrs['value']}, the files {mean}")
            elif text != expected(shown, attrs["data-kind"]):
                wrong.append(f"{where}: the page says {text}, not {expected(shown, attrs['data-kind'])}")
    return wrong, checked


class Files:
    """The fields that the places on a page refer to, as text; several where the page shows their mean."""

    def __init__(self, artifacts: Path) -> None:
        self.artifacts = artifacts
        self.by_run = {row["run"]: row for row in rows(artifacts / "runs.csv")}
        self.scores: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
        for row in rows(artifacts / "scores.csv.gz"):
            self.scores.setdefault((row["run"], row["label"]), {})[row["case"]] = row

    def of(self, where: str) -> list[str]:
        run, label, column = where.split(":")
        metric, _, end = column.rpartition("_")
        if end not in ("low", "high"):
            return self.values(run, label, column)
        group = self.scores[run, label].values()
        numbers = tuple(float(value(row, metric) or "nan") for row in group)
        return [str(round(getattr(ends(numbers, tuple(int(row["subject"]) for row in group)), end), 6))]

    def runs(self, where: str) -> list[str]:
        run, column = where.split(":")
        return [self.by_run[run][column]]

    def model(self, where: str) -> list[str]:
        model, label, column = where.split(":")
        seeds = [run for run in (f"{model}.grouped0.s{seed}.standard" for seed in range(9)) if run in self.by_run]
        return [one for run in seeds for one in self.values(run, label, column)]

    def cell(self, where: str) -> list[str]:
        study, row, column = where.split(":")
        name = f"{study}.csv" if study == "comparisons" else f"studies/{study}.csv"
        return [rows(self.artifacts / name)[int(row)][column]]

    def case(self, where: str) -> list[str]:
        case, label, column = where.split(":")
        folds = [self.scores[f"{FLAGSHIP}.grouped{fold}.s0.standard", label] for fold in range(5)]
        return [value(fold[case], column) for fold in folds if case in fold]

    def typical(self, label: str) -> list[str]:
        folds = [self.scores[f"{FLAGSHIP}.grouped{fold}.s0.standard", label] for fold in range(5)]
        return [str(median(abs(Decimal(value(row, "volume_bias"))) for fold in folds for row in fold.values()))]

    def published(self, where: str) -> list[str]:
        at, part = where.split(":")
        text = Path(published.__file__).with_suffix(".toml").read_text(encoding="utf-8")
        return [tomllib.loads(text, parse_float=str)["published"][int(at)][part]]

    def json(self, where: str) -> list[str]:
        name, _, path = where.partition(":")
        found = objects(self.artifacts / name)
        for key in path.split("/"):
            found = found[int(key)] if isinstance(found, list) else found[key]
        return [found]

    def values(self, run: str, label: str, column: str) -> list[str]:
        """A column of a run's cases, without empty fields."""
        return [found for row in self.scores[run, label].values() if (found := value(row, column))]


# A page shows both ends of an interval, one after the other.
ends = cache(interval)


def value(row: dict[str, str], column: str) -> str:
    """A field of scores.csv.gz; the volume error is a difference of two."""
    if column != "volume_bias":
        return row[column]
    return str(Decimal(row["volume_predicted"]) - Decimal(row["volume_true"]))


@cache
def rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@cache
def objects(path: Path) -> object:
    """A JSON file, its numbers as they are written."""
    return json.loads(path.read_text(encoding="utf-8"), parse_float=str, parse_int=str)
