"""Training on slices with captions (CLIP), or with the same facts as numbers (its control).

A contrastive loss treats every other caption of the batch as wrong. So a batch holds at most one slice of each subject,
and no two slices with equal facts. Order, augmentation and wording depend on (seed, epoch, step) alone, so this
training resumes like any other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator, Tensor

from hipposeg.data.captions import Facts, attributes, caption
from hipposeg.training.augmentation import Batch
from hipposeg.training.batches import Samples, changed, seeded
from hipposeg.training.loop import Training

# What a network can learn of the facts; `TrainConfig.loss` names one.
CONTRASTIVE, ATTRIBUTES = "contrastive", "attributes"
LOSSES = (CONTRASTIVE, ATTRIBUTES)


@dataclass(frozen=True, kw_only=True)
class Captioned(Samples):
    """Slices with the facts that captions state.

    Attributes:
        people: (N,) int64 subject numbers.
        facts: one for each slice.
        names: of the foreground classes, in order.
    """

    people: Tensor
    facts: tuple[Facts, ...]
    names: tuple[str, ...]


def drawn(samples: Captioned, size: int, generator: Generator) -> list[int]:
    """Indices of a batch: one slice each of `size` random subjects, or of all if there are fewer.

    No two slices have equal facts; a subject without a free slice is skipped.
    """
    subjects = samples.people.unique()
    chosen, taken = [], set()
    for subject in subjects[torch.randperm(len(subjects), generator=generator)[:size]]:
        own = (samples.people == subject).nonzero().flatten()
        for index in own[torch.randperm(len(own), generator=generator)].tolist():
            if samples.facts[index] not in taken:
                taken.add(samples.facts[index])
                chosen.append(index)
                break
    return chosen


class Contrasting(Training):
    """Training of a network with `loss(images, said)`: captions as tokens, or attributes (B, A)."""

    def batches(self, samples: Captioned, number: int) -> Iterator[tuple[int, Batch]]:
        """Yield (step, batch) of one epoch, with as many steps as showing every slice once would take."""
        for step in range(max(1, len(samples.images) // self.config.batch)):
            generator = seeded(self.seed, number, step)
            chosen = drawn(samples, self.config.batch, generator)
            images, labels = (part[chosen].to(self.machine.device) for part in (samples.images, samples.labels))
            batch = changed(images, labels, samples.n_classes, self.config.augmentation, generator)
            said = [samples.facts[index] for index in chosen]
            if self.config.loss == CONTRASTIVE:
                words = np.random.default_rng(seeded(self.seed, number, step, "words").initial_seed())
                context = self.model.tokens([caption(one, words) for one in said])
            else:
                context = torch.from_numpy(np.stack([attributes(one, samples.names) for one in said]))
            yield step, replace(batch, context=context.to(self.machine.device))

    def loss(self, batch: Batch, samples: Captioned) -> Tensor:
        """Loss of one batch."""
        with self.machine.autocast():
            return self.model.loss(batch.images, batch.context)
