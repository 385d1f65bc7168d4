"""Where the data set comes from, in which order, and the message when it is missing."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hipposeg import cli
from hipposeg.data import cohort, download, locate, phantom
from hipposeg.data.spec import MSD_HIPPOCAMPUS, PHANTOM_SPEC, DataError

FOLDER = "Task04_Hippocampus"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project without data and without network, whose phantom is small."""
    monkeypatch.delenv("HIPPOSEG_DATA", raising=False)
    monkeypatch.setenv("HIPPOSEG_OUT", str(tmp_path / "out"))
    monkeypatch.setenv("HIPPOSEG_OFFLINE", "1")
    monkeypatch.setattr(locate, "project_root", lambda: tmp_path)
    monkeypatch.setattr(locate, "PHANTOM_SUBJECTS", 1)
    return tmp_path


def standing_in(folder: Path) -> Path:
    """Write 260 cases in the real layout; `locate` does not read their contents, so one byte each is enough."""
    names = [MSD_HIPPOCAMPUS.file_name(case) for case in range(1, 261)]
    for side in ("imagesTr", "labelsTr"):
        (folder / side).mkdir(parents=True)
        for name in names:
            (folder / side / name).write_bytes(b"x")
    listing = {
        "relase": "1.0 04/05/2018",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "numTraining": 260,
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
    }
    (folder / "dataset.json").write_text(json.dumps(listing))
    return folder


def test_the_named_folder_comes_first(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standing_in(root / "data" / FOLDER)
    named = standing_in(root / "elsewhere")
    monkeypatch.setenv("HIPPOSEG_DATA", str(named))
    source = locate.locate("standard")
    assert (source.dataset, source.folder, source.spec) == ("msd", named, MSD_HIPPOCAMPUS)


def test_a_named_folder_that_is_not_valid_is_never_passed_over(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standing_in(root / "data" / FOLDER)
    monkeypatch.setenv("HIPPOSEG_DATA", str(root / "nowhere"))
    with pytest.raises(DataError, match=r"nowhere is not a valid.*found no such file.*unset it"):
        locate.locate("standard")
    monkeypatch.setenv("HIPPOSEG_DATA", str(root / "data"))
    with pytest.raises(DataError, match="perhaps that one is meant"):
        locate.locate("standard")
    (root / "data" / FOLDER / "labelsTr" / "hippocampus_007.nii.gz").unlink()
    monkeypatch.setenv("HIPPOSEG_DATA", str(root / "data" / FOLDER))
    with pytest.raises(DataError, match=r"hippocampus_007\.nii\.gz: found missing file"):
        locate.locate("standard")


def test_a_phantom_is_never_taken_for_the_real_data(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phantom.generate(root / "p", n_subjects=1)
    monkeypatch.setenv("HIPPOSEG_DATA", str(root / "p"))
    with pytest.raises(DataError, match="found the synthetic phantom"):
        locate.locate("standard")


def test_the_projects_folder_comes_second_and_must_be_valid(root: Path) -> None:
    folder = standing_in(root / "data" / FOLDER)
    assert locate.locate("standard").folder == folder
    (folder / "dataset.json").unlink()
    with pytest.raises(DataError, match=r"dataset\.json.*Delete that folder"):
        locate.locate("standard")


def test_smoke_takes_the_phantom_even_where_the_data_is(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HIPPOSEG_DATA", str(standing_in(root / "data" / FOLDER)))
    source = locate.locate("smoke")
    assert source.dataset == "phantom" and source.spec == PHANTOM_SPEC
    assert source.folder == root / "out" / ".work" / "phantom" / "data" / FOLDER
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("profile", ["stored", "standard", "full"])
def test_without_data_and_network_two_lines_name_the_remedies(
    root: Path, profile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = locate.locate(profile)
    assert source == locate.locate("smoke"), "one phantom for all profiles"
    assert cohort.load(source).numbers == locate.case_numbers(source.folder, source.spec)
    first, second = capsys.readouterr().err.splitlines()
    assert "nothing below comes from patients" in first and "HIPPOSEG_OFFLINE=1" in first
    assert "HIPPOSEG_DATA" in second and "`make data`" in second
    locate.locate(profile, quiet=True)
    assert capsys.readouterr().err == ""


def test_the_command_prints_data_set_profile_fingerprint_and_folder(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["data", "--profile", "full"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["phantom", "smoke"]
    monkeypatch.setenv("HIPPOSEG_DATA", str(standing_in(root / "a b")))
    assert cli.main(["data", "--profile", "full"]) == 0
    first = capsys.readouterr().out
    assert first.startswith("msd full ") and first.endswith(f" {root / 'a b'}\n")
    assert cli.main(["data", "--profile", "full", "--retry"]) == 0
    assert capsys.readouterr().out == first


def test_an_unknown_profile_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="choose one of smoke, stored, standard, full"):
        locate.locate("huge")


def test_a_failed_attempt_is_remembered_for_an_hour(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HIPPOSEG_OFFLINE", "0")
    tried = []

    def fail(folder: Path) -> None:
        tried.append(folder)
        raise download.NoNetworkError("the archive cannot be reached: no route")

    monkeypatch.setattr(download, "fetch", fail)
    assert locate.locate("standard").dataset == "phantom"
    assert "no route" in capsys.readouterr().err
    assert locate.locate("standard").dataset == "phantom"
    assert tried == [root / "data" / FOLDER]
    assert "no route, 0 minutes ago" in capsys.readouterr().err
    memory = root / ".work" / "network-failed"
    memory.write_text(json.dumps({"at": time.time() - 3700, "reason": "old"}))
    locate.locate("standard")
    assert len(tried) == 2
    memory.write_text("{")
    locate.locate("standard")
    assert len(tried) == 3
    for _ in range(2):  # the second time there is nothing to forget
        locate.forget_failed_attempt()
        assert not memory.exists()
    locate.locate("standard")
    assert len(tried) == 4 and memory.exists()


def test_a_broken_download_is_an_error_and_not_the_phantom(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        raise DataError("found MD5 a, expected b")

    monkeypatch.setenv("HIPPOSEG_OFFLINE", "0")
    monkeypatch.setattr(download, "fetch", fail)
    with pytest.raises(DataError, match="expected b"):
        locate.locate("standard")


def test_a_missing_data_set_is_downloaded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPPOSEG_OFFLINE", "0")
    monkeypatch.setattr(download, "fetch", standing_in)
    (root / ".work").mkdir()
    (root / ".work" / "network-failed").write_text(json.dumps({"at": time.time() - 4000, "reason": "old"}))
    source = locate.locate("standard")
    assert (source.dataset, source.folder) == ("msd", root / "data" / FOLDER)
    assert not (root / ".work" / "network-failed").exists()
    monkeypatch.setenv("HIPPOSEG_OFFLINE", "1")
    assert locate.locate("standard") == source


def test_the_fingerprint_follows_the_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = locate.Source("msd", standing_in(root / "a"), MSD_HIPPOCAMPUS)
    before = locate.fingerprint(source)
    (source.folder / "imagesTr" / "._hippocampus_001.nii.gz").write_bytes(b"x")
    assert locate.fingerprint(source) == before
    path = source.folder / "labelsTr" / "hippocampus_100.nii.gz"
    os.utime(path, ns=(1, 1))
    touched = locate.fingerprint(source)
    path.write_bytes(b"xy")
    assert len({before, touched, locate.fingerprint(source)}) == 3


def test_locating_loads_no_heavy_library(root: Path) -> None:
    standing_in(root / "a")
    code = (
        "import sys; from hipposeg.data import locate; s = locate.locate('standard'); locate.fingerprint(s);"
        "print(sorted({'torch', 'nibabel', 'scipy', 'numpy', 'matplotlib', 'requests', 'pooch'} & set(sys.modules)))"
    )
    environment = {**os.environ, "HIPPOSEG_DATA": str(root / "a")}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
