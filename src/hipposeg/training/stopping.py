"""When to stop before the schedule ends. Rules read an inner part of the training people, never a scored case.

A rule is a function of the history alone, so a resumed run stops where an uninterrupted one does. The weights that are
scored are still the running average at the moment of stopping: a rule ends a training, it picks no checkpoint.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StopRule:
    """End training when one of its conditions holds; a condition at 0 is switched off.

    reach: every class has this Dice on the inner part (as the HipMRI course work did). patience: the mean over classes
    has not risen for this many looks. every: epochs between two looks. people: every how many-th training person is
    inner, and not trained on.
    """

    reach: float = 0.0
    patience: int = 0
    every: int = 2
    people: int = 5

    def __post_init__(self) -> None:
        if not 0 <= self.reach <= 1 or self.patience < 0 or self.every < 1 or self.people < 2:
            raise ValueError(f"{self}: reach must be a Dice, patience at least 0, every at least 1, people at least 2")

    def ends(self, history: list[dict[str, Any]]) -> bool:
        """Whether training ends after this history; its lines hold "inner", class -> Dice, where a look was taken."""
        looks = [list(line["inner"].values()) for line in history if "inner" in line]
        if not looks:
            return False
        if self.reach and min(looks[-1]) >= self.reach:
            return True
        means = [sum(look) / len(look) for look in looks]
        return bool(self.patience) and len(means) - 1 - means.index(max(means)) >= self.patience
