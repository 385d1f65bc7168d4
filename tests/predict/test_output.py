"""What `hipposeg predict` writes, prints and leaves alone, for any folder, name and terminal.

Most tests replace the networks by a threshold; the last ones run the whole command.
"""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from hipposeg import cli
from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.predict import card, output
from hipposeg.predict.ensemble import Volume
from hipposeg.predict.scan import read
from hipposeg.predict.segment import Hippocampus, Result
from hipposeg.viz import slices
from hipposeg.workspace import project_root

ENDINGS = ("_dseg.nii.gz", "_dseg.tsv", "_volumes.json", "_qc.html")


def threshold(path, ensemble, series, say):
    """Label what is bright; a scan whose name starts with "T2" is refused, and one with "crash" raises."""
    scan = read(path)
    if say:
        say("predicting")
    if path.name.startswith("crash"):
        raise RuntimeError("out of memory")
    if path.name.startswith("T2"):
        return Result(scan, None, {}, {}, (), "refused", ("the networks disagree",))
    labels = (scan.image > scan.image.mean()).astype(np.uint8)
    sides = tuple(Hippocampus(side, scan.image, labels, 0.97) for side in ("left", "right"))
    volumes = {"left": Volume(2000.4, 1800.0, 2300.0), "right": Volume(2500.0, 2250.0, 2750.0)}
    return Result(scan, labels, {1: "left anterior"}, volumes, sides, "check", ("small",), 1500.0)


def use_threshold(patch):
    patch.setattr(output, "segment", threshold)
    patch.setattr(output, "load_ensemble", lambda _: SimpleNamespace(card=SimpleNamespace(level=0.9)))
    patch.setattr(slices, "quality_png", lambda views: b"picture of " + "".join(views).encode())


@pytest.fixture
def fake(monkeypatch):
    use_threshold(monkeypatch)


def scan(path, seed=0):
    path.parent.mkdir(exist_ok=True)
    image = np.random.default_rng(seed).normal(100, 30, (8, 9, 7)).astype(np.float32)
    path.write_bytes(nibabel.Nifti1Image(image, np.eye(4)).to_bytes())
    return path


def predict(*images, out, more=()):
    return cli.main(["predict", *map(str, images), "-o", str(out), *more])


def table(out):
    with (out / "volumes.csv").open(newline="", encoding="utf-8") as stream:
        return {Path(row["image"]).name: row for row in csv.DictReader(stream)}


def contents(folder):
    """The files of a folder, without the lock of its table."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != output.LOCK}


def test_the_files_of_a_scan_and_its_row(fake, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(scan(tmp_path / "a.nii"), out=out) == 0
    assert set(contents(out)) == {f"a{ending}" for ending in ENDINGS} | {"volumes.csv"}
    assert (out / "a_dseg.tsv").read_text() == "index\tname\n1\tleft anterior\n"
    (row,) = table(out).values()
    assert (row["status"], row["reasons"], row["name"], row["anterior_mm3"]) == ("check", "small", "a", "")
    assert (row["left_mm3"], row["left_low"], row["left_high"]) == ("2000.4", "1800.0", "2300.0")
    assert float(row["asymmetry"]) == pytest.approx(-499.6 / 2250.2, abs=1e-4)
    assert row["agreement"] == "0.97"
    left = json.loads((out / "a_volumes.json").read_text())["volumes_mm3"]["left"]
    assert left == {"predicted": 2000.4, "lower": 1800, "upper": 2300}
    page = (out / "a_qc.html").read_text()
    assert (
        "Status: check" in page
        and "<li>small" in page
        and "<td>left<td>2000<td>1800 to 2300" in page
        and "http" not in page
    )
    said = capsys.readouterr().out
    assert "left 2000 mm³ (1800 to 2300)" in said and "1 scans: 0 ok, 1 check" in said and "[1/1] " in said


def test_intervals_run_from_low_to_high_wherever_they_are_written(fake, tmp_path):
    volume = Volume(2000.4, 1800.0, 2300.0)
    assert str(volume) == "2000 mm³ (1800 to 2300)"
    image = read(scan(tmp_path / "a.nii"))
    result = Result(image, None, {}, {"left": volume, "total": volume}, (), "check", ())
    assert [output.as_cells(result)[f"left_{end}"] for end in ("mm3", "low", "high")] == ["2000.4", "1800.0", "2300.0"]
    facts = output.as_facts("a.nii", result, 0.9)["volumes_mm3"]["left"]
    assert facts == {"predicted": 2000.4, "lower": 1800.0, "upper": 2300.0}
    assert "<tr><td>left<td>2000<td>1800 to 2300" in output.as_page("a", result, 0.9)
    lower, upper = card.bounds(np.array([100.0, 100.0]), np.array([30.0, 200.0]))
    assert (lower.tolist(), upper.tolist()) == ([70, 0], [130, 300]), "no volume is negative"


def test_inputs_are_never_replaced_nor_removed(fake, tmp_path, capsys):
    x, mask = scan(tmp_path / "x.nii"), scan(tmp_path / "x_dseg.nii.gz", seed=1)
    before = mask.read_bytes()
    for more in ((), (), ("--overwrite",)):
        assert predict(x, mask, out=tmp_path, more=more) == 1
        assert mask.read_bytes() == before and "is an input of this call" in capsys.readouterr().out
        assert set(table(tmp_path)) == {"x_dseg.nii.gz"}
    assert predict(x, out=tmp_path) == 1, "no earlier call wrote it"
    assert mask.read_bytes() == before


def test_files_of_others_need_overwrite(fake, tmp_path, capsys):
    out, a = tmp_path / "out", scan(tmp_path / "a.nii")
    out.mkdir()
    (out / "a_qc.html").write_text("mine")
    for _ in range(2):
        assert predict(a, out=out) == 1
        assert contents(out) == {"a_qc.html": b"mine"} and "--overwrite" in capsys.readouterr().out
    assert predict(a, out=out, more=["--overwrite"]) == 0 and b"mine" not in contents(out).values()
    assert predict(a, out=out) == 0, "now it is ours"


def test_a_bids_sidecar_beside_the_scan_stays(fake, tmp_path):
    (tmp_path / "a.json").write_text("{}")
    assert predict(scan(tmp_path / "a.nii"), out=tmp_path) == 0 and (tmp_path / "a.json").read_text() == "{}"


def test_a_table_of_others_needs_overwrite(fake, tmp_path, capsys):
    (tmp_path / "volumes.csv").write_text("image,volume\n")
    a = scan(tmp_path / "a.nii")
    assert predict(a, out=tmp_path) == 1 and "a table that hipposeg did not write" in capsys.readouterr().err
    assert (tmp_path / "volumes.csv").read_text() == "image,volume\n" and not (tmp_path / "a_qc.html").exists()
    assert predict(a, out=tmp_path, more=["--overwrite"]) == 0 and list(table(tmp_path)) == ["a.nii"]


def test_a_second_call_adds_rows_and_a_bad_scan_does_not_stop_the_batch(fake, tmp_path, capsys):
    out, bad = tmp_path / "out", tmp_path / "bad.nii"
    a, b, crash = (scan(tmp_path / f"{name}.nii") for name in ("a", "b", "crash"))
    bad.write_text("no scan")
    assert predict(a, out=out) == 0
    first = contents(out)["a_dseg.nii.gz"], table(out)["a.nii"]
    assert predict(bad, crash, b, bad, out=out) == 1
    assert "3 scans: 0 ok, 1 check, 1 refused, 1 failed" in capsys.readouterr().out
    rows = table(out)
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.nii": "check", "bad.nii": "refused", "crash.nii": "failed", "b.nii": "check",
    }  # fmt: skip
    assert (contents(out)["a_dseg.nii.gz"], rows["a.nii"]) == first
    assert "another kind of file" in rows["bad.nii"]["reasons"] and "out of memory" in rows["crash.nii"]["reasons"]
    assert not list(out.glob("bad*")) and not list(out.glob("crash*"))


def test_two_processes_in_one_folder_lose_no_row_and_share_no_name(fake, tmp_path):
    out, first, second = tmp_path / "out", scan(tmp_path / "l" / "x.nii"), scan(tmp_path / "r" / "x.nii", seed=1)
    late = output.Folder(out, ())  # opened before the other writes
    for folder, path in ((output.Folder(out, ()), first), (late, second)):
        assert folder.blocked(path) == ""
        folder.put(path, threshold(path, None, "", None), 0.9)
    with (out / "volumes.csv").open(newline="") as stream:
        rows = {Path(row["image"]): row["name"] for row in csv.DictReader(stream)}
    assert rows == {first: "x", second: "r_x"}
    assert all((out / f"{name}_volumes.json").is_file() for name in rows.values())


def test_a_table_that_is_damaged_is_named(fake, tmp_path, capsys):
    (tmp_path / "volumes.csv").write_text(",".join(output.COLUMNS) + "\n" + "x" * (1 << 18) + "\n")
    assert predict(scan(tmp_path / "a.nii"), out=tmp_path) == 1
    assert "volumes.csv: found a damaged file" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["unreadable", "refused"])
def test_a_refusal_after_a_success_removes_the_old_mask(fake, tmp_path, monkeypatch, how):
    out, a = tmp_path / "out", scan(tmp_path / "a.nii")
    predict(a, out=out)
    if how == "unreadable":
        a.write_text("no scan")
    else:
        monkeypatch.setattr(output, "segment", lambda path, *_: Result(read(path), None, {}, {}, (), "refused", ("?",)))
    assert predict(a, out=out) == 1
    assert {path.name for path in out.glob("a_*")} <= {"a_volumes.json"} and table(out)["a.nii"]["status"] == "refused"
    assert table(out)["a.nii"]["left_mm3"] == ""


def test_a_row_is_written_before_anything_is_printed(fake, tmp_path, monkeypatch):
    out, seen = tmp_path / "out", []
    monkeypatch.setattr(output, "print_safely", lambda _, to=None: to or seen.append(len(table(out))))
    predict(scan(tmp_path / "a.nii"), scan(tmp_path / "b.nii"), out=out)
    assert seen == [1, 1, 2, 2, 2, 2]


def test_names_keep_apart(fake, tmp_path, monkeypatch):
    out, x = tmp_path / "out", Path("x.nii")
    for folder in ("l", "r", "r"):
        scan(tmp_path / folder / x)
        monkeypatch.chdir(tmp_path / folder)
        assert predict(x, out=out) == 0
    assert predict(scan(tmp_path / "r" / "x.mgz"), out=out) == 0
    names = {path.name.removesuffix("_volumes.json") for path in out.glob("*.json")}
    assert names == {"x", "r_x", f"{tmp_path.name}_r_x"}
    assert output.Folder(out, ()).name(Path(".")) == "r" and output.Folder(out, ()).name(Path("../l")) == "l"


def test_when_all_folder_names_are_taken_numbers_tell_scans_apart(fake, tmp_path):
    folder, found = output.Folder(tmp_path, ()), []
    for _ in range(6):
        found.append(folder.name(Path("/p/q/x.nii")))
        folder.rows[f"another {found[-1]}"] = {"name": found[-1]}
    assert found == ["x", "q_x", "p_q_x", "x-2", "x-3", "x-4"]


def test_a_segmentation_needs_highdicom(fake, tmp_path, monkeypatch, capsys):
    image = scan(tmp_path / "a.nii")
    assert predict(image, out=tmp_path / "out", more=("--dicom-seg",)) == 0
    monkeypatch.setattr(output, "find_spec", lambda name: None)
    assert predict(image, out=tmp_path / "other", more=("--dicom-seg",)) == 1
    assert "found no highdicom; `pip install 'hipposeg[dicom]'`" in capsys.readouterr().err


def test_an_output_that_takes_no_files_is_refused_before_any_work(fake, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(output, "load_ensemble", None)
    a, file = scan(tmp_path / "a.nii"), tmp_path / "file"
    file.write_text("mine")
    for out in (file, file / "out"):
        assert predict(a, out=out) == 1 and f"{out}: " in (said := capsys.readouterr().err) and "mixed up" in said
    assert file.read_text() == "mine"


@pytest.mark.parametrize("writer", ["save_labels", "write_json", "write_text", "write_csv"])
def test_a_full_disk_is_told_in_a_sentence_and_leaves_no_half_result(fake, tmp_path, monkeypatch, capsys, writer):
    def full(*_):
        raise OSError(28, "No space left on device")

    a, bad, out = scan(tmp_path / "a.nii"), tmp_path / "bad.nii", tmp_path / "out"
    bad.write_text("no scan")
    predict(a, out=out)
    monkeypatch.setattr(output, writer, full)
    capsys.readouterr()
    assert predict(a, bad, out=out) == 1
    said = capsys.readouterr()
    assert "No space left on device" in said.out and "1 refused, 1 failed" in said.out and "Traceback" not in said.err
    assert set(contents(out)) == {"volumes.csv"}
    if writer != "write_csv":
        assert [row["status"] for row in table(out).values()] == ["failed", "refused"]


def test_weights_that_are_missing_or_not_the_cards(tmp_path, capsys):
    a, copy = scan(tmp_path / "a.nii"), tmp_path / "copy"
    assert predict(a, out=tmp_path / "out", more=["--weights", str(tmp_path)]) == 1
    assert f"{tmp_path / 'card.json'} is missing" in capsys.readouterr().err
    shutil.copytree(card.PACKAGED, copy)
    path = min(copy.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    assert predict(a, out=tmp_path / "out", more=["--weights", str(copy)]) == 1
    words = (
        rf"{path.name}: found SHA-256 \w{{64}}, expected {card.read().runs[path.stem]} as in card.json; copy card and"
    )
    assert re.search(words, capsys.readouterr().err)


def test_ctrl_c_says_what_is_kept(fake, tmp_path, monkeypatch, capsys):
    def stop(path, *more):
        if path.name == "b.nii":
            raise KeyboardInterrupt
        return threshold(path, *more)

    monkeypatch.setattr(output, "segment", stop)
    assert predict(scan(tmp_path / "a.nii"), scan(tmp_path / "b.nii"), out=tmp_path / "out") == 130
    said = capsys.readouterr().err
    assert "Finished scans and their rows in volumes.csv are kept." in said and "heckpoint" not in said
    assert list(table(tmp_path / "out")) == ["a.nii"]


def run(command, folder, **environment):
    """A command line in a shell; $PREDICT is `hipposeg predict` with the threshold."""
    code = "import sys, pytest, test_output as t; t.use_threshold(pytest.MonkeyPatch())"
    code += "; sys.exit(t.cli.main(['predict', *sys.argv[1:]]))"
    start = f'predict() {{ "{sys.executable}" -c "{code}" "$@"; }}; set -o pipefail; '
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path} | environment
    return subprocess.run(["bash", "-c", start + command], cwd=folder, env=environment, capture_output=True)


@pytest.mark.processes
def test_names_and_terminals_of_any_kind(tmp_path):
    scan(tmp_path / "$a$ $b^2$ <é>.nii")
    os.rename(scan(tmp_path / "x.nii"), os.fsencode(tmp_path) + b"/caf\xe9.nii")
    done = run("predict *.nii -o out", tmp_path, PYTHONIOENCODING="ascii", LC_ALL="C.UTF-8")
    assert done.returncode == 0 and b"2 check" in done.stdout and b"2000 mm\\xb3" in done.stdout, done.stderr
    assert b"Traceback" not in done.stderr
    rows = table(tmp_path / "out")
    assert set(rows) == {"$a$ $b^2$ <é>.nii", "caf\\udce9.nii"}
    for row in rows.values():
        assert all((tmp_path / "out" / (row["name"] + ending)).is_file() for ending in ENDINGS)
    assert "&lt;é&gt;" in (tmp_path / "out" / "$a$ $b^2$ <é>_qc.html").read_text(encoding="utf-8")
    again = run("predict caf*.nii -o out", tmp_path)
    assert again.returncode == 0 and table(tmp_path / "out") == rows, again.stderr


def test_names_that_are_formulas_or_steer_a_terminal(fake, tmp_path, capsys):
    out, names = tmp_path / "out", ["=1+1.nii", "+a.nii", "-b.nii", "@c.nii", "d\x1b[2J.nii", "T2\ne.nii"]
    for name in names:
        scan(tmp_path / name)
    assert predict(*(tmp_path / name for name in names), out=out) == 1
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "d\\x1b[2J.nii: check" in said.out and "T2\\ne.nii: refused" in said.out
    found = {row["name"] for row in table(out).values()}
    assert found == {"_=1+1", "_+a", "_-b", "_@c", "d_[2J", "T2_e"}
    assert all((out / f"{name}_volumes.json").is_file() for name in found)
    assert predict(scan(tmp_path / "@b" / "T1.nii"), scan(tmp_path / "=a" / "T1.nii"), out=out) == 0
    assert {"T1", "_=a_T1"} <= {row["name"] for row in output.Folder(out, ()).rows.values()}
    for text in ("=1", "+1", "-1", "@1", "\t1", "\r1"):
        assert output.as_cell(text)[0] in "'\\"
    assert output.as_cell("one\ntwo = 3") == "one two = 3"


@pytest.mark.processes
def test_a_closed_pipe_does_not_end_the_batch(tmp_path):
    for name in "abc":
        scan(tmp_path / f"{name}.nii")
    done = run("predict a.nii b.nii c.nii -o out 2>&1 | head -1", tmp_path)
    assert list(table(tmp_path / "out")) == ["a.nii", "b.nii", "c.nii"]
    assert done.returncode == 0 and done.stderr == b"" and b"predicting" in done.stdout


def test_the_commands_of_the_readme_are_taken():
    text = (project_root() / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^(?:\.venv/bin/)?hipposeg ((?:predict|bids|serve) ?[^#\n]*)", text, re.MULTILINE)
    assert {cli.parser().parse_args(shlex.split(line)).function.__name__ for line in lines} == {
        "predict", "bids", "serve",
    }  # fmt: skip


# The command in a Python of its own, in which a connection is an error and is listed with what was imported. nibabel
# imports pydicom, and that urllib3, which opens a socket of its own to see whether there is IPv6.
COMMAND = """
import json, sys
seen = []
def forbid(event, args):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.bind"):
        seen.append(event)
        raise OSError(f"a connection was tried: {event}")
sys.addaudithook(forbid)
from hipposeg import cli
status = cli.main(sys.argv[1:])
print(json.dumps({"status": status, "seen": seen, "modules": sorted(sys.modules)}))
"""
# Only training, compilation and whole heads need these; importing them takes seconds.
NOT_NEEDED = {"hipposeg_lab", "distributed", "aiohttp", "highdicom", "pandas", "torch._inductor", "torch._dynamo",
              "monai", "SimpleITK", "pyvista", "open_clip", "timm"}  # fmt: skip


@pytest.mark.processes
def test_the_whole_command_on_a_real_crop(msd_dir, tmp_path):
    """Without a connection, with settings of matplotlib that would stop it, and the same bytes twice."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: TkAgg\nfont.size: 40\n")
    path, pages = msd_dir / "imagesTr" / MSD_HIPPOCAMPUS.file_name(1), []
    for out, settings in (("a", {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": str(tmp_path)}), ("b", {})):
        command = [sys.executable, "-c", COMMAND, "predict", str(path), "-o", str(tmp_path / out)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | settings)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        assert (told["status"], told["seen"], NOT_NEEDED & set(told["modules"])) == (0, [], set())
        pages.append(contents(tmp_path / out))
    assert pages[0] == pages[1] and len(pages[0]) == 5
    (row,) = table(tmp_path / "a").values()
    mask = np.asarray(nibabel.load(tmp_path / "a" / f"{row['name']}_dseg.nii.gz").dataobj)
    assert set(np.unique(mask)) == {0, 1, 2} and float(row["total_mm3"]) == np.count_nonzero(mask)
    assert b"data:image/png;base64,iVBOR" in pages[0][f"{row['name']}_qc.html"]
