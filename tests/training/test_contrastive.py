"""Contrastive training: what a batch holds, that it learns, and that it repeats and resumes to the same bytes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hipposeg.data.captions import BEHIND, Facts, caption
from hipposeg.models.clip import hippoclip
from hipposeg.training.augmentation import Augmentation
from hipposeg.training.batches import seeded
from hipposeg.training.contrastive import CONTRASTIVE, Captioned, Contrasting, drawn
from hipposeg.training.loop import TrainConfig, fit
from hipposeg.training.machine import Machine

MACHINE = Machine("cpu", "fp32", 1)
CONFIG = TrainConfig(epochs=3, batch=6, lr=2e-3, average=0.5, loss=CONTRASTIVE, augmentation=Augmentation(noise=0.1))
SMALL = {"embed": 8}


def samples(people=12, each=4):
    """Slices whose brightness tells their place: each subject has the places 0, 30, 60 and 90, and so on."""
    generator = torch.Generator().manual_seed(0)
    facts = [Facts(30 * n, ("anterior",), 100, "small") for n in range(each - 1)] + [Facts(BEHIND, ())]
    images = torch.cat([0.1 * torch.randn(each, 1, 40, 40, generator=generator) for _ in range(people)])
    images += torch.arange(each).repeat(people).view(-1, 1, 1, 1) - each / 2
    labels = torch.zeros(len(images), 40, 40, dtype=torch.uint8)
    return Captioned(
        images, labels, 3, (1.0, 1.0), people=torch.arange(people).repeat_interleave(each),
        facts=tuple(facts * people), names=("anterior", "posterior"),
    )  # fmt: skip


def network(build=hippoclip):
    torch.manual_seed(0)
    return build(1, 3, **SMALL)


def weights(model):
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


def trained(folder, config=CONFIG, build=hippoclip, seed=0):
    return fit(Contrasting(network(build), config, MACHINE, seed), samples(), folder, "k")


def test_a_batch_has_no_subject_and_no_facts_twice():
    data = samples(people=12, each=6)
    for seed in range(30):
        chosen = drawn(data, 5, seeded(seed))
        assert len(chosen) == len({int(data.people[index]) for index in chosen}) == 5
        assert len({data.facts[index] for index in chosen}) == 5
    chosen = [drawn(data, 5, seeded(seed)) for seed in range(200)]
    assert {index for one in chosen for index in one} == set(range(72)), "every slice has its turn"
    assert drawn(data, 5, seeded(1)) == drawn(data, 5, seeded(1)) != drawn(data, 5, seeded(2))


def test_batches_depend_on_seed_and_epoch():
    """All slices of a subject look the same here, so only augmentation can tell two batches of it apart."""
    data = samples(people=1)
    data.images[:] = data.images[:1].clone()

    def made(seed, number):
        training = Contrasting(network(), CONFIG, MACHINE, seed)
        return [batch.images.numpy().tobytes() for _, batch in training.batches(data, number)]

    assert made(0, 1) == made(0, 1) and len({*made(0, 1), *made(0, 2), *made(1, 1)}) == 3


def test_same_command_same_bytes_and_resumed_too(tmp_path):
    first, history, _ = trained(tmp_path / "a")
    assert [line["step"] for line in history] == [8, 16, 24], "48 slices, 6 a step"
    second, _, _ = trained(tmp_path / "b")
    assert weights(first) == weights(second)

    class Killed(Contrasting):
        def epoch(self, samples, number, progress):
            if number == 2:
                raise KeyboardInterrupt
            return super().epoch(samples, number, progress)

    with pytest.raises(KeyboardInterrupt):
        fit(Killed(network(), CONFIG, MACHINE, 0), samples(), tmp_path / "c", "k")
    resumed, again, _ = trained(tmp_path / "c")
    assert weights(resumed) == weights(first) and again == history
    assert weights(trained(tmp_path / "d", seed=1)[0]) != weights(first)


def test_it_learns_to_tell_slices_by_their_captions(tmp_path):
    model, history, _ = trained(tmp_path, replace(CONFIG, epochs=60))
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    data = samples(people=1)
    with torch.inference_mode():
        texts = model.read([caption(said, np.random.default_rng(99)) for said in data.facts])
        found = (model.tower(data.images) @ texts.T).argmax(1)
        assert (found == torch.arange(4)).sum() >= 3, "by chance, all but one are right in 5 % of trainings"
