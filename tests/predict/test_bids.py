"""BIDS data sets: which scans, layout of the derivative, resuming, failures, the table and page of the group."""

import csv
import json
import shutil
from contextlib import nullcontext

import nibabel
import numpy as np
import pytest
from test_output import contents, scan, threshold, use_threshold

from hipposeg import cli
from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.predict import bids, output

SCANS = (
    "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii", "sub-01/ses-b/anat/sub-01_ses-b_run-1_T1w.nii.gz",
    "sub-02/anat/sub-02_T1w.nii", "sub-03/anat/sub-03_T1w.nii.gz",
)  # fmt: skip


@pytest.fixture(scope="module")
def scheduler():
    """Address of a scheduler with one worker in this process, which sees what tests replace."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Four scans, one of which is broken and one is refused; the networks are a threshold."""
    use_threshold(monkeypatch)
    done = []
    monkeypatch.setattr(output, "segment", lambda path, *more: (done.append(path.name), threshold(path, *more))[1])
    monkeypatch.setattr(bids, "_networks", lambda _: output.load_ensemble(None))
    root = tmp_path / "study"
    for name in (*SCANS, "sub-02/anat/sub-02_T2w.nii"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        scan(root / name)
    (root / "sub-03/anat/sub-03_T1w.nii.gz").write_bytes(b"no scan")
    return root, done


def run(study, out, *more, level="participant"):
    return cli.main(["bids", str(study[0]), str(out), level, *more])


def test_layout_resuming_and_a_broken_scan(study, scheduler, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(study, out, "--scheduler", scheduler) == 1
    said = capsys.readouterr().out
    assert "0 of 4 scans are finished" in said and "4 scans, 1 without mask" in said
    assert all(f"[{place}/4] sub-0" in said for place in (1, 2, 3, 4))
    assert "sub-03/anat/sub-03_T1w.nii.gz: refused" in said and "another kind of file" in said
    starts = [name.split("_T1w")[0] for name in SCANS]
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        *(f"{start}_desc-hipposeg_dseg.json" for start in starts),
        *(f"{start}_desc-hipposeg_dseg.nii.gz" for start in starts[:3]),
        *(f"{start[:6]}/figures/{start.split('/')[-1]}_desc-hipposeg_dseg.png" for start in starts[:3]),
        *("dataset_description.json", ".bidsignore", "desc-hipposeg_dseg.tsv"),
    }
    described = json.loads((out / "dataset_description.json").read_text())
    assert described["GeneratedBy"][0]["Name"] == "hipposeg" and described["DatasetLinks"]["raw"] == "../study"
    assert (out / "desc-hipposeg_dseg.tsv").read_text().splitlines()[-1] == "4\tright posterior"
    sidecar = json.loads((out / f"{starts[0]}_desc-hipposeg_dseg.json").read_text())
    assert sidecar["Sources"] == ["bids:raw:sub-01/ses-a/anat/sub-01_ses-a_T1w.nii"] and sidecar["Manual"] is False

    before, count = {path: path.read_bytes() for path in out.rglob("*.gz")}, len(study[1])
    assert run(study, out, "--scheduler", scheduler) == 1, "what was refused is refused still"
    assert "4 of 4 scans are finished" in capsys.readouterr().out and len(study[1]) == count
    scan(study[0] / "sub-03/anat/sub-03_T1w.nii.gz", seed=3)
    more = ("--scheduler", scheduler, "--overwrite", "--participant-label", "sub-03")
    assert run(study, out, *more) == 0 and study[1][count:] == ["sub-03_T1w.nii.gz"]
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_crash_is_noted_and_tried_again(study, scheduler, tmp_path, monkeypatch, capsys):
    out, right = tmp_path / "out", output.segment

    def crash(path, *more):
        if "sub-02" in path.name:
            raise MemoryError("no memory")
        return right(path, *more)

    monkeypatch.setattr(output, "segment", crash)
    more = ("--scheduler", scheduler, "--participant-label", "01", "02")
    assert run(study, out, *more) == 1
    assert "sub-02/anat/sub-02_T1w.nii: failed\n  MemoryError: no memory" in capsys.readouterr().out
    monkeypatch.setattr(output, "segment", right)
    assert run(study, out, *more) == 0 and "2 of 3 scans are finished" in capsys.readouterr().out


def test_what_is_wrong_is_said_before_any_work(study, tmp_path, capsys):
    root, done = study
    out = tmp_path / "out"
    assert run(study, out, "--participant-label", "01", "09") == 1
    assert "found no T1w scan of sub-09" in capsys.readouterr().err
    assert run(study, root) == 1 and "found a data set that hipposeg did not write" in capsys.readouterr().err
    out.mkdir()
    (out / "dataset_description.json").write_text("{}")
    assert run(study, out) == 1 and "did not write" in capsys.readouterr().err
    scan(root / "sub-02/anat/sub-02_T1w.nii.gz")
    assert run(study, out) == 1 and "found two scans for sub-02_desc-hipposeg_dseg.nii.gz" in capsys.readouterr().err
    assert cli.main(["bids", str(out), str(root), "group"]) == 1 and "found no T1w scan" in capsys.readouterr().err
    assert not done and contents(out) == {"dataset_description.json": b"{}"}


def test_the_group_has_all_scans_and_shows_the_most_unusual_first(study, scheduler, tmp_path, capsys):
    root, out = study[0], tmp_path / "out"
    run(study, out, "--scheduler", scheduler)
    (root / "sub-04/anat").mkdir(parents=True)
    shutil.copy(root / SCANS[2], root / SCANS[2].replace("02", "04"))
    sidecar = out / "sub-02/anat/sub-02_desc-hipposeg_dseg.json"
    facts = json.loads(sidecar.read_text())
    facts["row"]["right_mm3"] = "1500.0"
    sidecar.write_text(json.dumps(facts))
    assert run(study, out, level="group") == 1 and "5 scans, 2 without mask" in capsys.readouterr().out
    rows = list(csv.DictReader((out / "desc-hipposeg_volumes.tsv").open(), delimiter="\t"))
    assert [row["participant_id"][-1] + row["session_id"][-2:] for row in rows] == ["1-a", "1-b", "2/a", "3/a", "4/a"]
    assert [row["status"] for row in rows] == ["check", "check", "check", "refused", "not done"]
    assert set(output.COLUMNS) < set(rows[0]) and rows[0]["left_mm3"] == "2000.4" and rows[3]["left_mm3"] == "n/a"
    assert (rows[2]["unusual"], rows[2]["most_unusual"]) == ("40.0", "right_mm3")  # of 1 % of the median, 25 mm3
    page = (out / "desc-hipposeg_qc.html").read_text(encoding="utf-8")
    places = [page.index(f"<h2>{row['image']}") for row in rows]
    assert sorted(range(5), key=places.__getitem__) == [3, 4, 2, 0, 1]
    assert 'src="sub-02/figures/sub-02_desc-hipposeg_dseg.png"' in page and "another kind of file" in page
    shutil.rmtree(root / "sub-03"), shutil.rmtree(root / "sub-04")
    assert run(study, out, level="group") == 0 and "3 scans, 0 without mask" in capsys.readouterr().out


@pytest.fixture
def asked(monkeypatch):
    """The options of each cluster that was asked for; none is started."""
    found = []
    monkeypatch.setattr("distributed.Client", lambda **options: found.append(options) or nullcontext())
    return found


def test_workers_are_no_more_than_jobs_and_scans(asked, tmp_path):
    for jobs, count, workers in ((1, 9, 1), (3, 9, 3), (5, 2, 2), (2, 0, 1)):
        with bids._client("", jobs, count, tmp_path):
            assert (asked[-1]["n_workers"], asked[-1]["threads_per_worker"]) == (workers, 1)


def test_workers_are_no_more_than_cores_and_memory(asked, monkeypatch, tmp_path):
    def workers(memory):
        monkeypatch.setattr("distributed.system.MEMORY_LIMIT", memory)
        with bids._client("", None, 99, tmp_path):
            return asked[-1]["n_workers"]

    monkeypatch.setattr(bids.os, "sched_getaffinity", {0: {1, 2, 5}}.get, raising=False)
    assert [workers(memory) for memory in (int(7e9), int(7e9) - 1, int(99e9))] == [2, 1, 3], "3.5 GB each"
    monkeypatch.delattr(bids.os, "sched_getaffinity")
    monkeypatch.setattr(bids.os, "cpu_count", lambda: None)
    assert workers(int(99e9)) == 1


def test_networks_of_a_worker_compute_on_one_thread(monkeypatch):
    monkeypatch.setattr(bids, "load_ensemble", lambda weights, machine: (weights, machine.threads))
    assert bids._networks.__wrapped__("weights") == ("weights", 1)


def test_the_page_of_the_group_shows_a_thousand_scans():
    row = {"status": "ok", "image": "a", "name": "a", "reasons": ""}
    assert bids._page([row] * 1001, {}).count("<h2>a</h2>") == 1000


def test_robust_z_by_hand():
    pairs = [(2900, 0.97), (3000, 0.97), (3100, 0.97), (3050, 0.97), (2000, 0.97), (3000, 0.8), (3000, 1.0)]
    found = bids.unusual([{"left_mm3": str(left), "agreement": str(one)} for left, one in pairs])
    # Median 3000, deviations 100 0 100 50 1000 0 0: their median 50, times 1.4826 = 74.13.
    assert found[4] == (pytest.approx(1000 / 74.13), "left_mm3") and found[0][0] == pytest.approx(100 / 74.13)
    assert found[5] == (pytest.approx(0.17 / 0.01), "agreement")
    assert found[6][0] == 0, "high agreement is not unusual"
    assert bids.unusual([]) == []


@pytest.mark.processes
def test_two_processes_segment_real_crops(msd_dir, tmp_path, capsys):
    root, out = tmp_path / "study", tmp_path / "out"
    for subject, case in (("01", 1), ("02", 3), ("03", None)):
        path = root / f"sub-{subject}/anat/sub-{subject}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        if case:
            shutil.copy(msd_dir / "imagesTr" / MSD_HIPPOCAMPUS.file_name(case), path)
        else:
            path.write_bytes(b"")
    with bids._client("", 1, 9, out) as client:
        assert [one["nthreads"] for one in client.scheduler_info()["workers"].values()] == [1]
    assert cli.main(["bids", str(root), str(out), "participant", "--jobs", "2"]) == 1
    assert "3 scans, 1 without mask" in capsys.readouterr().out and not (out / ".dask").exists()
    for subject in ("01", "02"):
        start = out / f"sub-{subject}/anat/sub-{subject}_desc-hipposeg_dseg"
        mask = np.asarray(nibabel.load(f"{start}.nii.gz").dataobj)
        assert json.loads(start.with_suffix(".json").read_text())["row"]["total_mm3"] == f"{np.count_nonzero(mask):.1f}"
