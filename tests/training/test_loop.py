"""The training loop: determinism, and a killed run that resumes to the same bytes."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

from hipposeg.models.unet import UNet
from hipposeg.training.augmentation import Augmentation, Batch, Classic
from hipposeg.training.batches import Samples, batches, drawn
from hipposeg.training.loop import TrainConfig, Training, fit, forward
from hipposeg.training.machine import Machine

MACHINE = Machine("cpu", "fp32", 1)
CONFIG = TrainConfig(epochs=4, batch=4, lr=1e-3, muon=0.02, augmentation=Augmentation(rotate=10, shift=1, noise=0.1))


def samples() -> Samples:
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(10, 16, 16, dtype=torch.uint8)
    for index in range(10):
        labels[index, 4 + index % 3 : 9, 5:11] = 1 + index % 2
    noise = 0.3 * torch.randn(10, 1, 16, 16, generator=generator)
    return Samples(labels[:, None].float() + noise, labels, 3, (1.0, 1.0))


def network(supervised: int = 0) -> UNet:
    torch.manual_seed(0)
    return UNet(2, 1, 3, (4, 8, 8) if supervised else (4, 8), supervised=supervised)


def trained(folder: Path, config: TrainConfig = CONFIG, data=None, seed=0, supervised=0, **options):
    """Train, or resume, in a folder."""
    training = Training(network(supervised), config, MACHINE, seed)
    return fit(training, data or samples(), folder, "k", **options)


def weights(model: torch.nn.Module) -> bytes:
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


def test_a_training_can_end_before_its_schedule(tmp_path):
    whole = replace(CONFIG, epochs=6)
    trained(tmp_path / "whole", whole)
    trained(tmp_path / "part", replace(whole, epochs=4, horizon=1.5))
    lines = [(tmp_path / name / "history.jsonl").read_text().splitlines() for name in ("whole", "part")]
    assert lines[0][:4] == lines[1], "the first four of six epochs, to the last digit"


@pytest.mark.parametrize("empty", [0.0, 0.3, 1.0])
def test_the_share_of_empty_samples_is_as_configured(empty):
    data = samples()
    data.labels[:6] = 0  # six of ten hold nothing
    order = drawn(data, 0, 1, empty)
    found = ~(data.labels[order] > 0).flatten(1).any(1)
    assert len(order) == 10 and found.sum() == round(10 * empty)
    counts = torch.bincount(order, minlength=10)
    for kind, wanted in ((slice(6), round(10 * empty)), (slice(6, 10), 10 - round(10 * empty))):
        assert counts[kind].max() - counts[kind].min() <= 1 and counts[kind].sum() == wanted
    assert sorted(drawn(data, 0, 1).tolist()) == list(range(10)), "without a share, every sample once"
    assert not torch.equal(order, drawn(data, 0, 2, empty)) and torch.equal(order, drawn(data, 0, 1, empty))
    data.labels[:] = 1
    if empty:
        with pytest.raises(ValueError, match="none is empty"):
            drawn(data, 0, 1, empty)


def test_same_command_same_bytes_and_it_learns(tmp_path):
    first, history, _ = trained(tmp_path / "a")
    second, _, _ = trained(tmp_path / "b")
    assert weights(first) == weights(second)
    assert (tmp_path / "a/history.jsonl").read_bytes() == (tmp_path / "b/history.jsonl").read_bytes()
    long, history, _ = trained(tmp_path / "c", replace(CONFIG, epochs=40, lr=1e-2))
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    other, _, _ = trained(tmp_path / "d", seed=1)
    assert weights(other) != weights(first)


class Dropping(torch.nn.Module):
    """A network that keeps what its dropout drew."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.seen = torch.nn.Conv2d(1, 3, 1), []

    def forward(self, images):
        self.seen.append(torch.nn.functional.dropout(torch.ones(64), training=self.training).numpy().tobytes())
        return self.last(images)


def test_dropout_depends_on_seed_epoch_and_step_alone():
    def drawn_by(seed: int) -> list[bytes]:
        training = Training(Dropping(), CONFIG, MACHINE, seed)
        with tqdm(disable=True) as bar:
            for number in (1, 2):
                training.epoch(samples(), number, bar)
        return training.model.seen

    torch.manual_seed(7)
    first, state = drawn_by(0), torch.random.get_rng_state()
    torch.manual_seed(8)
    assert drawn_by(0) == first and not torch.equal(torch.random.get_rng_state(), state)
    assert len({*first, *drawn_by(1)}) == 2 * len(first) == 8, "two epochs of two steps, each with masks of its own"


@pytest.mark.parametrize("changes", [CONFIG.augmentation, Classic(rotate=10, noise=0.1)], ids=["ours", "classic"])
def test_augmentation_depends_on_seed_epoch_and_step(changes):
    """Two samples are the same, so only augmentation can tell their batches apart."""
    one = samples()
    twice = replace(one, images=one.images[[0, 0]], labels=one.labels[[0, 0]])

    def made(seed: int, epoch: int) -> list[bytes]:
        return [batch.images.numpy().tobytes() for _, batch in batches(twice, 1, "cpu", changes, seed, epoch)]

    assert made(0, 1) == made(0, 1)
    assert len({*made(0, 1), *made(0, 2), *made(1, 1)}) == 6


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"muon": 0.0, "loss": "dice+focal"},
        {"schedule": "plateau", "augmentation": Classic(flip=0.5, rotate=10, noise=0.1), "empty": 0.0},
    ],
    ids=str,
)
def test_resume_between_epochs_gives_the_same_bytes(tmp_path, changes):
    config = replace(CONFIG, **changes)
    whole, _, _ = trained(tmp_path / "whole", config, supervised=1)

    class KilledError(Exception):
        pass

    def die_after_epoch_two(model):
        if len((tmp_path / "part/history.jsonl").read_text().splitlines()) == 3:
            raise KilledError
        return {}

    watched = replace(config, watch_every=2)
    with pytest.raises(KilledError):
        trained(tmp_path / "part", watched, supervised=1, watch=die_after_epoch_two)
    resumed, history, _ = trained(tmp_path / "part", config, supervised=1)
    assert weights(resumed) == weights(whole)
    assert [line["epoch"] for line in history] == [1, 2, 3, 4]


def test_points_reach_a_network_that_wants_them_in_millimetres():
    points = torch.tensor([[[[-0.5, 0.5]], [[3.0, 4.0]]]])  # (1, 2, 1, 2) voxels
    batch = Batch(torch.ones(1, 1, 1, 2), torch.ones(1, 3, 1, 2), points)

    class Wants(torch.nn.Module):
        wants_points = True

        def forward(self, images, points):
            return points

    assert forward(Wants(), batch, (2.0, 0.5)).flatten().tolist() == [-1.0, 1.0, 1.5, 2.0]
    assert torch.equal(forward(torch.nn.Identity(), batch, (2.0, 0.5)), batch.images)


def test_checkpoint_of_another_run_is_not_resumed(tmp_path):
    fit(Training(network(), replace(CONFIG, lr=5e-2), MACHINE, 0), samples(), tmp_path, "other")
    assert weights(trained(tmp_path)[0]) == weights(trained(tmp_path / "fresh")[0])


def test_the_history_of_an_ended_training_is_written_again(tmp_path):
    trained(tmp_path)
    before = (tmp_path / "history.jsonl").read_bytes()
    (tmp_path / "history.jsonl").unlink()
    trained(tmp_path)
    assert (tmp_path / "history.jsonl").read_bytes() == before


def test_a_damaged_checkpoint_is_logged_and_costs_no_more_than_time(tmp_path, caplog):
    fresh, _, _ = trained(tmp_path)
    checkpoint = tmp_path / "checkpoint.pt"
    whole = checkpoint.read_bytes()
    middle = len(whole) // 2  # in the weights, where torch's reader checks nothing
    for content in (b"", whole[:-200], b"no checkpoint", whole[:middle] + bytes(64) + whole[middle + 64 :]):
        caplog.clear()
        checkpoint.write_bytes(content)
        again, history, _ = trained(tmp_path)
        assert weights(again) == weights(fresh) and len(history) == CONFIG.epochs
        assert "checkpoint.pt is damaged" in caplog.text


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from dataclasses import replace
from test_loop import CONFIG, trained
trained(Path({folder!r}), replace(CONFIG, epochs=60))
"""


def test_process_killed_at_any_moment_resumes_to_the_same_bytes(tmp_path):
    part = tmp_path / "part"
    script = SCRIPT.format(tests=str(os.path.dirname(__file__)), folder=str(part))
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (part / "history.jsonl").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len((part / "history.jsonl").read_text().splitlines())
    assert 1 <= done < 60, "the run was killed before its first epoch ended, or too late"
    config = replace(CONFIG, epochs=60)
    resumed, history, _ = trained(part, config)
    whole, _, _ = trained(tmp_path / "whole", config)
    assert weights(resumed) == weights(whole)
    assert len(history) == len((part / "history.jsonl").read_text().splitlines()) == 60


def test_diverging_loss_says_so(tmp_path):
    broken = samples()
    broken.images[:] = float("nan")
    with pytest.raises(FloatingPointError, match="training loss became nan"):
        trained(tmp_path, data=broken)


def test_batchnorm_statistics_of_the_average_are_estimated_from_data():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Conv2d(1, 3, 1))
    data = replace(samples(), images=5 + 2 * samples().images)
    training = Training(model, replace(CONFIG, lr=1e-6, epochs=1), MACHINE, 0)
    with tqdm(disable=True) as bar:
        training.epoch(data, 1, bar)
    norm = training.averaged(data)[0]
    assert norm.running_mean.item() == pytest.approx(data.images[:].mean().item(), rel=0.2)
    assert norm.running_mean.item() > 3  # one epoch of momentum 0.1 would have left it below 2
