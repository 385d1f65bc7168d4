"""Learning rates over a training, as fractions of their peak, and rules that end it early.

Both are functions of the step and of the history of finished epochs, so a resumed run continues as it would have.
"""

import math
from dataclasses import dataclass
from typing import Any

SCHEDULES = ("one-cycle", "cosine", "restarts", "plateau")

RESTARTS = 3
# What `plateau` waits for: epochs without a new lowest loss, before the rate falls to this part of itself.
PATIENCE, FALL = 1, 0.1


def rate(name: str, step: int, steps: int, warmup: float, history: list[dict[str, Any]]) -> float:
    """Fraction of the peak rate at `step` of `steps`.

    one-cycle: cosine up over the warm-up, cosine down to 0 after it. cosine: down to 0 from the start. restarts: three
    such cosines in a row (Loshchilov and Hutter 2017, arXiv:1608.03983). plateau: constant, a tenth of it after an
    epoch without a new lowest training loss.

    Raises:
        ValueError: there is no such schedule.
    """
    if name == "one-cycle":
        return one_cycle(step, steps, 1.0, warmup)
    if name == "cosine":
        return _cosine(step / steps)
    if name == "restarts":
        return _cosine(step * RESTARTS / steps % 1)
    if name == "plateau":
        return FALL ** falls([line["loss"] for line in history])
    raise ValueError(f"no schedule is called {name!r}; there are {', '.join(SCHEDULES)}")


def one_cycle(step: int, steps: int, peak: float, warmup: float) -> float:
    """Cosine up from peak / 25 over the warm-up, down to 0 after it (Smith and Topin 2018, doi:10.1117/12.2520589)."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return peak / 25 + (peak - peak / 25) * (1 - math.cos(math.pi * step / rise)) / 2
    return peak * _cosine((step - rise) / max(1, steps - rise))


def falls(losses: list[float]) -> int:
    """How often the rate has been lowered: each time PATIENCE epochs in a row brought no new lowest loss."""
    lowest, waited, found = math.inf, 0, 0
    for loss in losses:
        waited = 0 if loss < lowest else waited + 1
        lowest = min(lowest, loss)
        if waited >= PATIENCE:
            found, waited = found + 1, 0
    return found


def _cosine(part: float) -> float:
    return (1 + math.cos(math.pi * part)) / 2


@dataclass(frozen=True)
class StopRule:
    """End training when one of its conditions holds on subjects cut from the training ones; 0 switches one off.

    The weights that are scored are still the running average at that moment.

    Attributes:
        reach: Dice that every class reaches on the inner subjects (as in the HipMRI course work).
        patience: evaluations without a rise of the mean over classes.
        every: epochs between two evaluations.
        people: every how many-th training subject is inner, and not trained on.
    """

    reach: float = 0.0
    patience: int = 0
    every: int = 2
    people: int = 5

    def __post_init__(self) -> None:
        if not 0 <= self.reach <= 1 or self.patience < 0 or self.every < 1 or self.people < 2:
            raise ValueError(f"{self}: reach must be a Dice, patience at least 0, every at least 1, people at least 2")

    def ends(self, history: list[dict[str, Any]]) -> bool:
        """Whether training ends after this history; entries hold "inner" (class -> Dice) where it was evaluated."""
        looks = [list(line["inner"].values()) for line in history if "inner" in line]
        if not looks:
            return False
        if self.reach and min(looks[-1]) >= self.reach:
            return True
        means = [sum(look) / len(look) for look in looks]
        return bool(self.patience) and len(means) - 1 - means.index(max(means)) >= self.patience
