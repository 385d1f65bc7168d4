"""The `hipposeg` command: what make calls, and what a person may call directly.

Everything heavy is imported by the subcommand that needs it, because make asks `hipposeg data` before every target.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from hipposeg.data import locate
from hipposeg.files import read_json, write_json
from hipposeg.workspace import DATASETS, PROFILES, Workspace, output_root, project_root


def data(args: argparse.Namespace) -> int:
    """Print the data set's name; `.work/<ws>/data.json` changes only when the files do, so make can depend on it."""
    if args.retry:
        locate.forget_failed_attempt()
    source = locate.locate(args.profile)
    ws = Workspace(output_root(), source.dataset, args.profile)
    found = {"dataset": source.dataset, "profile": args.profile, "fingerprint": locate.fingerprint(source)}
    path = ws.work / "data.json"
    if not path.is_file() or read_json(path) != found:
        write_json(path, found)
    print(source.dataset)
    return 0


def execute(args: argparse.Namespace) -> int:
    """Run one notebook."""
    from hipposeg.execute import NotebookError, execute

    print(f"== notebook {args.number}, profile {args.profile}", flush=True)
    try:
        result = execute(args.number, args.profile)
    except NotebookError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(f"== {result.path.stem} done in {result.seconds:.0f} s", flush=True)
    return 0


def train(args: argparse.Namespace) -> int:
    """Train one run, or load it if it is there, and print its scores; recipes are developed with --folds dev."""
    from hipposeg.data import cohort, folds
    from hipposeg.experiments import RunSpec, train_or_load

    source = locate.locate(args.profile)
    ws = Workspace(output_root(), source.dataset, args.profile)
    people = cohort.load(source)
    schedule = args.schedule or ("smoke" if args.profile == "smoke" else "standard")
    run = RunSpec(args.model, args.folds, args.fold, args.seed, schedule)
    result = train_or_load(run, people, folds.read_or_write(ws.folds, people), ws, weights=args.weights)
    for label in result.cases.label.unique():
        print(f"{label:>12}  Dice {result.mean(label):.4f}")
    return 0


def series(args: argparse.Namespace) -> int:
    """Train a notebook's declared series under the full profile, several runs side by side; what is there is kept."""
    from hipposeg.experiments import many

    source = locate.locate("full")
    ws = Workspace(output_root(), source.dataset, "full")
    if args.list:
        for there, run in many.states(ws, args.number, args.only):
            print(f"{'there' if there else '-':6} {run.name}")
        return 0
    many.train_declared(source, ws, args.number, args.only, args.jobs, lambda text: print(text, flush=True))
    return 0


def study(args: argparse.Namespace) -> int:
    """Make studies that ask the networks of finished runs (full profile), or go on with them; what holds is kept."""
    from hipposeg_lab.studies import catalogue

    source = locate.locate("full")
    return catalogue.run(source, Workspace(output_root(), source.dataset, "full"), args.names, args.all, args.list)


def weights(args: argparse.Namespace) -> int:
    """Predict with the flagship's stored weights and compare with its stored masks."""
    from hipposeg.data import cohort
    from hipposeg.experiments.plan import declared
    from hipposeg.experiments.weights import check

    source = locate.locate("full")
    ws = Workspace(output_root(), source.dataset, "full")
    stored = {path.stem for path in (ws.artifacts / "weights").glob("*.safetensors")}
    runs = [run for run in declared("04") if run.name in stored]
    if not runs:
        raise FileNotFoundError(f"artifacts/{ws.name}/weights holds no weights; `hipposeg series 04` makes them")
    people, passed = cohort.load(source), True
    for run in runs:
        found = check(ws, run, people)
        passed &= found.passed
        print(f"{found.run}: {found.identical} of {found.cases} masks identical, lowest Dice {found.worst:.5f}")
    return 0 if passed else 1


def report(args: argparse.Namespace) -> int:
    """Build page, README block and manifest from artifacts; with --evaluate run notebook 07 first."""
    ws = Workspace(output_root(), args.dataset or committed_or_found(args.profile), args.profile)
    if args.evaluate:
        if ws.is_phantom or real_data_is_here():
            args.number = "07"
            if status := execute(args):
                return status
        else:
            print("The real data is not here (HIPPOSEG_DATA is not set): the figures of notebook 07 stay as committed.")
    from hipposeg import manifest
    from hipposeg_lab.page import build, readme

    page = build.build(ws)
    if ws.page.parent == project_root().resolve():
        readme.update(project_root() / "README.md", ws)
    manifest.write(ws, made=args.made)
    print(f"The page is {page.relative_to(ws.root)} ({page.stat().st_size / 1e6:.1f} MB)")
    return 0


def committed_or_found(profile: str) -> str:
    """The real data set if its artifacts are there, which needs no network; else whichever `locate` finds."""
    if (Workspace(output_root(), "msd", profile).artifacts / "results.csv").is_file():
        return "msd"
    return locate.locate(profile).dataset


def real_data_is_here() -> bool:
    """Whether the images of the real data set can be read without a network."""
    return bool(os.environ.get("HIPPOSEG_DATA")) or (project_root() / "data" / locate.FOLDER).is_dir()


def sync(args: argparse.Namespace) -> int:
    """Write the .ipynb files from their sources, or say which are out of date."""
    from hipposeg import sources

    stale = sources.sync(project_root() / "notebooks", args.check)
    if args.check and stale:
        print(f"Not in sync with their percent sources: {', '.join(stale)}. Run `make sync`.", file=sys.stderr)
        return 1
    print("The notebooks are in sync." if not stale else f"Written: {', '.join(stale)}")
    return 0


def compare(args: argparse.Namespace) -> int:
    """Compare two artifacts folders byte for byte."""
    from hipposeg import manifest

    number = len(manifest.compared_files(args.a)) if args.a.is_dir() else 0
    return said(manifest.compare(args.a, args.b), f"{number} files compared: every byte is the same.")


def predict(args: argparse.Namespace) -> int:
    """Segment cropped scans of one hippocampus each: masks, volumes with intervals, and pictures to check them by.

    Each IMAGE is a NIfTI box cut closely around one hippocampus, T1-weighted, 1 mm, axes to right, front and top. DIR
    gets NAME_mask.nii.gz in the image's own geometry (1 anterior, 2 posterior), NAME_qc.png, and volumes.csv with a
    conformal interval for each volume. What the networks were not trained on is refused with the reason, and what goes
    wrong otherwise is said; the other images go on, and the command then ends with status 1. The box matters: a looser,
    tighter or shifted one gives other volumes.
    Nothing is trained and no network connection is used. Not a medical device.
    """
    from hipposeg.predict import batch

    return batch.run(args.images, args.output, args.model)


def bench(args: argparse.Namespace) -> int:
    """Run the benchmark against nnU-Net v2 and MONAI's DynUNet, or go on with it; meant for an idle machine."""
    from hipposeg_lab.bench import cells

    if args.inside:
        from hipposeg_lab.bench import measure

        print(measure.main(args.inside, args.minutes, args.quick))
        return 0
    machine = cells.bench_machine()
    where = cells.quick_folder(machine) if args.quick else cells.folder()
    wanted = cells.chosen(cells.quick_cells() if args.quick else cells.all_cells(args.minutes), args.only)
    if args.list:
        print("\n".join(f"{cell.name:<32} {cells.state(cell, machine, where)}" for cell in wanted))
        return 0
    from hipposeg_lab.bench import summary
    from hipposeg_lab.figures import bench as figures

    failed = cells.run_all(wanted, machine, where)
    found = summary.write(cells.folder())
    figures.save(found, cells.folder())
    print(summary.in_words(found))
    return said([f"Failed: {', '.join(failed)}"] if failed else [], f"The benchmark stands in {cells.folder()}")


def said(differences: list[str], otherwise: str) -> int:
    """Print differences and return 1, or print `otherwise` and return 0."""
    print("\n".join(differences) or otherwise, file=sys.stderr if differences else sys.stdout)
    return 1 if differences else 0


def parser() -> argparse.ArgumentParser:
    """All subcommands and their arguments."""
    top = argparse.ArgumentParser("hipposeg", description="Hippocampus segmentation: what make calls.")
    commands = top.add_subparsers(required=True, metavar="command")

    def command(name: str, function: object, profile: bool = True) -> argparse.ArgumentParser:
        text = (function.__doc__ or "").strip()
        sub = commands.add_parser(name, help=text.splitlines()[0], description=text)
        sub.set_defaults(function=function)
        if profile:
            sub.add_argument("--profile", choices=PROFILES, default="standard", help="how much to compute (standard)")
        return sub

    command("data", data).add_argument("--retry", action="store_true", help="try a network that failed lately again")
    command("execute", execute).add_argument("number", help="the notebook's number, such as 03")
    trained = command("train", train)
    trained.add_argument("model", help="such as unet2d; a wrong name lists all")
    kinds = ("grouped", "nnunet", "dev", "inner", "leak-volumes", "leak-slices")
    trained.add_argument("--folds", choices=kinds, default="grouped", help="kind of folds (grouped)")
    trained.add_argument("--fold", type=int, choices=range(5), default=0, help="which fold (0)")
    trained.add_argument("--seed", type=int, default=0, help="of weights, batch order and augmentation (0)")
    trained.add_argument("--schedule", help="which of the model's recipes (the profile's)")
    trained.add_argument("--weights", action="store_true", help="train again where only scores are left")
    several = command("series", series, profile=False)
    several.add_argument("number", help="the notebook's number, such as 04")
    several.add_argument("--only", default="", help="runs whose name holds this text")
    several.add_argument("--jobs", type=int, help="runs at a time (one for each core, at most 8)")
    several.add_argument("--list", action="store_true", help="show which runs the present code has made, train nothing")
    studied = command("study", study, profile=False)
    studied.add_argument("names", nargs="*", help="such as box; a wrong name lists all")
    studied.add_argument("--all", action="store_true", help="every study")
    studied.add_argument("--list", action="store_true", help="show what is made and what can be, make nothing")
    command("weights", weights, profile=False)
    made = command("report", report)
    made.add_argument("--dataset", choices=DATASETS, help="taken from what is there if not given")
    made.add_argument("--evaluate", action="store_true", help="run notebook 07 first")
    made.add_argument("--made", action="store_true", help="all notebooks ran with the present sources (`make all`)")
    asked = command("predict", predict, profile=False)
    asked.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help=".nii or .nii.gz")
    asked.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="made if it is not there")
    asked.add_argument("--model", type=Path, metavar="DIR", help="artifacts/msd-full of a checkout (the project's own)")
    raced = command("bench", bench, profile=False)
    raced.add_argument("--list", action="store_true", help="only show the cells and what is done")
    raced.add_argument("--quick", action="store_true", help="only speeds in float32 on this CPU, in 10 minutes")
    raced.add_argument("--only", metavar="PATTERN", help="cells whose name contains or matches this")
    raced.add_argument("--minutes", type=float, nargs="+", default=[5, 15, 30], help="schedules of the race (5 15 30)")
    raced.add_argument("--inside", metavar="CELL", help=argparse.SUPPRESS)
    command("sync", sync, profile=False).add_argument("--check", action="store_true", help="write nothing")
    compared = command("compare", compare, profile=False)
    compared.add_argument("a", type=Path, help="an artifacts folder")
    compared.add_argument("b", type=Path, help="another one")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; expected errors end as one sentence, not as a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("papermill").setLevel(logging.WARNING)
    args = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a series that is ended ends its trainings, too
    try:
        return args.function(args)
    except (ValueError, FileNotFoundError, KeyError, FloatingPointError) as error:
        print(f"hipposeg: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nStopped. Checkpoints and finished runs are kept: the same command goes on from there.", file=sys.stderr
        )
        return 130


if __name__ == "__main__":
    sys.exit(main())
