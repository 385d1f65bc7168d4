"""Runs of CLIPs and of what they guide: one needs the other, and both learn from the same people."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from stored_runs import invented, three

from hipposeg.data.captions import AREA_STEP, AXIS
from hipposeg.data.prompts import KINDS, SETS
from hipposeg.experiments import RunSpec, guidance, plan
from hipposeg.experiments.registry import MODELS, NUMERICS
from hipposeg.experiments.run import STATE, folder_of, train
from hipposeg.experiments.samples import make_samples, shared
from hipposeg.experiments.spec import needed_by, numerics_of, run_key
from hipposeg.experiments.zoo_clip import SHARES
from hipposeg.files import read_json
from hipposeg.models import guided, published
from hipposeg.results import compare, load, store, tables
from hipposeg.training.machine import Machine
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import clip_study, clip_summary, retrieval

MACHINE = Machine("cpu", "fp32", 1)
RUN = RunSpec("clip2d-guided", schedule="smoke", hardware="fp32")
(GUIDE,) = needed_by(RUN)


@pytest.fixture(scope="module")
def small(phantom_people):
    return phantom_people(8)


@pytest.fixture(scope="module")
def made(small, tmp_path_factory):
    ws = Workspace(tmp_path_factory.mktemp("made"), "phantom", "smoke")
    return ws, train(RUN, small.cohort, small.folds, ws)


def test_the_guide_is_trained_first_and_its_tower_stays(small, made):
    ws, result = made
    assert replace(RUN, model="hippoclip") == GUIDE and load.get(ws, GUIDE.name)
    tower = guidance.finished(GUIDE, small.cohort, ws.work / "runs").tower.state_dict()
    led = guidance.finished(RUN, small.cohort, ws.work / "runs")
    assert all(torch.equal(value, tower[name]) for name, value in led.tower.state_dict().items())
    said = guidance.class_prompts("geometric", RUN, small.cohort, small.folds["grouped"][0]["train"])
    text = guidance.finished(GUIDE, small.cohort, ws.work / "runs").vectors(said)
    assert torch.allclose(led.classes, text, atol=1e-6)
    assert result.config["source"] == "trained here on captions from labels"
    assert np.allclose(result.config["cosines"], (text @ text.T).numpy(), atol=2e-4)
    # The averaged network lags behind the last one.
    assert guided.FIRST_SCALE < result.config["scale"] <= result.history[-1]["scale"]
    assert list(result.config["config"]["guide"]) == ["hippoclip"]


def test_trained_twice_gives_the_same_bytes(small, made, tmp_path):
    ws, result = made
    other = Workspace(tmp_path, "phantom", "smoke")
    again = train(RUN, small.cohort, small.folds, other)
    assert again.config["weights_sha256"] == result.config["weights_sha256"]
    written = [path.relative_to(ws.artifacts) for path in ws.artifacts.rglob("*") if path.is_file()]
    assert len(written) == 9 and "studies/cosines.csv.gz" in map(str, written)
    for path in written:
        if path.name != store.RUNS:  # has the training time
            assert (ws.artifacts / path).read_bytes() == (other.artifacts / path).read_bytes(), path


def test_costs_count_the_guide(small, made):
    ws, result = made
    took = [read_json(folder_of(one, ws) / STATE)["row"]["train_s"] for one in (RUN, GUIDE)]
    assert took[0] > took[1] == guidance.spent(RUN, ws.work / "runs") > 0
    led = guidance.finished(RUN, small.cohort, ws.work / "runs")
    frozen = sum(weight.numel() for weight in led.tower.parameters())
    assert result.config["params"] == sum(weight.numel() for weight in led.parameters()) > frozen > 0
    clip = guidance.finished(GUIDE, small.cohort, ws.work / "runs")
    assert load.get(ws, GUIDE.name).config["params"] == sum(weight.numel() for weight in clip.parameters())


def test_permuted_labels_of_the_scored_cases_change_no_prediction(small, made, tmp_path):
    _, result = made
    cases = dict(small.cohort.cases)
    for number in small.folds["grouped"][0]["scored"]:
        label = cases[number].label
        cases[number] = replace(cases[number], label=np.where(label > 0, 3 - label, 0)[::-1].copy())
    swapped = replace(small.cohort, cases=cases, sha256="permuted")
    other = train(RUN, swapped, small.folds, Workspace(tmp_path, "phantom", "smoke"))
    assert all(np.array_equal(other.masks[number], mask) for number, mask in result.masks.items())
    assert other.config["weights_sha256"] == result.config["weights_sha256"]
    assert not other.rows["volume_true"].equals(result.rows["volume_true"]), "the labels really were others"


def test_captions_go_with_their_slices(small):
    prep, cases = MODELS["hippoclip"].prep, small.folds["grouped"][0]["train"]
    images = {number: case.image for number, case in small.cohort.cases.items()}
    samples = guidance.captioned(make_samples(images, small.cohort, prep, cases), small.cohort, prep, cases)
    assert len(samples.facts) == len(samples.images) == len(samples.people)
    for label, said in zip(samples.labels, samples.facts, strict=True):
        assert {"anterior": 1, "posterior": 2}.keys() & set(said.parts) == {
            name for name, value in (("anterior", 1), ("posterior", 2)) if (label == value).any()
        }
        visible = float((label > 0).sum())
        assert said.area == pytest.approx(max(visible, AREA_STEP) if visible else 0.0, abs=AREA_STEP / 2)
    subjects = [small.cohort.cases[number].subject for number in cases]
    assert list(dict.fromkeys(samples.people.tolist())) == list(dict.fromkeys(subjects))
    with pytest.raises(ValueError, match="coronal slices"):
        guidance.measured(small.cohort, replace(prep, axis=0), cases)


def test_shares_are_nested_whole_subjects_and_the_same_for_both_models(small):
    cohort, train = small.cohort, small.folds["grouped"][0]["train"]
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


def test_the_hook_keeps_the_studies_of_a_clip(small, made):
    ws, led = made
    clip, scored = load.get(ws, GUIDE.name), small.folds["grouped"][0]["scored"]
    table = clip_study.read(ws, clip_study.RETRIEVAL, clip.rows)
    assert list(table.columns) == ["run", *retrieval.COLUMNS, "seed"] and sorted(table.case.unique()) == scored
    moved = clip_study.read(ws, clip_study.TRANSFER, clip.rows)
    assert len(moved) == len(scored) * len(KINDS) * 3
    own = clip.rows.set_index(["case", "label"])["dice"]
    first = moved[moved["prompts"] == "geometric"].set_index(["case", "label"])["dice"]
    for key, value in first.items():
        assert value == pytest.approx(own[key], abs=1e-6), "its own scores are those of the first set of prompts"
    assert list(clip_summary.by_prompts(moved).index) == list(KINDS)
    assert clip_study.read(ws, clip_study.RETRIEVAL, led.rows).empty, "only CLIPs are studied"
    cosines = clip_study.read(ws, clip_study.COSINES, clip.rows)
    angles = clip_summary.angles(cosines, ("background", "anterior", "posterior"))
    assert list(angles.columns) == ["background, anterior", "background, posterior", "anterior, posterior"]
    assert list(angles.index) == list(KINDS)
    last = cosines[(cosines["prompts"] == "words") & (cosines["first"] == 1) & (cosines["second"] == 2)]
    assert angles.loc["words", "anterior, posterior"] == last["cosine"].item()


def test_examples_show_the_slices_that_their_captions_are_of(small):
    prep, train = MODELS["hippoclip"].prep, small.folds["grouped"][0]["train"]
    case, found = small.cohort.cases[train[0]], clip_study.examples(small.cohort, prep, train, train[0], 6)
    for image, label, text in found:
        at = [i for i in range(case.label.shape[AXIS]) if (np.take(case.image[0], i, AXIS) == image).all()]
        assert any((np.take(case.label, i, AXIS) == label).all() for i in at)
        assert ("mm2" in text or "millimetres" in text) == bool((label > 0).any())


@pytest.mark.parametrize("run", [RUN, *needed_by(RUN)], ids=lambda run: run.model)
def test_similarity_is_what_a_network_or_a_clip_predicts_by(small, made, run):
    ws, _ = made
    network = guidance.finished(run, small.cohort, ws.work / "runs")
    number = small.folds["grouped"][0]["scored"][0]
    image = small.cohort.cases[number].image
    found = clip_study.similarity(network, run.definition.prep, image, MACHINE)
    mask = load.get(ws, run.name).masks[number]
    assert found.shape == (3, *mask.shape) and np.nanmax(np.abs(found)) <= 1.0001
    known = ~np.isnan(found[0])
    assert (found.argmax(0)[known] == mask[known]).mean() > 0.9999


def test_the_key_follows_the_guide_and_leaves_others_alone(small, monkeypatch):
    fold = small.folds["grouped"][0]
    plain, before = (run_key(RunSpec(model), small.cohort.sha256, fold) for model in ("unet2d", "clip2d-guided"))
    known = MODELS["hippoclip"].schedules
    changed = replace(MODELS["hippoclip"], schedules=known | {"standard": replace(known["standard"], lr=9e-4)})
    monkeypatch.setitem(MODELS, "hippoclip", changed)
    assert run_key(RunSpec("clip2d-guided"), small.cohort.sha256, fold) != before
    assert run_key(RunSpec("unet2d"), small.cohort.sha256, fold) == plain
    version = numerics_of(MODELS["clip2d-guided"])
    monkeypatch.setitem(NUMERICS, "clip", NUMERICS["clip"] + 1)
    assert numerics_of(MODELS["clip2d-guided"]) != version


def test_the_key_follows_the_words(small, monkeypatch):
    fold, models = small.folds["grouped"][0], ("unet2d", "hippoclip", "clip2d-guided")
    before = [run_key(RunSpec(model), small.cohort.sha256, fold) for model in models]
    monkeypatch.setitem(SETS, "words", SETS["words"] | {"anterior": ("front",)})
    after = [run_key(RunSpec(model), small.cohort.sha256, fold) for model in models]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False]


def test_features_are_computed_once_and_kept(small, tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = RUN.definition.build(3, 3)
    images = {number: case.image for number, case in small.cohort.cases.items()}
    samples = make_samples(images, small.cohort, RUN.definition.prep, small.folds["grouped"][0]["train"][:1])
    first, seconds = guidance.with_context(model, samples, MACHINE, tmp_path)
    assert torch.allclose(first.context, model.context(samples.images), atol=1e-5)
    monkeypatch.setattr(type(model.tower), "forward", lambda *_: pytest.fail("computed again"))
    again, same = guidance.with_context(model, samples, MACHINE, tmp_path)
    assert torch.equal(again.context, first.context) and same == seconds > 0, "found again, with what it once cost"
    with torch.no_grad():
        model.tower.visual.conv1.weight.add_(0.1)
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        guidance.with_context(model, samples, MACHINE, tmp_path)


def test_a_published_clip_is_a_run_without_training(small, tmp_path, monkeypatch):
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
    result = train(run, small.cohort, small.folds, ws)
    theirs = load.get(ws, replace(RUN, model="clip+published").name)
    assert "open_clip's ViT-B-32, weights.bin" in theirs.config["source"] == result.config["source"]
    assert theirs.config["steps"] == 0 and theirs.history == [] and len(theirs.rows)
    assert guidance.spent(run, ws.work / "runs") == 0
    fold = small.folds["grouped"][0]
    key = run_key(run, small.cohort.sha256, fold)
    torch.save(open_clip.model.CLIP(**config).state_dict(), tmp_path / "weights.bin")
    assert run_key(run, small.cohort.sha256, fold) != key, "other weights are another run"
    monkeypatch.setenv(published.VARIABLE, str(tmp_path / "gone.bin"))
    with pytest.raises(FileNotFoundError, match="gone.bin is not there"):
        train(run, small.cohort, small.folds, ws)


def test_the_plan_has_every_model_with_three_seeds_and_its_twin():
    declared = plan.declared("06")
    assert all(run.schedule in run.definition.schedules for run in declared)
    own = {model.name for model in MODELS.values() if model.notebook == "06" and not model.name.endswith("+published")}
    assert own == {run.model for run in declared} - {"unet3d"}
    assert [run for run in declared if run.folds != "grouped"] == [RunSpec("hippoclip", "dev")]
    scored = [run for run in declared if run.folds == "grouped"]
    for model, schedule in {(run.model, run.schedule) for run in scored}:
        assert [run.seed for run in scored if (run.model, run.schedule) == (model, schedule)] == [0, 1, 2]
    order = {run: index for index, run in enumerate(declared)}
    assert all(order[one] < order[run] for run in declared for one in needed_by(run)), "guides come first"
    twin, led = MODELS["clip2d-unguided"], MODELS["clip2d-guided"]
    assert (twin.prep, twin.schedules) == (led.prep, led.schedules)
    assert all(MODELS[model].schedules == led.schedules for family in plan.FAMILIES_CLIP.values() for model in family)
    reference, (towers,) = plan.TOWERS_CLIP
    assert MODELS[reference].schedules == MODELS[towers].schedules == led.schedules
    assert MODELS[reference].network == MODELS[towers].network and MODELS[reference].guide != MODELS[towers].guide
    assert MODELS["clip3d-guided"].training("standard") == MODELS["unet3d"].training("standard")


def test_label_efficiency_compares_within_a_share():
    found = pd.concat([three("clip2d-guided", 0.85, "p5"), three("clip2d-unguided", 0.8, "p5"),
                       three("clip2d-guided", 0.8, "standard"), three("clip2d-unguided", 0.8, "standard")])  # fmt: skip
    table = clip_summary.share_differences(found)
    assert list(table.index) == ["5% of the people", "all training people"]
    assert table["verdict"].tolist() == ["ahead", "equivalent"]
    assert table.loc["5% of the people", "difference"] == pytest.approx(0.05, abs=0.002)
    alone = compare.differences(found[found["schedule"] == "p5"], "clip2d-unguided")
    expected = min(1, 5 * alone["p_holm"].iloc[0])
    assert table.loc["5% of the people", "p_holm"] == pytest.approx(expected), "five shares were planned"
    lines = clip_summary.by_share(found)
    assert len(lines) == 4 and set(lines["series"]) == {"clip2d-guided", "clip2d-unguided"}
    told = tables.differences_in_words(table)
    assert told.startswith("5% of the people: **+0.0") and told.count("; ") == 1 and told.endswith("equivalent)")
    other = invented("unet2d", 0.8)
    assert clip_summary.share_differences(other).empty and clip_summary.by_share(other).empty


def test_a_batch_holds_no_more_slices_than_people(small):
    cohort, train = small.cohort, small.folds["grouped"][0]["train"]
    people = len({cohort.cases[number].subject for number in train})
    found = clip_summary.batch_sizes(cohort, train)
    assert found["all training people"] == people < 64 and found["50% of the people"] == round(0.5 * people)
    assert found["5% of the people"] == 2, "two people at least"


def judged(**verdicts):
    """A table as `compare.by_family` gives it, with nothing but verdicts."""
    models = {"unguided": "clip2d-unguided", "angles": "clip2d-same-angles", "rotated": "clip2d-rotated"}
    index = pd.MultiIndex.from_tuples([("a family", models[name]) for name in verdicts], names=[None, None])
    return pd.DataFrame({"verdict": list(verdicts.values())}, index=index)


def test_language_is_credited_only_if_both_controls_fall_behind():
    said = clip_summary.language(judged(unguided="behind", angles="behind", rotated="behind"))
    assert said.startswith("Guidance as a whole is shown to help (`clip2d-unguided` is behind), and")
    assert "language is credited, as `clip2d-same-angles` is behind and `clip2d-rotated` is behind" in said
    for other in ("equivalent", "undecided", "ahead"):
        said = clip_summary.language(judged(unguided="behind", angles="behind", rotated=other))
        assert "language is not credited, as `clip2d-same-angles` is behind and `clip2d-rotated` is " + other in said
    for whole, words in (("ahead", "to harm"), ("equivalent", "no difference"), ("undecided", "not shown to help")):
        said = clip_summary.language(judged(unguided=whole, angles="equivalent", rotated="equivalent"))
        assert words in said and "language is not credited" in said


def test_a_verdict_that_is_missing_leaves_its_question_open():
    nothing = pd.DataFrame(columns=["verdict"])
    both = "Whether guidance as a whole helps is open, and whether any of it is the language is open"
    assert clip_summary.language(nothing).startswith(both)
    said = clip_summary.language(judged(unguided="behind", angles="behind", rotated="none: 2 seeds"))
    assert "shown to help" in said and "the language is open" in said
    said = clip_summary.language(judged(unguided="not compared: another setting", angles="behind", rotated="behind"))
    assert "a whole helps is open" in said and "language is credited" in said
    for table in (nothing, judged(angles="behind"), judged(unguided="ahead", angles="ahead", rotated="ahead")):
        assert clip_summary.language(table).endswith("came from training labels.")


def test_the_students_loss_by_hand():
    # Two pixels of class 0, one of class 1, all answered with one half: overlaps 1 and 1/2, sizes 2 + 3/2 and 1 + 3/2.
    target = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    expected = 1 - (2 * 1 / 3.5 + 2 * 0.5 / 2.5) / 2
    assert clip_study.dice_of_all_classes(torch.zeros(1, 2, 3), target).item() == pytest.approx(expected)
    assert clip_study.dice_of_all_classes(100 * target, target).item() == pytest.approx(0, abs=1e-6)
