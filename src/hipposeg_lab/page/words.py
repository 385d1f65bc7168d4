"""Words that do not depend on any number, from templates/words.toml, which describes each table."""

import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Chapter:
    """A notebook's place on the page. name: as in facts/<name>.json. question: what it answers."""

    name: str
    title: str
    question: str

    @property
    def number(self) -> str:
        """`07` of `07_evaluation`."""
        return self.name.split("_")[0]


_DATA = tomllib.loads((Path(__file__).parent / "templates" / "words.toml").read_text(encoding="utf-8"))
CHAPTERS = tuple(Chapter(**one) for one in _DATA["chapters"])
CHANGES, FASHIONS, EFFECTS, LEAKING = (_DATA[name] for name in ("changes", "fashions", "effects", "leaking"))
RACERS, GROUPS, WIDTHS = (_DATA[name] for name in ("racers", "groups", "widths"))
PRACTICES, LEAKS = _DATA["practices"], _DATA["leaks"]


def short(title: str, width: int = 0) -> str:
    """The name in a model's title: `Flagship` of "Flagship: 3D U-Net trained ...", the whole title if it has no colon.

    A colon inside parentheses does not count. width: characters of a line, for labels of figures; 0 for one line.
    """
    name, colon, _ = title.partition(": ")
    name = name if colon and "(" not in name else title
    return textwrap.fill(name, width) if width else name
