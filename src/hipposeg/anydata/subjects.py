"""Which cases belong to one subject: by a pattern, a column, a participants table, or a statement."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hipposeg.data.spec import DataError

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
        rows = _table(path or folder / "cases.tsv", "case", rest)
        found = dict(zip(rows["case"], rows[rest], strict=True))
        if missing := [name for name in names if not found.get(name)]:
            raise DataError(f"{path}: found no {rest} of case {missing[0]}, expected one for every case. Add it.")
        return [found[name] for name in names], f"column {rest} of {path.name}"
    if kind == "participants":
        path = Path(rest).expanduser() if rest else folder / "participants.tsv"
        people = [one for one in _table(path, "participant_id")["participant_id"] if one]
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


def _table(path: Path, *columns: str) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(f"{path}: found no such file, expected a table with the columns {', '.join(columns)}.")
    options = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
    try:
        table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", **options)
    except ValueError as error:  # pandas' errors, and those of the encoding
        raise DataError(f"{path}: found no table ({error}), expected .tsv or .csv in UTF-8. Correct it.") from error
    if missing := [column for column in columns if column not in table]:
        raise DataError(
            f"{path}: found the columns {', '.join(map(str, table))}, expected {', '.join(missing)}, too. "
            "Correct the table (.tsv: tabs, .csv: commas), or the name of the column."
        )
    return table


def _participant(people: Sequence[str], name: str, path: Path) -> str:
    """The longest identifier that stands in a name between other letters and digits: sub-1 is not in sub-10_T1w."""
    fits = [one for one in people if re.search(rf"(?<![0-9A-Za-z]){re.escape(one)}(?![0-9A-Za-z])", name)]
    if not fits:
        raise DataError(
            f"{path}: found no participant_id that case {name} contains, expected one for every case. Add it, or name "
            "the cases by their participant, such as sub-01_T1w."
        )
    return max(fits, key=len)
