"""All studies by name, and the command `hipposeg-lab study`."""

from collections.abc import Sequence

from hipposeg.data import cohort, folds
from hipposeg.data.locate import Source
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import conformal, leaks, making, sensitivity, uncertainty

STUDIES = {one.name: one for one in (leaks.STUDY, sensitivity.BOX, sensitivity.ROBUSTNESS, uncertainty.STUDY)}
# Has one unit, the flagship on all five folds, and compares its weights itself.
CONFORMAL = "conformal"
NAMES = (*STUDIES, CONFORMAL)


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
        print(f"{name}: {study.question if study else conformal.QUESTION}", flush=True)
        if study is None:
            listed = "kept" if (ws.artifacts / conformal.INTERVALS).is_file() else "to make"
            states = {"intervals": listed if listing else conformal.update(context)}
        elif listing:
            states = {unit.name: making.state_of(study, unit, context) for unit in study.units}
        else:
            states = making.make(study, context, lambda text: print(text, flush=True))
        for unit, state in states.items():
            print(f"  {unit:<30} {state}", flush=True)
        complete &= set(states.values()) <= {"kept", "made", "to make"}
    return 0 if complete or listing else 1
