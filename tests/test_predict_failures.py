"""What goes wrong outside the scan: a folder that takes no files, a full disk, an error in the middle of a batch."""

import csv

import pytest

from hipposeg import cli
from hipposeg.predict import batch
from hipposeg.predict.ensemble import Ensemble
from hipposeg.viz import qc


def predict(served, *images, out):
    return cli.main(["predict", *map(str, images), "-o", str(out), "--weights", str(served.folder)])


def table(out):
    with (out / "volumes.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def no_work(*_, **__):
    raise AssertionError("networks were loaded before the folder was checked")


def test_an_output_that_is_no_folder_is_refused_before_any_work(served, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(batch, "load_ensemble", no_work)
    file = tmp_path / "file"
    file.write_text("mine")
    for out, words in ((file, "found a file, expected a folder"), (file / "out", "nothing can be written there")):
        assert predict(served, served.image(1), out=out) == 1
        said = capsys.readouterr().err
        assert words in said and str(out) in said and "-o" in said and said.count("\n") == 1
    assert file.read_text() == "mine"


def test_an_output_without_permission_is_refused_before_any_work(served, tmp_path, monkeypatch, capsys):
    def denied(**_):
        raise PermissionError(13, "Permission denied", "out")

    monkeypatch.setattr(batch, "load_ensemble", no_work)
    monkeypatch.setattr(batch.tempfile, "TemporaryFile", denied)  # tests may run as root, who may write anywhere
    assert predict(served, served.image(1), out=tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "nothing can be written there (Permission denied)" in said and said.count("\n") == 1


def test_a_full_disk_fails_the_file_and_leaves_what_was_there(served, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    predict(served, served.image(1), out=out)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.name != batch.TABLE}

    def full_disk(image, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hipposeg.predict.scan.nibabel.save", full_disk)
    capsys.readouterr()
    assert predict(served, served.image(1), served.image(2), out=out) == 1
    said = capsys.readouterr()
    assert "2 images: 0 segmented" in said.out and "2 failed" in said.out
    assert said.err.count("No space left on device") == 2 and "Traceback" not in said.err
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.name != batch.TABLE} == before
    assert [row["status"] for row in table(out)] == ["failed", "failed"] and table(out)[0]["mask"] == ""


def test_a_table_that_cannot_be_written_is_said_in_a_sentence(served, tmp_path, monkeypatch, capsys):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batch, "write_csv", full_disk)
    assert predict(served, served.image(1), out=tmp_path) == 1
    assert "the table of volumes could not be written (No space left on device)" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["segment", "save", "draw"])
def test_an_error_in_the_middle_of_a_batch_is_that_files_alone(served, tmp_path, monkeypatch, capsys, where):
    holder, name = {
        "segment": (Ensemble, "segment"), "save": (batch, "save_mask"), "draw": (qc, "picture")
    }[where]  # fmt: skip
    right, calls = getattr(holder, name), []

    def second_fails(*args):
        calls.append(args)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return right(*args)

    monkeypatch.setattr(holder, name, second_fails)
    images = [served.image(number) for number in (1, 2, 3)]
    out = tmp_path / "out"
    assert predict(served, *images, out=out) == 1
    said = capsys.readouterr()
    assert "3 images: 2 segmented" in said.out and "1 failed" in said.out and "0 refused" in said.out
    assert "failed: " in said.err and f"{images[1]}: could not be segmented (RuntimeError: out of memory)" in said.err
    rows = table(out)
    assert [row["status"] == "failed" for row in rows] == [False, True, False]
    assert "out of memory" in rows[1]["notes"] and rows[1]["total_mm3"] == rows[1]["mask"] == ""
    stem = images[1].name.removesuffix(".nii.gz")
    assert not list(out.glob(f"*{stem}*")), "neither a mask without picture nor a temporary file"
    assert len(list(out.iterdir())) == 5
