"""The `hipposeg` command.

Everything heavy is imported by the subcommand that needs it, because make calls `hipposeg data` before every target.
"""

import argparse
import errno
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hipposeg.data import locate
from hipposeg.files import printable
from hipposeg.workspace import PROFILES, Workspace

EXAMPLES = """examples:
  hipposeg predict T1.nii.gz -o out          segment a scan of a head
  hipposeg predict dicom_folder -o out       the same from DICOM
  hipposeg bids study out participant        segment every T1w scan of a BIDS data set
  hipposeg serve                             segment scans in a web browser on this machine
  hipposeg train unet2d --schedule S         train one model on fold 0
  hipposeg train --plan standard             train the runs of the notebooks, several at a time
  hipposeg train --data MY --model unet3d    train on another labelled data set: folds, scores, a page
  hipposeg execute 03                        run a notebook
"""
# `anydata.subjects.RULES` in short.
RULES = (
    "which cases are one subject: pattern:REGEX, column:NAME (of cases.tsv), participants[:FILE], pairs, or case (each "
    "its own)"
)
GOES_ON = "What is finished is kept: the same command goes on from there."
# Errors of a disk: it is full, or nothing may be written.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
ELSEWHERE = "or set HIPPOSEG_OUT (of predict, bids and serve: name another folder)"
STOPPED = {"predict": "Finished scans and their rows in volumes.csv are kept.", "serve": ""}


def data(args: argparse.Namespace) -> int:
    """Find the data set, or download it, and print its name, the profile, its fingerprint and its folder."""
    source = locate.locate(args.profile)
    profile = Workspace.here(source.dataset, args.profile).profile
    print(source.dataset, profile, locate.fingerprint(source)[:16], source.folder)
    return 0


def execute(args: argparse.Namespace) -> int:
    """Run one notebook and keep its executed copy in artifacts/notebooks."""
    from hipposeg import reproduce

    print(f"== notebook {args.number}, profile {args.profile}", flush=True)
    started = time.perf_counter()
    try:
        copy = reproduce.execute(args.number, args.profile)
    except reproduce.NotebookError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(f"== {copy.stem} done in {time.perf_counter() - started:.0f} s", flush=True)
    return 0


def train(args: argparse.Namespace) -> int:
    """Train a model, or all runs of a plan, and print what they scored.

    What the tables of artifacts/ hold as it is configured now is not trained again, whichever machine trained it; the
    plan `standard` counts only what this machine has trained. A stopped training resumes from its last epoch.

    With --data, train on another labelled data set (MSD, nnU-Net v2 raw, MRIHS or HipMRI layout), fitted to its voxels,
    and write scores, figures and page.html into the folder --out.
    """
    args.model = args.model or args.network
    if args.data:
        return _train_other(args)
    if others := [name for name in _OTHER if getattr(args, name)]:
        raise ValueError(f"--{others[0].replace('_', '-')} needs --data, the folder of a labelled data set")
    if bool(args.model) == bool(args.plan):
        raise ValueError("name either a model, such as unet2d, or a plan, such as --plan standard")
    return _train_plan(args) if args.plan else _train_one(args)


def _train_one(args: argparse.Namespace) -> int:
    from hipposeg.data import cohort, folds
    from hipposeg.experiments import RunSpec
    from hipposeg.experiments.run import in_tables, obtain

    source = locate.locate("standard")
    ws = Workspace.here(source.dataset, "standard")
    people = cohort.load(source)
    schedule = args.schedule or ws.profile
    run = RunSpec(args.model, args.folds or "grouped", args.fold, args.seed, schedule, args.hardware)
    every = folds.read_or_write(ws.folds, people)
    if not args.retrain and in_tables(run, people, every, ws):
        print(f"{run.name} is in the tables already; --retrain trains it again.")
    result = obtain(run, people, every, ws, args.retrain)
    for label in result.rows["label"].unique():
        print(f"{label:>12}  Dice {result.mean(label):.4f}")
    print(f"Its rows are in {ws.artifacts / 'runs.csv'} and scores.csv.gz, under {result.name}.")
    return 0


# What only `train --data` takes; every default is false.
_OTHER = "out subjects all_folds watch patch patches people channel_dropout start_from name".split()


def _train_other(args: argparse.Namespace) -> int:
    from hipposeg.anydata import commands
    from hipposeg.anydata.fit import Wishes

    if not args.model or args.plan:
        raise ValueError("--data takes a model, such as --model unet3d, and no plan")
    wishes = Wishes(args.patch, args.patches, args.people, args.channel_dropout, args.start_from, args.name)
    fold = None if args.all_folds else args.fold
    commands.train(
        args.data, args.model, args.out, args.subjects, args.folds or "", fold, args.seed, args.schedule or "standard",
        args.watch, wishes, _say,
    )  # fmt: skip
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """Score the networks of a folder of results on a labelled data set, with all channels or without some.

    Of the data set that they were trained on, training, validation and test cases are scored side by side; of any
    other, all cases. The rows go to evaluation.csv and into page.html of the folder --out.
    """
    from hipposeg.anydata import commands

    without = tuple(args.without)
    commands.evaluate(args.data, args.out, args.subjects, args.only, without, _say)
    return 0


def _train_plan(args: argparse.Namespace) -> int:
    from hipposeg.experiments import many, zoo2d
    from hipposeg.models import encoders

    profile = args.plan if args.plan in ("smoke", "full") else "standard"
    source = locate.locate(profile)
    ws = Workspace.here(source.dataset, profile)
    name = "standard" if ws.is_phantom else args.plan  # the phantom has one plan, for two epochs
    if not args.list and not ws.is_phantom:
        encoders.imagenet_weights(zoo2d.MOBILENET)  # the plan uses them if this machine has them
    todo = many.planned(source, ws, name, args.only, args.retrain)
    if args.list:
        print("\n".join(f"{'done' if done else 'to train':<9} {run.name}" for run, done in todo.items()))
        return 0
    waiting = [run for run, done in todo.items() if not done]
    print(f"{len(todo) - len(waiting)} of {len(todo)} runs of the plan {args.plan} are done.", flush=True)
    many.train_all(source, ws, waiting, args.jobs, args.scheduler, _say)
    return 0


def sync(args: argparse.Namespace) -> int:
    """Write the .ipynb files from their .py sources, or list those that are out of date."""
    from hipposeg import reproduce

    stale = reproduce.sync(reproduce.home(), args.check)
    if args.check and stale:
        print(f"Not in sync with their percent sources: {', '.join(stale)}. Run `make sync`.", file=sys.stderr)
        return 1
    print("The notebooks are in sync." if not stale else f"Written: {', '.join(stale)}")
    return 0


def compare(args: argparse.Namespace) -> int:
    """Compare two artifacts folders; measured times are left out."""
    from hipposeg import reproduce

    differences, count = reproduce.compare(args.a, args.b)
    return report(differences, f"{count} files compared: every byte is the same.")


def predict(args: argparse.Namespace) -> int:
    """Segment T1-weighted scans: masks, volumes with intervals, and a page to check each by.

    Each SCAN is a whole head (NIfTI, MGZ, NRRD, MetaImage, or a folder with a DICOM series) or a 1 mm crop around one
    hippocampus. DIR receives NAME_dseg.nii.gz on the scan's own grid (of a head: 1 left anterior, 2 left posterior,
    3 right anterior, 4 right posterior; of a crop: 1 anterior, 2 posterior), its label table, NAME_volumes.json,
    NAME_qc.html, and a row of volumes.csv with a conformal interval for each volume. A scan is "ok", to "check" or
    "refused", each with the reason; the others are still segmented, and the exit status is 1 if one was refused. No
    network connection is used. Not a medical device.
    """
    from hipposeg.predict import output

    return output.run(args.images, args.output, args.weights, args.series, args.overwrite, args.dicom_seg)


def bids(args: argparse.Namespace) -> int:
    """Segment every T1w scan of a BIDS data set (BIDS App).

    The level "participant" writes masks (sub-01_desc-hipposeg_dseg.nii.gz), JSON sidecars and pictures as a BIDS
    derivative; finished scans are not done again. The level "group" writes a table of all scans and a page with the
    most unusual first. The exit status is 1 if a scan was refused or failed.
    """
    from hipposeg.predict import bids

    if args.level == "group":
        return bids.group(args.bids_dir, args.output)
    options = (args.participant_label, args.scheduler, args.jobs, args.overwrite, args.weights)
    return bids.participant(args.bids_dir, args.output, *options)


def serve(args: argparse.Namespace) -> int:
    """Segment scans in a web browser on this machine; nothing is kept afterwards unless -o names a folder."""
    from hipposeg.predict import serve

    return serve.run(args.port, args.output, args.weights)


def report(differences: list[str], otherwise: str) -> int:
    """Print differences and return 1, or print `otherwise` and return 0."""
    print("\n".join(differences) or otherwise, file=sys.stderr if differences else sys.stdout)
    return 1 if differences else 0


def triple(text: str) -> tuple[int, int, int]:
    """Three whole numbers, as in 96,96,64."""
    sides = tuple(int(part) for part in text.split(","))
    if len(sides) != 3 or min(sides) < 1:
        raise argparse.ArgumentTypeError(f"found {text}, expected three whole numbers, such as 96,96,64")
    return sides


def in_words(error: OSError) -> str:
    """What the system refused, where, and what to do."""
    if error.errno is None:  # raised by this project, with a message of its own
        return str(error)
    found = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    if error.errno in FULL:
        return f"{found} Make room on that disk, {ELSEWHERE}; then run the same command again. {GOES_ON}"
    if error.errno in CLOSED:
        return f"{found} Make that place readable and writable, {ELSEWHERE}."
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return f"{found} A file and a folder are mixed up there: rename or remove one, {ELSEWHERE}."
    return f"{found} Check that place and run the same command again."


def _harmless(record: logging.LogRecord) -> bool:
    record.msg, record.args = printable(record.getMessage()), ()
    return True


def _say(text: object) -> None:
    print(printable(str(text)), flush=True)


def subcommand(commands: Any, function: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    """Add a subcommand with the name of its function, and the function's docstring as its help."""
    text = (function.__doc__ or "").strip()
    sub = commands.add_parser(function.__name__, help=text.splitlines()[0].rstrip("."), description=text)
    sub.set_defaults(function=function)
    return sub


def parser() -> argparse.ArgumentParser:
    """All subcommands and their arguments."""
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        "hipposeg", description="Segment the hippocampus in MRI.", epilog=EXAMPLES, formatter_class=raw
    )
    command = partial(subcommand, top.add_subparsers(required=True, metavar="command"))
    profile = {"choices": PROFILES, "default": "standard", "help": "how much to train (standard)"}
    scan = command(predict)
    scan.add_argument("images", nargs="+", type=Path, metavar="SCAN", help="a file, or a folder with DICOM files")
    scan.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="created if it does not exist")
    scan.add_argument("--series", default="", metavar="TEXT", help="of a DICOM folder: number, UID or description")
    scan.add_argument(
        "--overwrite", action="store_true", help="replace files that no earlier call wrote (never inputs)"
    )
    scan.add_argument("--dicom-seg", action="store_true", help="of DICOM scans, write a DICOM SEG, too (extra dicom)")
    cohort = command(bids)
    cohort.add_argument("bids_dir", type=Path, metavar="BIDS_DIR", help="the data set; nothing is written there")
    cohort.add_argument("output", type=Path, metavar="OUT_DIR", help="the derivative; created if it does not exist")
    cohort.add_argument("level", choices=("participant", "group"), help="the scans, or the table and page of all")
    cohort.add_argument(
        "--participant-label", "--participant_label", nargs="+", default=(), metavar="LABEL", help="such as 01 (all)"
    )
    cohort.add_argument("--scheduler", default="", metavar="ADDRESS", help="dask scheduler, such as tcp://host:8786")
    cohort.add_argument("--jobs", type=int, metavar="N", help="scans at a time here (as cores and memory allow)")
    cohort.add_argument("--overwrite", action="store_true", help="do finished scans again")
    web = command(serve)
    web.add_argument("--port", type=int, default=8000, help="0 takes any free one (8000)")
    web.add_argument("-o", "--output", type=Path, metavar="DIR", help="keep the results in this folder")
    for one in (scan, cohort, web):
        one.add_argument("--weights", type=Path, metavar="DIR", help="folder with card.json and weights (packaged)")
    trained = command(train)
    trained.add_argument("model", nargs="?", help="such as unet2d; a wrong name lists all")
    kinds = ("grouped", "nnunet", "dev", "inner", "leak-volumes", "leak-slices", "test")
    trained.add_argument("--folds", choices=kinds, help="kind of folds (test if the data have that part, else grouped)")
    trained.add_argument("--fold", type=int, choices=range(5), default=0, help="which fold (0)")
    trained.add_argument("--seed", type=int, default=0, help="of weights, batch order and augmentation (0)")
    trained.add_argument("--schedule", help="one of the model's schedules (standard)")
    trained.add_argument(
        "--hardware", default="", help="fp32 forces float32 on a CPU (what this machine is fastest with)"
    )
    trained.add_argument("--plan", metavar="PLAN", help="smoke, standard, full, or a notebook's number")
    trained.add_argument("--only", default="", metavar="TEXT", help="of a plan, runs whose name contains TEXT")
    trained.add_argument("--jobs", type=int, metavar="N", help="runs at a time (one for each core, at most 8)")
    trained.add_argument("--scheduler", default="", metavar="ADDRESS", help="dask scheduler, such as tcp://host:8786")
    trained.add_argument("--list", action="store_true", help="print what the plan would train, and train nothing")
    trained.add_argument("--retrain", action="store_true", help="train what the tables hold, too")
    other = trained.add_argument_group("another labelled data set")
    other.add_argument("--model", dest="network", default="", metavar="NAME", help="such as unet3d or project-d")
    other.add_argument("--all-folds", action="store_true", help="train every fold of the kind")
    other.add_argument("--watch", action="store_true", help="keep some training subjects for curves of their Dice")
    other.add_argument("--patch", type=triple, metavar="X,Y,Z", help="voxels that the network reads at once")
    other.add_argument("--patches", type=int, default=0, metavar="N", help="samples an epoch")
    other.add_argument("--people", type=int, default=0, metavar="N", help="training subjects to learn from (all)")
    other.add_argument("--channel-dropout", type=float, default=0.0, metavar="P", help="leave channels out in training")
    other.add_argument("--start-from", type=Path, metavar="FILE", help="weights.safetensors to start from")
    other.add_argument("--name", default="", help="of the model in the tables")
    scored = command(evaluate)
    scored.add_argument("--without", nargs="+", default=(), metavar="CHANNEL", help="channels that are left out")
    scored.add_argument("--only", default="", metavar="TEXT", help="runs whose name contains TEXT")
    for one in (other, scored):
        one.add_argument("--data", type=Path, metavar="DIR", required=one is scored, help="the data set")
        one.add_argument("--out", type=Path, metavar="DIR", help="folder of results (NAME-hipposeg)")
        one.add_argument("--subjects", default="", metavar="RULE", help=RULES)
    run = command(execute)
    run.add_argument("number", help="the notebook's number, such as 03")
    run.add_argument("--profile", **profile)
    found = command(data)
    found.add_argument("--profile", **profile)
    command(sync).add_argument("--check", action="store_true", help="write nothing")
    compared = command(compare)
    compared.add_argument("a", type=Path, help="an artifacts folder")
    compared.add_argument("b", type=Path, help="another one")
    return top


def main(argv: Sequence[str] | None = None, commands: argparse.ArgumentParser | None = None) -> int:
    """Run one subcommand; expected errors end as one sentence, not as a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for handler in logging.getLogger().handlers:  # names of files are in many messages
        handler.addFilter(_harmless)
    for talkative in ("papermill", "numexpr", "highdicom"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    args = (commands or parser()).parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ending a plan ends its trainings, too
    try:
        status = args.function(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # as in `hipposeg train --list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again when it ends
        return 1
    except (ValueError, KeyError, FloatingPointError, OSError) as error:
        found = in_words(error) if isinstance(error, OSError) else error
        found = error.args[0] if isinstance(error, KeyError) and error.args else found
        print(printable(f"hipposeg: {found}"), file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        extra = {"bids": "bids", "serve": "web"}.get(args.function.__name__, "notebooks")
        print(f"hipposeg: found no {error.name}; `pip install 'hipposeg[{extra}]'` installs it.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nStopped. {STOPPED.get(args.function.__name__, GOES_ON)}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
