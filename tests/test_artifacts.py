"""What is committed under artifacts/ is complete, unchanged since it was made, small enough, and what README says."""

import csv
import gzip
import json
import re
import subprocess

import pytest

from hipposeg import manifest
from hipposeg.results.scoring import CASES
from hipposeg.workspace import Workspace, project_root, source_hash

ROOT = project_root()
WORKSPACES = sorted(path.parent.name for path in (ROOT / "artifacts").glob("msd-*/manifest.json"))
NOTHING = "nothing is committed under artifacts/ yet: run `make all` on the real data"
# The weights of five folds are 14 MB and the page up to 8; some 350 declared runs take about 11 kB each.
LIMIT_BYTES = 45_000_000


@pytest.fixture(params=WORKSPACES or [None])
def ws(request) -> Workspace:
    if request.param is None:
        pytest.skip(NOTHING)
    dataset, _, profile = request.param.partition("-")
    return Workspace(ROOT, dataset, profile)


def rows(path):
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_files_are_those_of_the_manifest(ws):
    assert manifest.check(ws) == []


def test_manifest_knows_its_source(ws):
    recorded = json.loads((ws.artifacts / "manifest.json").read_text())["source_sha256"]
    if recorded != source_hash():
        pytest.skip("src, notebooks or the lock changed since these artifacts were made: run `make all` and commit")


def test_every_figure_is_indexed_and_every_indexed_figure_is_there(ws):
    listed = {figure["file"] for index in ws.figures.glob("*.json") for figure in json.loads(index.read_text())}
    assert listed == {path.name for path in ws.figures.iterdir() if path.suffix != ".json"}
    files = json.loads((ws.artifacts / "manifest.json").read_text())["files"]
    assert {f"figures/{name}" for name in listed} <= set(files)


def test_executed_copies_are_small_and_of_the_present_series(ws):
    copies = {path.stem: path.stat().st_size for path in (ws.artifacts / "notebooks").glob("*.ipynb")}
    assert set(copies) <= {path.stem for path in (ROOT / "notebooks").glob("*.py")}
    assert max(copies.values()) <= 1_500_000


def test_tables_agree_with_each_other(ws):
    results, cases = rows(ws.artifacts / "results.csv"), rows(ws.artifacts / "cases.csv")
    assert results[0]["model"] == "atlas-no-image"
    for row in results:
        values = [float(c["dice"]) for c in cases if (c["run"], c["label"]) == (row["run"], row["label"]) and c["dice"]]
        assert len(values) == int(row["n"])
        assert float(row["dice"]) == pytest.approx(sum(values) / len(values), abs=2e-6)


def test_results_of_the_full_profile_are_those_of_its_runs():
    folder = ROOT / "artifacts" / "msd-full"
    if not (folder / "results.csv").is_file():
        pytest.skip("no results of the full profile are committed: run `hipposeg series` and commit")
    found = {(row["run"], row["label"]): row for row in rows(folder / "results.csv")}
    assert {run for run, _ in found} == {path.name for path in (folder / "runs").iterdir()}
    for (run, label), row in found.items():
        cases = [case for case in rows(folder / "runs" / run / CASES) if case["label"] == label]
        assert len(cases) == int(row["n"])
        for metric in ("dice", "iou", "nsd1", "hd95", "volume_bias"):
            values = [float(case[metric]) for case in cases if case[metric] or metric == "dice"]
            assert float(row[metric]) == pytest.approx(sum(values) / len(values), abs=2e-6)
        config = json.loads((folder / "runs" / run / "config.json").read_text())
        assert (int(row["params"]), float(row["gflops"])) == (config["params"], config["gflops"])


def test_every_prediction_is_of_a_scored_case(ws):
    folds = json.loads(ws.folds.read_text())
    for folder in sorted((ws.artifacts / "predictions").glob("*")):
        config = json.loads((ws.artifacts / "runs" / folder.name / "config.json").read_text())
        scored = folds[config["folds"]][int(config["fold"])]["scored"]
        assert sorted(path.name for path in folder.iterdir()) == [f"hippocampus_{case:03d}.nii.gz" for case in scored]


def test_readme_block_is_what_the_artifacts_say():
    if "msd-standard" not in WORKSPACES:
        pytest.skip(NOTHING)
    from hipposeg_lab.page import readme

    ws = Workspace(ROOT, "msd", "standard")
    assert readme.current_block(ROOT / "README.md") == readme.expected_block(ws)


def test_pictures_and_links_of_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    targets = re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", text)
    missing = [target for target in targets if not (ROOT / target).exists()]
    if not WORKSPACES:
        missing = [target for target in missing if not target.startswith(("artifacts/msd-", "project.html"))]
    assert missing == []


def test_repository_stays_below_its_limit():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode or not listed.stdout:
        pytest.skip("not a git checkout with committed files")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert sum(path.stat().st_size for path in paths if path.is_file()) <= LIMIT_BYTES


def test_no_machine_path_is_committed():
    homes = re.compile(rb"/(home|Users|root)/[A-Za-z]")
    for path in sorted((ROOT / "artifacts").glob("msd-*/**/*")):
        if path.suffix in (".json", ".csv", ".ipynb", ".svg", ".jsonl", ".html"):
            assert not homes.search(path.read_bytes()), path
