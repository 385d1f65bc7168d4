"""All studies by name, and the command `hipposeg-lab study`."""

from collections.abc import Sequence

from hipposeg.data import cohort, folds
from hipposeg.data.locate import Source
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import conformal, leaks, making, placed, sensitivity, uncertainty
from hipposeg_lab.studies.making import Context

_ALL = (leaks.STUDY, sensitivity.BOX, sensitivity.ROBUSTNESS, uncertainty.STUDY, placed.CROPS, placed.SIZES)
STUDIES = {one.name: one for one in _ALL}
# Has one unit, the flagship on all five folds, and compares its weights itself.
CONFORMAL = "conformal"
NAMES = (*STUDIES, CONFORMAL)


def run(source: Source, ws: Workspace, names: Sequence[str], everything: bool, listing: bool) -> int:
    """Update studies, or only list them with the state of each unit.

    Returns:
        1 if a unit was left out, else 0.

    Raises:
        ValueError: an unknown name, or none.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown or not (names or everything or listing):
        found = f"there is no study {', '.join(unknown)}" if unknown else "no study was named"
        raise ValueError(f"{found}; choose among {', '.join(NAMES)}, or --all")
    data = cohort.load(source)
    context = making.context_of(ws, data, folds.read_or_write(ws.folds, data))
    complete = True
    for name in NAMES if everything or not names else dict.fromkeys(names):
        print(f"{name}: {STUDIES[name].question if name in STUDIES else conformal.QUESTION}", flush=True)
        if name == CONFORMAL:
            states = {"intervals": _intervals(context, listing)}
        elif listing:
            states = {unit.name: making.state_of(STUDIES[name], unit, context) for unit in STUDIES[name].units}
        else:
            states = making.make(STUDIES[name], context, lambda text: print(text, flush=True))
        for unit, state in states.items():
            print(f"  {unit:<30} {state}", flush=True)
        complete &= set(states.values()) <= {"kept", "made", "to make"}
    return 0 if complete or listing else 1


def _intervals(context: Context, listing: bool) -> str:
    """Compute the conformal intervals, unless they are only listed; return their state."""
    if listing:
        return "kept" if (context.ws.artifacts / conformal.INTERVALS).is_file() else "to make"
    try:
        print(f"  The card is {conformal.write(context)}; the package keeps its own.", flush=True)
    except FileNotFoundError as error:
        return str(error)
    return "made"
