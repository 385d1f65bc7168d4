"""What went wrong in a case, said in a sentence that is made from its wrong voxels."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hipposeg.metrics import UNION
from hipposeg.results.load import Run
from hipposeg_lab.studies.errors import REACHES_MM

COLUMNS = ("run", "case", "dice", "words")

KINDS = {
    "swap": "one part taken for the other",
    "false_positive": "too much",
    "missed": "hippocampus missed",
}
BORDERS = {
    "swap": "the border between the parts",
    "false_positive": "the true outline",
    "missed": "the true outline",
}
THIRDS = ("the anterior third", "the middle third", "the posterior third")
WORTH_SAYING = 0.1


def what_went_wrong(wrong: pd.DataFrame, volume_true: float, volume_predicted: float) -> str:
    """One sentence on a case's errors: kinds by their share, how far, where, and what it does to the volume.

    wrong: rows of `errors.wrong_voxels` (kind, position, distance). volume_*: of the whole hippocampus, mm3. A kind
    with less than a tenth of the error is not named. Raises ValueError if the true volume is not positive.
    """
    if not volume_true > 0:
        raise ValueError(f"the true volume is {volume_true} mm3; there is nothing to say about a case without truth")
    if wrong.empty:
        return "No voxel is wrong."
    shares = wrong["kind"].value_counts(normalize=True)
    shares = shares.reindex([kind for kind in KINDS if kind in shares]).sort_values(ascending=False, kind="stable")
    told = []
    for number, (kind, share) in enumerate(shares.items()):
        if number and share < WORTH_SAYING:
            continue
        mine = wrong[wrong["kind"] == kind]
        whole = f"{100 * share:.0f} % of the error"
        told.append(f"{KINDS[kind]}: {whole}, {_reach(mine['distance'])} {BORDERS[kind]}{_third(mine['position'])}")
    text = "; ".join([*told, _volume(volume_predicted / volume_true - 1)])
    return text[0].upper() + text[1:] + "."


def study(runs: Sequence[Run], wrong: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The sentence for every scored case of every run, columns COLUMNS; dice is the mean of the parts.

    wrong: run -> what `errors.of_run` gives.
    """
    rows = []
    for run in runs:
        true, predicted = (run.values(UNION, name) for name in ("volume_true", "volume_predicted"))
        of_case = dict(list(wrong[run.name].groupby("case")))
        for case, dice in run.values().items():
            found = of_case.get(case, wrong[run.name][:0])
            said = what_went_wrong(found, float(true[case]), float(predicted[case]))
            rows.append({"run": run.name, "case": int(case), "dice": dice, "words": said})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _reach(distance: pd.Series) -> str:
    """The smallest reach that holds more than half of the voxels."""
    for reach in REACHES_MM:
        if (distance <= reach * (1 + 1e-9)).mean() > 0.5:
            return f"most of it within {reach:g} mm of"
    return f"most of it farther than {REACHES_MM[-1]:g} mm from"


def _third(position: pd.Series) -> str:
    """Where along the long axis more than half of the voxels lie, if in one third; ends count to their third."""
    third = np.clip(np.floor(position * 3).astype(int), 0, 2)
    counts = np.bincount(third, minlength=3) / len(third)
    return f", in {THIRDS[int(counts.argmax())]}" if counts.max() > 0.5 else ""


def _volume(error: float) -> str:
    """The relative error of the volume in words."""
    if abs(error) < 0.005:
        return "volume right to within half a per cent"
    return f"volume too {'large' if error > 0 else 'small'} by {100 * abs(error):.0f} %"
