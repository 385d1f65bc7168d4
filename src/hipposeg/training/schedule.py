"""Learning rates over a training, as fractions of their peak.

A schedule is a function of the step and of the history of finished epochs, so a resumed run continues as it would have.
"""

import math
from typing import Any

SCHEDULES = ("one-cycle", "cosine", "restarts", "plateau")

RESTARTS = 3
# What `plateau` waits for: epochs without a new lowest loss, before the rate falls to this part of itself.
PATIENCE, FALL = 1, 0.1


def rate(name: str, step: int, steps: int, warmup: float, history: list[dict[str, Any]]) -> float:
    """Fraction of the peak rate at `step` of `steps`.

    one-cycle: cosine up over the warm-up, cosine down to 0 after it. cosine: down to 0 from the start. restarts: three
    such cosines in a row (Loshchilov and Hutter 2017, arXiv:1608.03983). plateau: constant, a tenth of it after an
    epoch without a new lowest training loss; usually it watches validation slices, which here are also the score.

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
    """Learning rate at a step: cosine up from peak / 25 over the warm-up, cosine down to 0 after it.

    After Smith and Topin 2018 (doi:10.1117/12.2520589), without the cycle of the momentum.
    """
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
