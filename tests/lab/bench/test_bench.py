"""The benchmark: which cells run again, training times, claims; peers need not be installed."""

from types import SimpleNamespace

import pytest
import torch

from hipposeg.data import folds
from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.experiments.registry import RunSpec
from hipposeg.files import read_json, write_json
from hipposeg.models.unet import UNet
from hipposeg.training.machine import Machine
from hipposeg.training.optimiser import rate
from hipposeg.workspace import Workspace, project_root
from hipposeg_lab.bench import cells, dynunet, nnunet, ours, probes, summary, system
from hipposeg_lab.bench.cells import Cell

MACHINE = Machine("cpu", "fp32", 1)
SETTING = {"machine": "made up", "threads": 1}


@pytest.fixture
def out(tmp_path, monkeypatch):
    monkeypatch.setenv("HIPPOSEG_OUT", str(tmp_path))
    return tmp_path / "artifacts" / "bench"


def look(minutes, dice, train_s=None):
    """One system at one schedule: four cases of two subjects."""
    values = {str(case): {"mean": dice + 0.001 * case} for case in range(1, 5)}
    mean = {"value": dice, "low": dice - 0.01, "high": dice + 0.01}
    subjects = {case: (int(case) + 1) // 2 for case in values}
    spent = 60 * minutes if train_s is None else train_s
    return {"minutes": minutes, "train_s": spent, "steps": 9, "dice": {"mean": mean}, "cases": values,
            "subjects": subjects}  # fmt: skip


def finished(kind, system_name="", **more):
    """A cell's file."""
    return {"key": "k", "kind": kind, "system": system_name, "setting": SETTING, "busy_before": 0.01, **more}


def speed(kind, step_s, volumes, predict_s, gflop, **more):
    """Times of a system, without its name."""
    found = finished(kind, step_s=step_s, predict_s_per_volume=predict_s, train_s_per_volume=step_s / volumes)
    return found | {"gflops": gflop / step_s, **more}


@pytest.fixture
def made_up(out):
    """A folder of a finished benchmark with invented numbers."""
    races = {
        "ours.5": [look(5, 0.88)], "ours.15": [look(15, 0.885, train_s=1000)],
        "nnunet-shortened.5": [look(5, 0.84)], "nnunet-shortened.15": [look(15, 0.86)],
        "nnunet-released.5-15": [look(5, 0.7), look(15, 0.89)],
        "dynunet-shortened.5": [look(5, 0.7)], "dynunet-shortened.15": [look(15, 0.7)],
        "dynunet-released.5-15": [look(5, 0.5), look(15, 0.6)],
    }  # fmt: skip
    content = {
        "peak": finished("peak", bf16_gflops=200.0),
        "predict": finished("predict", median_s=6.5),
        "models.04": finished("models", "04", models={"unet3d": {"step_s": 0.3}}),
        "throughput.ours": speed("throughput", 0.5, 1, 0.5, 50.0, system="ours", busy_before=0.2),
        **{f"race.{name}": finished("race", name.split(".")[0], looks=looks) for name, looks in races.items()},
    }
    for name, cell in content.items():
        write_json(out / f"{name}.json", cell)
    return out


def test_cells_cover_every_system_and_time(monkeypatch):
    names = {cell.name for cell in cells.all_cells()}
    assert len(names) == len(cells.all_cells()) == 22
    for minutes in (5, 15, 30):
        assert {f"race.{s}.{minutes}" for s in ("ours", "nnunet-shortened", "dynunet-shortened")} <= names
    assert {"race.nnunet-released.5-15-30", "race.dynunet-released.5-15-30"} <= names
    monkeypatch.setattr(cells.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match="nnunetv2 is not installed; `make bench` installs it"):
        cells.need_peers([Cell("throughput", "nnunet-bf16")])
    cells.need_peers([Cell("throughput", "ours")])
    monkeypatch.setattr(cells, "this_machine", lambda: Machine("cuda", "bf16", 1))
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES"):
        cells.bench_machine()


def test_key_follows_machine_time_and_system(monkeypatch):
    cell = Cell("race", "ours", (5.0,))
    keys = {
        cells.key(cell, MACHINE),
        cells.key(cell, Machine("cpu", "bf16", 1)),
        cells.key(Cell("race", "ours", (15.0,)), MACHINE),
        cells.key(Cell("race", "nnunet-shortened", (5.0,)), MACHINE),
    }
    monkeypatch.setattr(cells, "processor_name", lambda: "another processor")
    keys.add(cells.key(cell, MACHINE))
    monkeypatch.setattr(cells.metadata, "version", lambda _: "0")
    keys.add(cells.key(cell, MACHINE))
    assert len(keys) == 6


def test_finished_cells_are_skipped_and_outdated_ones_run_again(out, monkeypatch):
    ran, code = [], 0

    def answer(command, **_):
        ran.append(command)
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(cells.subprocess, "run", answer)
    todo = [Cell("peak"), Cell("race", "ours", (5.0,))]
    write_json(out / "peak.json", {"key": cells.key(todo[0], MACHINE)})
    write_json(out / "race.ours.5.json", {"key": "of another day"})
    assert [cells.state(cell, MACHINE, out) for cell in todo] == ["done", "outdated"]
    assert cells.run_all(todo, MACHINE, out) == []
    assert [command[command.index("--inside") + 1 :] for command in ran] == [["race.ours.5"]]
    monkeypatch.setattr(cells, "processor_name", lambda: "Intel(R) Xeon(R) Processor @ 2.1GHz")
    where = cells.quick_folder(MACHINE)
    assert where == out / "intel-xeon-processor-2-1ghz-fp32", "one for each kind of CPU"
    code = 1
    assert cells.run_all(cells.quick_cells()[:1], MACHINE, where) == ["peak"] and ran[-1][-1] == "--quick"


def test_kinds_of_cpus_stand_side_by_side_with_ratios_of_each(out):
    below = out / "a-cpu-fp32"
    write_json(out / "peak.json", finished("peak"))
    write_json(below / "peak.json", finished("peak", fp32_gflops=150.0))
    write_json(below / "quick.predict.json", finished("quick", "predict", median_s=9.0, further_s=3.0))
    write_json(below / "quick.ours-fp32.json", speed("quick", 0.5, 2, 0.6, 60.0, schedule_minutes=14.0))
    write_json(below / "quick.nnunet.json", speed("quick", 18.0, 9, 3.0, 1000.0))
    whole, small = summary.write(out)["kinds"]
    assert (whole["first_s"], whole["systems"], whole["schedule_minutes"]) == (None, {}, {})
    assert (small["first_s"], small["further_s"], small["schedule_minutes"]) == (9.0, 3.0, {"fp32": 14.0})
    assert small["systems"]["ours"]["share_of_peak"] == pytest.approx(120 / 150)
    assert small["systems"]["nnunet"]["times_ours"] == pytest.approx({"train_s_per_volume": 8.0})


class Clockwork:
    """A peer whose every step takes 7 seconds."""

    def __init__(self):
        self.now, self.shares = 0.0, []

    def spend(self, share):
        self.shares.append(share)

    def step(self):
        self.now += 7


def test_peers_are_stopped_by_the_clock_and_looks_cost_nothing():
    peer = Clockwork()

    def look_at():
        peer.now += 1000
        return {"dice": 1}

    looks = system.train_by_clock(peer, [2, 1], False, look_at, lambda: peer.now)
    assert [(found["minutes"], found["train_s"], found["steps"]) for found in looks] == [(1, 63, 9), (2, 126, 18)]
    assert peer.shares == []
    system.train_by_clock(peer, [1], True, dict, lambda: peer.now)
    assert peer.shares[0] == 0 and len(peer.shares) == 9 and peer.shares[-1] == pytest.approx(56 / 60)
    stages = [dynunet.stage_at(share) for share in (0, 0.9, 0.92, 0.999)]
    assert stages == [0, 0, 1, 1], "the second stage ends a shortened schedule"


def test_steps_and_predictions_are_timed_after_a_warm_up(monkeypatch):
    peer = Clockwork()
    monkeypatch.setattr(probes.time, "perf_counter", lambda: peer.now)
    assert probes.step_seconds(peer, 20.0, least=2, warm_up=1) == [7, 7, 7] and peer.now == 28
    peer.predict = lambda image: setattr(peer, "now", peer.now + image)
    assert probes.predict_seconds(peer, [9, 1, 2]) == 2


def test_bf16_peers_return_float32_losses_can_use():
    layer = torch.nn.Conv3d(1, 2, 3)
    system.in_bf16(layer)
    found = layer(torch.ones(1, 1, 4, 4, 4))
    assert found.dtype == torch.float32
    assert torch.equal(found, found.bfloat16().float()), "computed in bf16"


def test_the_predictor_is_timed_as_a_command(monkeypatch, tmp_path):
    now, took, commands = [0.0], iter([9.0, 3.0, 1.0, 2.0, 8.0, 4.0]), []

    def run(command, check):
        assert check and commands.append(command) is None
        now[0] += next(took)

    monkeypatch.setattr(probes.subprocess, "run", run)
    monkeypatch.setattr(probes.time, "perf_counter", lambda: now[0])
    found = probes.command_seconds([tmp_path / "scan.nii.gz"])
    assert found == {"seconds": [3, 1, 2, 8, 4], "median_s": 3}, "the first warms up"
    assert len(commands) == 6 and commands[0][3:6] == ["predict", str(tmp_path / "scan.nii.gz"), "-o"]
    monkeypatch.setattr(probes, "command_seconds", lambda images, runs: {"median_s": {1: 9.0, 3: 15.0}[len(images)]})
    assert probes.further_seconds([tmp_path / name for name in "abc"], 3) == {"median_s": 9.0, "further_s": 3.0}


def test_peak_memory_and_other_load_are_plausible():
    found = probes.peak(("bf16", "fp32"), sizes=(64, 96), seconds=0.01)
    assert found["bf16_gflops"] > 0 and found["fp32_gflops"] > 0
    assert 20 < probes.peak_memory()["peak_mb"] < 1e6
    # 100 s of two processors: 150 s busy, of which 120 s were the cell's own; 15 % of all went to others.
    assert probes.others_share((0, 0, 0), (200, 150, 120)) == 0.15
    assert probes.others_share(None, (200, 150, 120)) is None


@pytest.fixture
def first_fold(phantom_people):
    """A phantom of five subjects and its first fold."""
    found = phantom_people(5)
    return found.cohort, found.folds["grouped"][0]


def test_our_schedule_follows_the_clock_and_every_epoch_draws_all_samples(tmp_path, monkeypatch, first_fold):
    monkeypatch.setattr(ours, "initial", lambda run, spec: UNet(3, 1, 3, (2, 4)))
    racer = ours.Ours(*first_fold, Workspace(tmp_path, "phantom", "smoke"), MACHINE, RunSpec("unet3d-fast"))
    seen, rates, train = [], [], racer.training.epoch

    def epoch(samples, number, bar):
        seen.append(samples.images)
        rates.append(train(samples, number, bar)["lr"])

    monkeypatch.setattr(racer.training, "epoch", epoch)
    shares = [step / (racer.steps_per_epoch * 2) for step in range(racer.steps_per_epoch * 2)]
    for share in shares:
        racer.spend(share)
        racer.step()
    config = racer.config
    expected = [
        rate(config.schedule, round(1e6 * share), round(1e6 * config.horizon), config.warmup, []) for share in shares
    ]
    assert rates == pytest.approx([config.lr * one for one in expected], rel=1e-3)
    first, second = (torch.cat(seen[i : i + racer.steps_per_epoch]) for i in (0, racer.steps_per_epoch))
    assert len({one.numpy().tobytes() for one in first}) == len(first), "every sample once"
    assert not torch.equal(first, second), "in another order"


def test_models_that_train_alike_are_timed_once(tmp_path, monkeypatch, first_fold):
    timed = {run.model for run in ours.timed("03")}
    assert "unet2d" in timed and not any("imagenet" in model or model.startswith("search-") for model in timed)
    assert "unet2d-fusion" not in timed, "an ensemble trains nothing"
    monkeypatch.setattr(ours, "timed", lambda notebook: [RunSpec("unet3d-fast"), RunSpec("unet3d-short")])
    rounds = iter(([0.1, 0.2], [0.6]))
    monkeypatch.setattr(ours.probes, "step_seconds", lambda system, seconds: next(rounds))
    found = ours.model_times("03", *first_fold, Workspace(tmp_path, "phantom", "smoke"), MACHINE)["models"]
    fast, short = found["unet3d-fast"], found["unet3d-short"]
    assert fast["step_s"] == 0.2, "the median of all rounds"
    config, people = RunSpec("unet3d-fast").definition.training("standard"), len(first_fold[1]["train"])
    minutes = config.epochs * max(1, people // config.batch) * 0.2 / 60
    assert fast["schedule_minutes"]["standard"] == short["schedule_minutes"]["standard"] == pytest.approx(minutes)


def test_an_ensemble_takes_the_time_of_its_members():
    minutes = {"unet2d": 1, "unet2d-axis0": 2, "unet2d-axis2": 4}
    members = {"models": {name: {"schedule_minutes": {"standard": at}} for name, at in minutes.items()}}
    idle = summary.idle_minutes(members)
    assert idle["unet2d-fusion"] == 7 and idle["unet2d+views"] == 1
    assert summary.standard_minutes(members) == minutes, "the page names what was measured"


def test_summary_compares_with_the_stronger_peer(made_up):
    found = summary.write(made_up)
    assert found == read_json(made_up / "summary.json") == summary.write(made_up), "its own file is no cell"
    assert list(summary.read(made_up.parents[1])["race"]) == ["5", "15"] and summary.read(made_up) == {}
    first, second = found["claims"]["5"], found["claims"]["15"]
    assert first["stronger"] == "nnunet-shortened"
    assert first["difference"] == pytest.approx(0.04) and first["within_budget"]
    assert first["ahead"], "what disturbed a throughput cell did not disturb the race"
    assert second["stronger"] == "nnunet-released" and not second["ahead"] and not second["within_budget"]
    assert list(found["race"]) == ["5", "15"] and "cases" not in found["race"]["5"]["ours"]
    assert found["throughput"]["ours"]["share_of_bf16_peak"] == pytest.approx(0.5)
    assert found["models"] == {"unet3d": {"step_s": 0.3}} and found["predict_s"] == 6.5
    busy = {name: read_json(made_up / f"{name}.json") | {"busy_during": 0.3} for name in ("models.04", "predict")}
    disturbed = summary.summarise(busy)
    assert disturbed["models"] == {} and "predict_s" not in disturbed, (
        "times beside other work are not an idle machine's"
    )
    assert found["settings"] == [SETTING] and found["busy"] == 0.2
    words = summary.in_words(found)
    assert words.startswith("Other programs used up to 20%")
    assert "5 minutes: ours better than nnunet-shortened" in words and "trained for longer" in words
    ours_5 = finished("race", "ours", looks=[look(5, 0.88)])
    write_json(made_up / "race.ours.5.json", ours_5 | {"busy_during": 0.3})
    beside = summary.write(made_up)
    assert not beside["claims"]["5"]["ahead"] and "not idle" in summary.in_words(beside)
    write_json(made_up / "race.ours.5.json", ours_5 | {"setting": {"machine": "other"}})
    assert list(summary.write(made_up)["claims"]) == ["15"], "systems of two machines are not compared"
    (made_up / "race.dynunet-released.5-15.json").unlink()
    assert summary.write(made_up)["claims"] == {}, "the stronger peer is known when all four are there"


def test_summary_of_nothing_and_of_other_cases():
    empty = summary.summarise({})
    assert summary.in_words(empty).startswith("No training time")
    other = look(5, 0.9)
    other["cases"] = {"9": {"mean": 0.9}}
    rows = {name: {**look(5, 0.8), "idle": True, "setting": SETTING} for name in ("ours", *summary.PEERS)}
    with pytest.raises(ValueError, match="have different test cases"):
        summary.claim(rows | {"nnunet-released": {**other, "idle": True, "setting": SETTING}})


def cohort_of(numbers):
    cases = {number: SimpleNamespace(name=f"hippocampus_{number:03d}") for number in numbers}
    return SimpleNamespace(cases=cases)


def test_other_folds_than_ours_are_refused():
    numbers = list(range(1, 41))
    cohort = cohort_of(numbers)
    wanted = folds.make(MSD_HIPPOCAMPUS, numbers)["nnunet"]
    names = [[cohort.cases[number].name for number in wanted[0][part]] for part in ("train", "scored")]
    nnunet.check_fold(names, cohort, wanted[0])
    with pytest.raises(ValueError, match="nnU-Net's train cases begin"):
        nnunet.check_fold(names, cohort, wanted[1])


def test_bench_lock_adds_to_the_other_lock_and_changes_nothing():
    held, added = (
        {line.split("==")[0] for line in (project_root() / name).read_text().splitlines() if "==" in line}
        for name in ("requirements.lock", "requirements-bench.lock")
    )
    assert "nnunetv2" in added and not held & added
