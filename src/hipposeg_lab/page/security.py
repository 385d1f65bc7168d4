"""The results block of SECURITY.md: what `make battery` and `make coverage` found."""

from pathlib import Path

from hipposeg.workspace import Workspace
from hipposeg_lab import battery
from hipposeg_lab.battery.damage import OUTCOMES
from hipposeg_lab.battery.mutants import KILLED
from hipposeg_lab.page import readme
from hipposeg_lab.page.artifacts import ReportError, Row, read_rows
from hipposeg_lab.page.numbers import show

COVERAGE = "coverage.txt"


def expected_block(ws: Workspace) -> str:
    """The block, markers included, from `studies/`. Raises ReportError on a damaged or missing file."""
    folder = ws.artifacts / "studies"
    tried, surroundings, mutants = (read_rows(folder / one) for one in battery.TABLES)
    killed = sum(row["outcome"] == KILLED for row in mutants)
    known = sum(bool(row["reason"]) for row in mutants)
    lines = [
        *_table(tried),
        "",
        *_surroundings(surroundings),
        f"- Small bugs put into the code (`mutants.csv`): the tests notice {show(killed)} of {show(len(mutants))}; "
        f"{show(known)} of the others have a reason.",
        f"- Lines and branches of the package that tests reach: {_covered(folder / COVERAGE)}.",
    ]
    return "\n".join([readme.BEGIN, *lines, readme.END])


def _table(rows: tuple[Row, ...]) -> list[str]:
    columns = ("trials", *OUTCOMES)
    lines = [f"| {' | '.join(('tried', *columns))} |", f"|---|{'---:|' * len(columns)}"]
    for row in rows:
        lines.append(f"| {' | '.join((row['kind'], *(show(row[name]) for name in columns)))} |")
    return lines


def _surroundings(rows: tuple[Row, ...]) -> list[str]:
    lines = []
    for command in dict.fromkeys(row["command"] for row in rows):
        mine = [row for row in rows if row["command"] == command]
        other = [row["surroundings"] for row in mine if row["differing"]]
        lines.append(
            f"- `{command}` in other surroundings (`determinism.csv`): the same bytes in "
            f"{show(len(mine) - len(other))} of {show(len(mine))}"
            + (f"; others: {', '.join(other)}." if other else ".")
        )
    return lines


def _covered(path: Path) -> str:
    """The last number of coverage's report, such as 96.1 %."""
    try:
        total = path.read_text(encoding="utf-8").split()[-1]
        return show(float(total.removesuffix("%")) / 100, "percent")
    except (OSError, IndexError, ValueError) as error:
        raise ReportError(f"{path} is no report of coverage ({error}); run `make coverage`") from error
