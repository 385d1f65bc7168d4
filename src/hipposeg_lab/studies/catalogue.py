"""All studies by name, and the command `hipposeg-lab study`."""

from collections.abc import Sequence

from hipposeg.data import cohort, folds
from hipposeg.data.locate import Source
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import (
    conformal,
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
    otherdata.STUDY,
)
STUDIES = {one.name: one for one in _ALL}
# Studies of one unit, which decide themselves what to keep: question, and file below artifacts.
SINGLE = {
    "conformal": (conformal.QUESTION, conformal.INTERVALS),
    "heads": (heads.QUESTION, f"studies/{heads.TABLE}"),
    "networks": (shown.QUESTION, shown.TABLE),
    "learning": (learning.QUESTION, learning.TABLE),
}
ALONE = {"heads": heads.update, "networks": shown.update}  # need no data
WITH_DATA = {"conformal": conformal.update, "learning": learning.update}
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
        study = STUDIES.get(name)
        print(f"{name}: {study.question if study else SINGLE[name][0]}", flush=True)
        if study is None:
            state = "kept" if (ws.artifacts / SINGLE[name][1]).is_file() else "to make"
            if not listing:
                state = ALONE[name](ws) if name in ALONE else WITH_DATA[name](context)
            states = {"all": state}
        elif listing:
            states = {unit.name: making.state_of(study, unit, context) for unit in study.units}
        else:
            states = making.make(study, context, lambda text: print(text, flush=True))
        for unit, state in states.items():
            print(f"  {unit:<30} {state}", flush=True)
        complete &= set(states.values()) <= {"kept", "made", "to make"}
    return 0 if complete or listing else 1
