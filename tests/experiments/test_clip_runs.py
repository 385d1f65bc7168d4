"""Runs of CLIPs and of what they guide: one needs the other, and both learn from the same people."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from guided import GUIDE, RUN

from hipposeg.data.captions import AREA_STEP, SETS
from hipposeg.experiments import RunSpec, guidance, plan, weights
from hipposeg.experiments.registry import MODELS, run_key
from hipposeg.experiments.run import folder_of, teachers_seconds, train
from hipposeg.experiments.samples import make_samples, shared
from hipposeg.experiments.zoo_clip import SHARES
from hipposeg.models import guided, published
from hipposeg.results import load
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace

MACHINE = Machine("cpu", "fp32", 1)


def test_the_guide_is_trained_first_and_its_tower_stays(eight, guided_run):
    ws, result = guided_run
    assert replace(RUN, model="hippoclip") == GUIDE and load.get(ws, GUIDE.name)
    tower = weights.finished(GUIDE, eight.cohort.spec, ws.work / "runs").tower.state_dict()
    led = weights.finished(RUN, eight.cohort.spec, ws.work / "runs")
    assert all(torch.equal(value, tower[name]) for name, value in led.tower.state_dict().items())
    said = guidance.class_prompts("geometric", RUN, eight.cohort, eight.folds["grouped"][0]["train"])
    text = weights.finished(GUIDE, eight.cohort.spec, ws.work / "runs").vectors(said)
    assert torch.allclose(led.classes, text, atol=1e-6)
    assert result.config["source"] == "trained here on captions from labels"
    assert np.allclose(result.config["cosines"], (text @ text.T).numpy(), atol=2e-4)
    # The averaged network lags behind the last one.
    assert guided.FIRST_SCALE < result.config["scale"] <= result.history[-1]["scale"]
    assert list(result.config["config"]["guide"]) == ["hippoclip"]


def test_costs_count_the_guide(eight, guided_run):
    ws, result = guided_run
    took = [weights.state_in(folder_of(one, ws))["row"]["train_s"] for one in (RUN, GUIDE)]
    assert took[0] > took[1] == teachers_seconds(RUN, ws.work / "runs") > 0
    led = weights.finished(RUN, eight.cohort.spec, ws.work / "runs")
    frozen = sum(weight.numel() for weight in led.tower.parameters())
    assert result.config["params"] == sum(weight.numel() for weight in led.parameters()) > frozen > 0
    clip = weights.finished(GUIDE, eight.cohort.spec, ws.work / "runs")
    assert load.get(ws, GUIDE.name).config["params"] == sum(weight.numel() for weight in clip.parameters())


def test_permuted_labels_of_the_scored_cases_change_no_prediction(eight, guided_run, tmp_path):
    _, result = guided_run
    cases = dict(eight.cohort.cases)
    for number in eight.folds["grouped"][0]["scored"]:
        label = cases[number].label
        cases[number] = replace(cases[number], label=np.where(label > 0, 3 - label, 0)[::-1].copy())
    swapped = replace(eight.cohort, cases=cases, sha256="permuted")
    other = train(RUN, swapped, eight.folds, Workspace(tmp_path, "phantom", "smoke"))
    assert all(np.array_equal(other.masks[number], mask) for number, mask in result.masks.items())
    assert other.config["weights_sha256"] == result.config["weights_sha256"]
    assert not other.rows["volume_true"].equals(result.rows["volume_true"]), "the labels really were others"


def test_captions_go_with_their_slices(eight):
    prep, cases = MODELS["hippoclip"].prep, eight.folds["grouped"][0]["train"]
    images = {number: case.image for number, case in eight.cohort.cases.items()}
    samples = guidance.captioned(make_samples(images, eight.cohort, prep, cases), eight.cohort, prep, cases)
    assert len(samples.facts) == len(samples.images) == len(samples.people)
    for label, said in zip(samples.labels, samples.facts, strict=True):
        assert {"anterior": 1, "posterior": 2}.keys() & set(said.parts) == {
            name for name, value in (("anterior", 1), ("posterior", 2)) if (label == value).any()
        }
        visible = float((label > 0).sum())
        assert said.area == pytest.approx(max(visible, AREA_STEP) if visible else 0.0, abs=AREA_STEP / 2)
    subjects = [eight.cohort.cases[number].subject for number in cases]
    assert list(dict.fromkeys(samples.people.tolist())) == list(dict.fromkeys(subjects))
    with pytest.raises(ValueError, match="coronal slices"):
        guidance.measured(eight.cohort, replace(prep, axis=0), cases)


def test_shares_are_nested_whole_subjects_and_the_same_for_both_models(eight):
    cohort, train = eight.cohort, eight.folds["grouped"][0]["train"]
    found = [shared(cohort, train, share, 0) for share in (0.3, 0.5, 0.8, 1.0)]
    for fewer, more in zip(found, found[1:], strict=False):
        assert set(fewer) < set(more)
    assert found[-1] == train
    people = {cohort.cases[number].subject for number in found[1]}
    assert found[1] == [number for number in train if cohort.cases[number].subject in people]
    assert len(people) == round(0.5 * len({cohort.cases[number].subject for number in train}))
    assert shared(cohort, train, 0.5, 1) != found[1], "each seed draws its own"
    for schedule, share in SHARES.items():
        recipes = [MODELS[model].training(schedule) for model in plan.FEW]
        assert [recipe.share for recipe in recipes] == [share] * 3
        assert all(abs(recipe.epochs * share / MODELS[model].training("standard").epochs - 1) < 0.01
                   for model, recipe in zip(plan.FEW, recipes, strict=True))  # fmt: skip


def test_the_key_follows_the_words(eight, monkeypatch):
    fold, models = eight.folds["grouped"][0], ("unet2d", "hippoclip", "clip2d-guided")
    before = [run_key(RunSpec(model), eight.cohort.sha256, fold) for model in models]
    monkeypatch.setitem(SETS, "words", SETS["words"] | {"anterior": ("front",)})
    after = [run_key(RunSpec(model), eight.cohort.sha256, fold) for model in models]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False]


def test_features_are_those_that_the_network_would_compute(eight):
    torch.manual_seed(0)
    model = RUN.definition.build(3, 3)
    images = {number: case.image for number, case in eight.cohort.cases.items()}
    samples = make_samples(images, eight.cohort, RUN.definition.prep, eight.folds["grouped"][0]["train"][:1])
    found, seconds = guidance.with_context(model, samples, MACHINE)
    assert torch.allclose(found.context, model.context(samples.images), atol=1e-5) and seconds > 0


def test_a_published_clip_is_a_run_without_training(eight, tmp_path, monkeypatch):
    import open_clip

    config = {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-32", config)
    torch.manual_seed(3)
    torch.save(open_clip.model.CLIP(**config).state_dict(), tmp_path / "weights.bin")
    monkeypatch.setenv(published.VARIABLE, str(tmp_path / "weights.bin"))
    ws = Workspace(tmp_path, "phantom", "smoke")
    run = replace(RUN, model="clip2d-guided+published")
    result = train(run, eight.cohort, eight.folds, ws)
    theirs = load.get(ws, replace(RUN, model="clip+published").name)
    assert "open_clip's ViT-B-32, weights.bin" in theirs.config["source"] == result.config["source"]
    assert theirs.config["steps"] == 0 and theirs.history == [] and len(theirs.rows)
    assert teachers_seconds(run, ws.work / "runs") == 0
    fold = eight.folds["grouped"][0]
    key = run_key(run, eight.cohort.sha256, fold)
    torch.save(open_clip.model.CLIP(**config).state_dict(), tmp_path / "weights.bin")
    assert run_key(run, eight.cohort.sha256, fold) != key, "other weights are another run"
    monkeypatch.setenv(published.VARIABLE, str(tmp_path / "gone.bin"))
    with pytest.raises(FileNotFoundError, match="gone.bin is not there"):
        train(run, eight.cohort, eight.folds, ws)
