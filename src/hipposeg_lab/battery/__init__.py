"""What can break, tried: damaged files, a system that refuses, kills, other surroundings, and bugs put into the code.

`make battery` runs it. A seed gives the same trials again. Those that are done on the present sources wait in
`.work/battery/` and are not repeated, so a stopped battery goes on. A trial of the first table ends in one of five
ways:

- clear: an error or a warning names the file;
- harmless: the result is that of the undamaged file, or of a run that nothing disturbed;
- accepted: another result, from a kind of file that has no checksum, such as a header that was written anew;
- silent: another result without a word;
- traceback: an error that the commands do not turn into a sentence.
"""

import json
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hipposeg import files
from hipposeg.workspace import source_hash
from hipposeg_lab.battery import damage, determinism, mutants, system
from hipposeg_lab.battery.damage import OUTCOMES, SILENT, TRACEBACK

TABLES = TABLE, DETERMINISM, MUTANTS = ("battery.csv", "determinism.csv", "mutants.csv")  # below studies/


@dataclass(frozen=True)
class Part:
    """Trials of one kind.

    Attributes:
        table: the table that has its results.
        name: as in that table.
        wanted: number of results.
        trial: its random numbers and the number of results so far -> results of one trial, at least one.
    """

    table: str
    name: str
    wanted: int
    trial: Callable[[np.random.Generator, int], list[Any]]


def parts(folder: Path, kept: Path, seed: int, count: int, killed: int, changed: int) -> list[Part]:
    """All parts; arguments as of `run`. What they need is made in `folder`, or once in `kept`, by their first trial."""
    found = [Part(TABLE, one, count, partial(damage.trial, folder, kept, one)) for one in damage.KINDS]
    found.append(Part(TABLE, "a system that refuses", len(system.REFUSED), partial(system.refused, folder)))
    found.append(Part(TABLE, "two trainings at once", system.PAIRS, partial(system.at_once, folder, kept)))
    for one in system.KILLED:
        found.append(Part(TABLE, f"kills of {one}", killed, partial(system.kills, folder, kept, one)))
    cells = determinism.CELLS
    found.append(Part(DETERMINISM, "determinism", len(cells), partial(determinism.trial, folder, kept)))
    chosen = mutants.sample(changed, seed)
    return [*found, Part(MUTANTS, "mutants", len(chosen), partial(mutants.trial, chosen, kept.parent / "mutants"))]


def run(
    artifacts: Path, work: Path, seed: int = 0, count: int = 200, killed: int = 100, changed: int = 1000,
    minutes: float = float("inf"), only: str = "", say: Callable[[str], None] = print,
) -> int:  # fmt: skip
    """Run the battery, and write its three tables to `artifacts/studies/`.

    Args:
        artifacts: an artifacts folder.
        work: the trials that are done are kept there, in a folder for each seed and state of the sources.
        seed: of the damage, the moments of kills, and the sample of mutants.
        count: trials of each kind of damage.
        killed: kills of a training, and of a smoke run.
        changed: mutants.
        minutes: begin no trial after this time; the next call goes on.
        only: parts whose name contains this.
        say: receives a line for each part.

    Returns:
        1 if a trial was silent or ended in a traceback, else 0.
    """
    until, kept = time.monotonic() + 60 * minutes, work / f"{seed}-{source_hash()[:16]}"
    kept.mkdir(parents=True, exist_ok=True)
    path = kept / "done.json"
    done: dict[str, list[Any]] = json.loads(files.read_cached(path) or b"{}")
    with tempfile.TemporaryDirectory() as name:
        every = parts(Path(name), kept, seed, count, killed, changed)
        for part in [one for one in every if only in one.name]:
            found = done.setdefault(part.name, [])
            try:
                while len(found) < part.wanted and time.monotonic() < until:
                    rng = np.random.default_rng([seed, zlib.crc32(part.name.encode()), len(found)])
                    found += part.trial(rng, len(found))
            finally:
                files.write_cached(path, files.to_json(done).encode())
            say(f"{part.name}: {len(found)} of {part.wanted}")
    return _write(artifacts / "studies", every, done, say)


def _write(folder: Path, every: list[Part], done: dict[str, list[Any]], say: Callable[[str], None]) -> int:
    columns = ("kind", "planned", "trials", *OUTCOMES)
    rows = [
        {"kind": part.name, "planned": part.wanted, "trials": len(done[part.name])}
        | {outcome: done[part.name].count(outcome) for outcome in OUTCOMES}
        for part in every if part.table == TABLE and part.name in done
    ]  # fmt: skip
    files.write_csv(folder / TABLE, columns, rows)
    files.write_csv(folder / DETERMINISM, determinism.COLUMNS, done.get("determinism", []))
    changed = mutants.with_reasons(done.get("mutants", []))
    files.write_csv(folder / MUTANTS, mutants.COLUMNS, changed)
    bad = sum(row[name] for row in rows for name in (SILENT, TRACEBACK))
    say(f"{sum(row['trials'] for row in rows)} trials, {bad} silent or with a traceback.")
    same = sum(not row["differing"] for row in done.get("determinism", []))
    say(f"{same} of {len(done.get('determinism', []))} other surroundings give the same bytes.")
    killed = sum(row["outcome"] == mutants.KILLED for row in changed)
    known = sum(bool(row["reason"]) for row in changed)
    say(f"{killed} of {len(changed)} mutants are killed, {known} others are explained.")
    say(f"The tables are in {folder}")
    return 1 if bad else 0
