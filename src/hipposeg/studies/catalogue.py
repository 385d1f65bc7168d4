"""Every study that `hipposeg study` makes, by name, and the command's work."""

from collections.abc import Sequence

from hipposeg.config import Workspace
from hipposeg.data import cohort, folds
from hipposeg.data.locate import Source
from hipposeg.studies import leaks, making, sensitivity, uncertainty
from hipposeg.studies.making import Study

STUDIES: dict[str, Study] = {
    one.name: one for one in (leaks.STUDY, sensitivity.BOX, sensitivity.ROBUSTNESS, uncertainty.STUDY)
}


def chosen(names: Sequence[str], everything: bool) -> list[Study]:
    """The studies of these names, or all. Raises ValueError for a name that there is not, or without any."""
    unknown = [name for name in names if name not in STUDIES]
    if unknown or not (names or everything):
        found = f"no study is called {', '.join(unknown)}" if unknown else "no study was named"
        raise ValueError(f"{found}; there are {', '.join(STUDIES)}, and --all takes every one")
    return list(STUDIES.values()) if everything else [STUDIES[name] for name in dict.fromkeys(names)]


def run(source: Source, ws: Workspace, names: Sequence[str], everything: bool, listing: bool) -> int:
    """Make studies, or only list them all with the state of each unit; returns 1 if something had to be left out."""
    wanted = list(STUDIES.values()) if listing and not names else chosen(names, everything)
    people = cohort.load(source)
    context = making.context_of(ws, people, folds.read_or_write(ws.folds, people))
    left_out = 0
    for study in wanted:
        print(f"{study.name}: {study.question}", flush=True)
        if listing:
            states = {unit.name: making.state_of(study, unit, context) for unit in study.units}
        else:
            states = making.make(study, context, lambda text: print(text, flush=True))
        for name, state in states.items():
            print(f"  {name:<30} {state}", flush=True)
        left_out += sum(state not in ("kept", "made", "to make") for state in states.values())
    return 1 if left_out and not listing else 0
