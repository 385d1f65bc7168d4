"""All studies by name, and the command `hipposeg-lab study`."""

from collections.abc import Sequence

from hipposeg.data import cohort, folds
from hipposeg.data.locate import Source
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import (
    conformal,
    curves,
    few,
    heads,
    leaks,
    learning,
    making,
    otherdata,
    placed,
    sensitivity,
    shown,
    uncertainty,
)

_ALL = (
    *(leaks.STUDY, sensitivity.BOX, sensitivity.ROBUSTNESS, uncertainty.STUDY, placed.CROPS, placed.SIZES),
    curves.STUDY,
    otherdata.STUDY,
    few.STUDY,
)
STUDIES = {one.name: one for one in _ALL}
# Studies of one unit, which decide themselves what to keep: question, file below artifacts, and what updates it.
SINGLE = {
    "conformal": (conformal.QUESTION, conformal.INTERVALS, conformal.update),
    "card": (placed.CARD, "studies/placed.csv", placed.write_card),
    "heads": (heads.QUESTION, f"studies/{heads.TABLE}", lambda context: heads.update(context.ws)),
    "networks": (shown.QUESTION, shown.TABLE, lambda context: shown.update(context.ws)),
    "learning": (learning.QUESTION, learning.TABLE, learning.update),
}
NAMES = (*STUDIES, *SINGLE)


def run(source: Source, ws: Workspace, names: Sequence[str], everything: bool, listing: bool) -> int:
    """Update studies, or only list them with the state of each unit; return 1 if a unit was left out, else 0.

    Raises:
        ValueError: an unknown name, or none.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown or not (names or everything or listing):
        found = f"there is no study {', '.join(unknown)}" if unknown else "no study was named"
        raise ValueError(f"{found}; choose among {', '.join(NAMES)}, or --all")
    data, complete = cohort.load(source), True
    context = making.context_of(ws, data, folds.read_or_write(ws.folds, data))
    for name in NAMES if everything or not names else dict.fromkeys(names):
        question, file, update = SINGLE.get(name) or (STUDIES[name].question, "", None)
        print(f"{name}: {question}", flush=True)
        if update and listing:
            states = {"all": "kept" if (ws.artifacts / file).is_file() else "to make"}
        elif update:
            states = {"all": update(context)}
        elif listing:
            states = {unit.name: making.state_of(STUDIES[name], unit, context) for unit in STUDIES[name].units}
        else:
            states = making.make(STUDIES[name], context, lambda text: print(text, flush=True))
        for unit, state in states.items():
            print(f"  {unit:<30} {state}", flush=True)
        complete &= set(states.values()) <= {"kept", "made", "to make"}
    return 0 if complete or listing else 1
