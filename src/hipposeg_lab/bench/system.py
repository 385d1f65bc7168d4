"""What benchmarked systems share: an interface, bf16 for peers, and the loop that trains for a given time.

A system, ours or a peer's, has `step()`, one training step with the waiting for its data; `spend(share)`, which sets
rates for a training that ends at share 1; `loaded(case)`, a test case as its predictor takes it; `predict(image)`, from
that to a mask uint8 (X, Y, Z) on the native grid, with test-time augmentation; `close()`, which ends its workers; and
`volumes_per_step`, the volumes of a step (or patches, which are about as large here).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# Steps before the clock starts.
WARM_UP = 2


def in_bf16(network: nn.Module) -> None:
    """Let a network's forward pass run under bf16 autocast and return float32, so that its loss stays in float32."""
    forward = network.forward

    def reduced(*args: Tensor) -> Tensor | list[Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = forward(*args)
        return [item.float() for item in outputs] if isinstance(outputs, (list, tuple)) else outputs.float()

    network.forward = reduced


def train_by_clock(
    system: Any, marks: Sequence[float], fitted: bool, look: Callable[[], dict[str, Any]], clock: Callable[[], float]
) -> list[dict[str, Any]]:
    """Train a system until each mark (minutes) and evaluate it there with `look`.

    Only training seconds count: steps with the waiting for their data, without evaluations and the first steps, in
    which loaders start and kernels are chosen. A training ends with the step that passes its mark. fitted: the system's
    schedule is shortened to end at the last mark.

    Returns:
        One dictionary a mark, with minutes, train_s, steps, and what `look` returned.
    """
    spent, steps, found = 0.0, 0, []
    for _ in range(WARM_UP):
        system.step()
    for mark in sorted(marks):
        while spent < 60 * mark:
            if fitted:
                system.spend(spent / (60 * max(marks)))
            started = clock()
            system.step()
            spent += clock() - started
            steps += 1
        found.append({"minutes": mark, "train_s": spent, "steps": steps, **look()})
    return found
