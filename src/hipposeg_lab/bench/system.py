"""The interface of a benchmarked system, ours or a peer's, and the loop that trains it for a given time."""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

# Steps of a peer before its clock starts.
WARM_UP = 2


class System(Protocol):
    """A segmentation system in training.

    Attributes:
        volumes_per_step: volumes of a training step (or patches, which are about as large here).
        passes: forward passes of a prediction, mirror images included.
    """

    volumes_per_step: float
    passes: int

    def step(self) -> None:
        """Run one training step, from waiting for its data to the new weights."""

    def loaded(self, case: int) -> Any:
        """A test case's image as the predictor takes it; reading is not timed."""

    def predict(self, image: Any, mirrored: bool = True) -> np.ndarray:
        """From `loaded` to a mask uint8 (X, Y, Z) on the native grid; `mirrored` is the peers' default."""

    def close(self) -> None:
        """End its workers."""


class Peer(System, Protocol):
    """A system whose schedule can follow the clock."""

    def spend(self, share: float) -> None:
        """Set rates for a training that ends at share 1; called before every step."""


def in_bf16(network: nn.Module) -> None:
    """Let a network's forward pass run under bf16 autocast and return float32, so that its loss stays in float32."""
    forward = network.forward

    def reduced(*args: Tensor) -> Tensor | list[Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = forward(*args)
        return [item.float() for item in outputs] if isinstance(outputs, (list, tuple)) else outputs.float()

    network.forward = reduced


def train_by_clock(
    peer: Peer, marks: Sequence[float], fitted: bool, look: Callable[[], dict[str, Any]], clock: Callable[[], float]
) -> list[dict[str, Any]]:
    """Train a system until each mark and evaluate it there.

    Only training seconds count: steps with the waiting for their data, without evaluations and the first steps, in
    which loaders start and kernels are chosen. A training ends with the step that passes its mark.

    Args:
        peer: the system.
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
        peer.step()
    for mark in sorted(marks):
        while spent < 60 * mark:
            if fitted:
                peer.spend(spent / whole)
            started = clock()
            peer.step()
            spent += clock() - started
            steps += 1
        found.append({"minutes": mark, "train_s": spent, "steps": steps, **look()})
    return found


def timed_steps(system: System, seconds: float = 60.0, least: int = 5, warm_up: int = 2) -> list[float]:
    """Seconds of each training step, during about `seconds` and at least `least` steps after a warm-up."""
    for _ in range(warm_up):
        system.step()
    found: list[float] = []
    while len(found) < least or sum(found) < seconds:
        started = time.perf_counter()
        system.step()
        found.append(time.perf_counter() - started)
    return found
