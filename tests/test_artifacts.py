"""What is committed under artifacts/ keeps its contract: complete, current, small, and as the README says."""

import csv
import gzip
import io
import json
import re
import subprocess

import numpy as np
import pytest

from hipposeg import reproduce
from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.experiments.registry import RunSpec, numerics_of, run_key
from hipposeg.experiments.run import keeps_masks
from hipposeg.results import load, store
from hipposeg.workspace import Workspace, project_root, source_hash

ROOT = project_root()
WS = Workspace(ROOT, "msd", "stored")
AT = WS.artifacts
LIMIT_BYTES, LIMIT_FILE_BYTES, LIMIT_FILES = 32_000_000, 3_000_000, 395
RUN_COLUMNS = ["run", "model", "folds", "fold", "seed", "schedule", "dims", "device", "processor", "precision",
               "threads", "torch", "params", "gflops", "steps", "train_s", "n", "key", "title"]  # fmt: skip
SCORE_COLUMNS = ["run", "case", "subject", "label", "dice", "iou", "nsd1", "nsd2", "hd95", "msd", "volume_true",
                 "volume_predicted"]  # fmt: skip


def rows(path):
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def committed(folder):
    """The files below a folder that git knows, or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", str(folder)]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode or not listed.stdout:
        pytest.skip("not a git checkout with committed files")
    paths = {ROOT / name for name in listed.stdout.split("\0") if name}
    return [path for path in paths if path.is_file()]


@pytest.fixture(scope="module")
def runs():
    return rows(AT / store.RUNS)


@pytest.fixture(scope="module")
def scores():
    return rows(AT / store.SCORES)


def run_of(row):
    """The RunSpec of a row of runs.csv."""
    run = RunSpec(row["model"], row["folds"], int(row["fold"]), int(row["seed"]), row["schedule"])
    return run if run.name == row["run"] else RunSpec(*list(vars(run).values())[:-1], row["run"][len(run.name) + 1 :])


def test_files_are_those_of_the_manifest():
    recorded, found = json.loads((AT / reproduce.MANIFEST).read_text()), reproduce.manifest(WS)
    listed, existing = recorded.pop("files"), found.pop("files")
    differing = [path for path in sorted({*listed, *existing}) if listed.get(path) != existing.get(path)]
    assert differing == [] and recorded["page"] == found["page"]


def test_manifest_knows_its_source():
    if json.loads((AT / reproduce.MANIFEST).read_text())["source_sha256"] != source_hash():
        pytest.skip("src, notebooks or the lock changed since these artifacts were made: run `make all` and commit")


def test_columns_and_order_are_those_of_the_contract(runs, scores):
    assert list(runs[0]) == RUN_COLUMNS and list(scores[0]) == SCORE_COLUMNS
    names = [row["run"] for row in runs]
    assert names == sorted(set(names))
    places = [(row["run"], int(row["case"]), row["label"]) for row in scores]
    assert places == sorted(set(places))


def test_archives_carry_no_clock():
    for path in [AT / store.SCORES, *sorted(AT.rglob("*.gz"))]:
        content = path.read_bytes()
        assert content[:2] != b"\x1f\x8b" or content[4:8] == bytes(4), path.name
    path = sorted((AT / "masks").glob("*.npz"))[0]
    assert store.packed(store.unpacked(path)) == path.read_bytes()


def test_tables_written_again_have_the_same_bytes():
    table = store.read_runs(WS)[list(store.RUN_COLUMNS)]
    assert store.table_bytes(table) == (AT / store.RUNS).read_bytes()
    for path in (AT / store.SCORES, AT / store.HISTORIES, *sorted((AT / "studies").glob("*.csv.gz"))):
        assert store.table_bytes(store.read_table(path)) == gzip.decompress(path.read_bytes()), path.name


def test_every_run_has_scores_a_configuration_and_masks_where_they_are_kept(runs, scores):
    names = {row["run"] for row in runs}
    assert {row["run"] for row in scores} == names == set(store.read_configs(AT))
    assert {row["run"] for row in rows(AT / store.HISTORIES)} <= names
    kept = {row["run"] for row in runs if keeps_masks(run_of(row), WS)}
    assert {path.name for path in (AT / "masks").iterdir()} == {f"{name}.npz" for name in kept}


def test_keys_numerics_and_titles_are_current(runs):
    folds, configs = json.loads(WS.folds.read_text()), store.read_configs(AT)
    for row in runs:
        run, config = run_of(row), configs[row["run"]]
        assert run.name == row["run"]
        assert row["key"] == run_key(run, config["data_sha256"], folds[run.folds][run.fold]), run.name
        assert config["numerics"] == numerics_of(run.definition), run.name
        assert row["title"] == run.definition.title, run.name
        assert row["dims"] == str(run.definition.dims) and config["notebook"] == run.definition.notebook, run.name


def test_every_run_covers_its_fold_and_sets_off_no_alarm(runs):
    frame = load.load(WS)
    load.check(frame, MSD_HIPPOCAMPUS, json.loads(WS.folds.read_text()))
    assert frame.groupby("run")["case"].nunique().to_dict() == {row["run"]: int(row["n"]) for row in runs}


def test_masks_are_of_the_scored_cases_and_give_their_scores(runs):
    for row in runs:
        run = load.get(WS, row["run"]) if (AT / "masks" / f"{row['run']}.npz").is_file() else None
        if run is None:
            continue
        assert sorted(run.masks) == run.values().index.tolist()
        volumes = {case: float((mask > 0).sum()) for case, mask in run.masks.items()}
        assert run.values("union", "volume_predicted").to_dict() == volumes, "1 mm3 a voxel"
        assert {mask.dtype for mask in run.masks.values()} == {np.dtype(np.uint8)}


def test_every_figure_is_indexed_and_every_indexed_figure_exists():
    listed = {figure["file"] for index in WS.figures.glob("*.json") for figure in json.loads(index.read_text())}
    assert listed == {path.name for path in WS.figures.iterdir() if path.suffix != ".json"}


def test_executed_copies_are_small_and_of_the_present_notebooks():
    copies = {path.stem: path.stat().st_size for path in (AT / "notebooks").glob("*.ipynb")}
    assert set(copies) <= {path.stem for path in (ROOT / "notebooks").glob("*.py")}
    assert max(copies.values()) <= 1_500_000


def test_results_blocks_are_what_the_artifacts_say():
    from hipposeg_lab.page import readme, security

    for name, block in (("README.md", readme), ("SECURITY.md", security)):
        assert readme.current_block(ROOT / name) == block.expected_block(WS)


def test_pictures_and_links_of_the_readmes_exist():
    for path in (ROOT / "README.md", AT / "README.md"):
        targets = re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", path.read_text())
        assert [target for target in targets if not (path.parent / target).exists()] == []


def test_artifacts_stay_below_their_limits():
    sizes = {path: path.stat().st_size for path in committed(AT)}
    assert sum(sizes.values()) <= LIMIT_BYTES and len(sizes) <= LIMIT_FILES
    assert [path.name for path, size in sizes.items() if size > LIMIT_FILE_BYTES] == []


def test_no_machine_path_is_committed():
    homes = re.compile(rb"/(home|Users|root)/[A-Za-z]")
    for path in committed(AT):
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        assert path.suffix in (".npz", ".webp", ".png") or not homes.search(content), path


def test_the_readme_stays_short():
    text = re.sub(r"```.*?```", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len([word for word in text.split() if re.search(r"\w", word)]) <= 1200
    rows = re.findall(r"^\|", text[text.index("| Model | Mean Dice") : text.index("Two idle cores")], re.MULTILINE)
    assert len(rows) - 2 <= 8
