"""Early stopping, judged on subjects cut from the training ones, never on a scored case.

A rule is a function of the history alone, so a resumed run stops where an uninterrupted one does. It ends a training;
the weights that are scored are still the running average at that moment.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StopRule:
    """End training when one of its conditions holds; 0 switches a condition off.

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
