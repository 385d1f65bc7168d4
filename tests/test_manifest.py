"""The manifest lists what must repeat, and a comparison finds every difference."""

import hashlib

import pytest

from hipposeg import cli, manifest
from hipposeg.files import read_json, write_json, write_text
from hipposeg.workspace import Workspace


def fill(root, dataset="phantom", profile="smoke") -> Workspace:
    ws = Workspace(root, dataset, profile)
    write_text(ws.artifacts / "results.csv", "run,dice\nunet2d,0.5\n")
    write_text(ws.figures / "01_shapes.svg", "<svg/>")
    write_json(ws.artifacts / "runs" / "unet2d" / "config.json", {"data_sha256": "d" * 64})
    write_json(ws.artifacts / "runs" / "unet2d" / "provenance.json", {"seconds": 1.5})
    write_text(ws.artifacts / "timings.csv", "kind,name\n")
    write_text(ws.page, "<html></html>")
    write_json(ws.folds, {"grouped": []})
    return ws


def test_manifest_holds_what_is_compared(tmp_path):
    ws = fill(tmp_path)
    content = read_json(manifest.write(ws))
    assert sorted(content["files"]) == [
        "figures/01_shapes.svg", "folds.json", "project.html", "results.csv", "runs/unet2d/config.json",
    ]  # fmt: skip
    assert content["files"]["figures/01_shapes.svg"] == hashlib.sha256(b"<svg/>").hexdigest()
    assert content["beside"] == {}
    assert content["data_sha256"] == "d" * 64
    assert len(content["source_sha256"]) == 64
    assert manifest.check(ws) == []


def test_a_page_built_anew_does_not_claim_newer_sources(tmp_path, monkeypatch):
    ws = Workspace(tmp_path, "phantom", "smoke")
    (ws.artifacts / "figures").mkdir(parents=True)
    manifest.write(ws)
    before = read_json(ws.artifacts / "manifest.json")["source_sha256"]
    monkeypatch.setattr(manifest, "source_hash", lambda: "later")
    assert read_json(manifest.write(ws, made=False))["source_sha256"] == before
    assert read_json(manifest.write(ws))["source_sha256"] == "later"


def test_page_and_folds_of_the_real_data_stand_beside(tmp_path):
    ws = fill(tmp_path, "msd", "standard")
    content = read_json(manifest.write(ws))
    assert sorted(content["beside"]) == ["artifacts/folds.json", "project.html"]
    write_text(ws.page, "<html>changed</html>")
    assert manifest.check(ws) == ["project.html: the bytes differ"]


def test_check_finds_changed_lost_and_foreign_files(tmp_path):
    ws = fill(tmp_path)
    manifest.write(ws)
    write_text(ws.artifacts / "results.csv", "run,dice\nunet2d,0.9\n")
    (ws.figures / "01_shapes.svg").unlink()
    write_text(ws.figures / "01_new.svg", "<svg/>")
    assert manifest.check(ws) == [
        "figures/01_shapes.svg: in the manifest, not in the folder",
        "figures/01_new.svg: in the folder, not in the manifest",
        "results.csv: the bytes differ",
    ]


def test_runs_on_different_data_are_refused(tmp_path):
    ws = fill(tmp_path)
    write_json(ws.artifacts / "runs" / "unet3d" / "config.json", {"data_sha256": "e" * 64})
    with pytest.raises(ValueError, match="2 different data sets"):
        manifest.build(ws)


def test_compare_ignores_seconds_and_finds_one_byte(tmp_path, capsys):
    a, b = fill(tmp_path / "a"), fill(tmp_path / "b")
    write_text(b.artifacts / "timings.csv", "kind,name\nrun,other\n")
    write_json(b.artifacts / "runs" / "unet2d" / "provenance.json", {"seconds": 9})
    assert cli.main(["compare", str(a.artifacts), str(b.artifacts)]) == 0
    assert "5 files compared" in capsys.readouterr().out

    write_text(b.figures / "01_shapes.svg", "<svg />")
    assert cli.main(["compare", str(a.artifacts), str(b.artifacts)]) == 1
    assert capsys.readouterr().err.strip() == "figures/01_shapes.svg: the bytes differ"


def test_comparing_nothing_is_an_error(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    ws = fill(tmp_path / "a")
    for other in ("empty", "absent"):
        assert cli.main(["compare", str(ws.artifacts), str(tmp_path / other)]) == 1
        assert "nothing to compare" in capsys.readouterr().err
