"""Which cases belong to one subject: by a pattern, a column, a participants table, or a statement."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from hipposeg.data.spec import DataError
from hipposeg.files import reading

NO_RULE = (
    "no rule was given, so every case counts as a subject of its own; if one subject has several cases, they may be "
    "on both sides of a split, and scores are too high"
)
RULES = (
    "pattern:REGEX (its group, or all it matches, in the case's name), column:NAME (of cases.tsv or cases.csv in the "
    "data folder, which has a column `case`), participants[:FILE] (participants.tsv; a case belongs to the "
    "participant_id that its name contains), pairs (odd number and the next), case (each is a subject of its own)"
)


def subjects_of(rule: str, names: Sequence[str], folder: Path) -> tuple[list[str], str]:
    """Apply a subject rule.

    Args:
        rule: one of RULES; "" for none.
        names: of the cases.
        folder: of the data set.

    Returns:
        The subject of each case, and the rule in words.

    Raises:
        DataError: the rule is none of RULES, or a case has no subject by it.
    """
    kind, _, rest = rule.partition(":")
    if not rule:
        return list(names), NO_RULE
    if kind == "case":
        return list(names), "stated: every case is a subject of its own"
    if kind == "pairs":
        numbers = [_matched(r"(\d+)\D*$", name, rule) for name in names]
        return [str((int(number) + 1) // 2) for number in numbers], "numbers (odd, odd + 1) are one subject"
    if kind == "pattern" and rest:
        return [_matched(rest, name, rule) for name in names], f"the part of the case's name that {rest} matches"
    if kind == "column" and rest:
        path = next((path for path in (folder / "cases.tsv", folder / "cases.csv") if path.is_file()), None)
        rows = {row.get("case", ""): row.get(rest) for row in _table(path or folder / "cases.tsv", ("case", rest))}
        return [_looked_up(rows, name, path, rest) for name in names], f"column {rest} of {path.name}"
    if kind == "participants":
        path = Path(rest).expanduser() if rest else folder / "participants.tsv"
        people = [row["participant_id"] for row in _table(path, ("participant_id",)) if row["participant_id"]]
        return [_participant(people, name, path) for name in names], f"the participant_id of {path.name} in the name"
    raise DataError(f"--subjects {rule}: found no such rule, expected one of {RULES}.")


def _matched(pattern: str, name: str, rule: str) -> str:
    try:
        found = re.search(pattern, name)
    except re.error as error:
        raise DataError(f"--subjects {rule}: found no valid regular expression ({error}). Correct it.") from error
    if not found or not found[found.lastindex and 1 or 0]:
        raise DataError(f"case {name}: found no match of `{rule}`, expected one in every case's name. Change the rule.")
    return found[1] if found.lastindex else found[0]


def _table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    if not path.is_file():
        raise DataError(f"{path}: found no such file, expected a table with the columns {', '.join(columns)}.")
    with reading(path, "a table in UTF-8"), path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ",")
        rows, found = list(reader), reader.fieldnames or []
    if missing := [column for column in columns if column not in found]:
        raise DataError(
            f"{path}: found the columns {', '.join(map(str, found)) or 'none'}, expected {', '.join(missing)}, too. "
            "Correct the table (.tsv: tabs, .csv: commas), or the name of the column."
        )
    return rows


def _looked_up(rows: dict[str, str | None], name: str, path: Path, column: str) -> str:
    if not rows.get(name):
        raise DataError(f"{path}: found no {column} of case {name}, expected one for every case. Add it.")
    return rows[name]


def _participant(people: Sequence[str], name: str, path: Path) -> str:
    """The longest identifier that stands in a name between other letters and digits: sub-1 is not in sub-10_T1w."""
    fits = [one for one in people if re.search(rf"(?<![0-9A-Za-z]){re.escape(one)}(?![0-9A-Za-z])", name)]
    if not fits:
        raise DataError(
            f"{path}: found no participant_id that case {name} contains, expected one for every case. Add it, or name "
            "the cases by their participant, such as sub-01_T1w."
        )
    return max(fits, key=len)
