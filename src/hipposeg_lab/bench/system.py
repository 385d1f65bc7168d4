"""The interface of a benchmarked system, ours or a peer's, and the loop that trains it for a given time."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

# Steps before the clock starts.
WARM_UP = 2


class System(Protocol):
    """A segmentation system in training, whose schedule can follow the clock.

    Attributes:
        volumes_per_step: volumes of a training step (or patches, which are about as large here).
        passes: forward passes of a prediction, mirror images included.
    """

    volumes_per_step: float
    passes: int

    def spend(self, share: float) -> None:
        """Set rates for a training that ends at share 1; called before every step of a fitted schedule."""

    def step(self) -> None:
        """Run one training step, from waiting for its data to the new weights."""

    def loaded(self, case: int) -> Any:
        """A test case's image as the predictor takes it; reading is not timed."""

    def predict(self, image: Any, mirrored: bool = True) -> np.ndarray:
        """From `loaded` to a mask uint8 (X, Y, Z) on the native grid; `mirrored` is the peers' default."""

    def close(self) -> None:
        """End its workers."""


def in_bf16(network: nn.Module) -> None:
    """Let a network's forward pass run under bf16 autocast and return float32, so that its loss stays in float32."""
    forward = network.forward

    def reduced(*args: Tensor) -> Tensor | list[Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = forward(*args)
        return [item.float() for item in outputs] if isinstance(outputs, (list, tuple)) else outputs.float()

    network.forward = reduced


def train_by_clock(
    system: System, marks: Sequence[float], fitted: bool, look: Callable[[], dict[str, Any]], clock: Callable[[], float]
) -> list[dict[str, Any]]:
    """Train a system until each mark and evaluate it there.

    Only training seconds count: steps with the waiting for their data, without evaluations and the first steps, in
    which loaders start and kernels are chosen. A training ends with the step that passes its mark.

    Args:
        system: the system.
        marks: minutes of training.
        fitted: shorten the system's schedule so that it ends at the last mark.
        look: evaluates the system.
        clock: monotonic seconds.

    Returns:
        One dictionary a mark, with minutes, train_s, steps, and what `look` returned.
    """
    spent, steps, found = 0.0, 0, []
    whole = 60 * max(marks)
    for _ in range(WARM_UP):
        system.step()
    for mark in sorted(marks):
        while spent < 60 * mark:
            if fitted:
                system.spend(spent / whole)
            started = clock()
            system.step()
            spent += clock() - started
            steps += 1
        found.append({"minutes": mark, "train_s": spent, "steps": steps, **look()})
    return found
