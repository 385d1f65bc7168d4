"""Where a training step's time goes, by kind of operation: the same question to every system."""

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

from hipposeg.training.batches import AUGMENTING

# Kind -> parts of the names of torch's operations; an operation counts for the first kind that has it.
KINDS = {
    "convolution, backward": ("convolution_backward",),
    "convolution, forward": ("convolution",),
    "norms": ("batch_norm", "instance_norm"),
    "activations and softmax": ("leaky_relu", "softmax", "nll_loss", "cross_entropy"),
    "resampling": ("grid_sampler", "upsample", "avg_pool"),
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "einsum"),
}
OTHER = "copies, sums and the rest"


def kind_of(name: str) -> str:
    """The kind of an operation, by its name in torch's profile."""
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), OTHER)


def shares(step: Callable[[], None], steps: int = 3) -> tuple[dict[str, float], float]:
    """Kind of operation -> its share of the processor time of a few training steps, adding up to 1; and augmentation's.

    Time that an operation spends in others is theirs; augmentation is made of many kinds, so its share is of another
    cut. What happens in loader processes is not seen, so a peer's augmentation is 0.
    """
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(steps):
            step()
    totals, augmenting = dict.fromkeys((*KINDS, OTHER), 0.0), 0.0
    for event in found.key_averages():
        totals[kind_of(event.key)] += event.self_cpu_time_total
        augmenting += event.cpu_time_total if event.key == AUGMENTING else 0.0
    whole = sum(totals.values())
    return {kind: total / whole for kind, total in totals.items()}, augmenting / whole
