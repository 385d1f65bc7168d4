"""The README's results block: rendered from the same files as the page, by the same formatting."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hipposeg import files
from hipposeg.experiments.registry import FLAGSHIP
from hipposeg.workspace import Workspace
from hipposeg_lab.page import view
from hipposeg_lab.page.artifacts import Artifacts, ReportError, load
from hipposeg_lab.page.context import standard_minutes
from hipposeg_lab.page.numbers import interval, show
from hipposeg_lab.page.words import RACERS
from hipposeg_lab.studies.published import PUBLISHED

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
_BLOCK = re.compile(re.escape(BEGIN) + r".*?" + re.escape(END), re.DOTALL)


def expected_block(ws: Workspace) -> str:
    """The block, markers included, computed from the artifacts of `ws`. Raises ReportError on damaged artifacts."""
    return "\n".join([BEGIN, *_lines(load(ws)), END])


def current_block(readme: Path) -> str:
    """The block, markers included, of the file. Raises ReportError unless there is exactly one."""
    found = _BLOCK.findall(readme.read_text(encoding="utf-8"))
    if len(found) != 1:
        raise ReportError(f"{readme.name} has {len(found)} results blocks; expected one, between {BEGIN} and {END}")
    return found[0]


def update(readme: Path, ws: Workspace) -> bool:
    """Put the block of `ws` into the file; returns whether anything changed. Raises ReportError as the others do."""
    old, new = current_block(readme), expected_block(ws)
    if old == new:
        return False
    files.write_text(readme, readme.read_text(encoding="utf-8").replace(old, new))
    return True


def _lines(art: Artifacts) -> list[str]:
    rows = view.main_rows(art)
    head = view.headline(art, rows)
    if head is None:
        return ["No network has been scored yet: run `make all`."]
    return [*_five_folds(art), *_race(art), _sentence(art, head), "", *_table(art, rows), *_claims(art)]


def _sentence(art: Artifacts, head: view.Headline) -> str:
    who = "synthetic subjects of the phantom" if art.ws.is_phantom else "people that it never saw"
    best = head.best
    text = (
        f"`{best.model}` reaches a mean Dice of **{show(best.get('mean', 'dice'), 'score')}** (95 % interval "
        f"{interval(best.get('mean', 'dice_low'), best.get('mean', 'dice_high'), 'score')}) on "
        f"{show(best.run.config['n'], 'count')} volumes of {show(head.n_subjects, 'count')} {who}"
    )
    if head.atlas:
        text += f"; the image-free atlas scores {show(head.atlas.get('mean', 'dice'), 'score')}"
    return text + "."


def _five_folds(art: Artifacts) -> list[str]:
    """One line per kind of folds of which every volume has been scored."""
    lines = [
        f"- all {one.row['volumes']} volumes, {one.text}: **{show(one.row['dice'], 'score')}** "
        f"({interval(one.row['low'], one.row['high'], 'score')})"
        + (f"; image-free atlas: {show(one.atlas['dice'], 'score')}" if one.atlas else "")
        for one in view.five_folds(art)
    ]
    title = f"The flagship `{FLAGSHIP}` over five folds, one network a fold, mean Dice (95 % interval):"
    return [title, *lines, ""] if lines else []


def _race(art: Artifacts) -> list[str]:
    """What others report, what a training costs here, and the race against the stronger peer, as far as measured."""
    costs = art.bench.get("models", {}).get(FLAGSHIP, {}).get("schedule_minutes", {})
    lines, claims, nnunet = [], art.bench.get("claims", {}), PUBLISHED[0]
    where = f" ({art.bench['kinds'][0]['cpu']})" if art.bench.get("kinds") else ""
    if "standard" in costs:
        lines += [
            f"For comparison, {nnunet.method} reports {show(nnunet.mean, 'score')} on the second kind of folds. One "
            f"training of `{FLAGSHIP}` takes {show(costs['standard'], 'schedule')} minutes on two CPU "
            f"cores{where}.",
            "",
            *_kinds(art),
        ]
    if claims:
        lines.append(
            f"The race: mean Dice on `nnunet` fold 0 after the same minutes on the same machine{where}, beside the "
            "strongest of two peers in two versions each (one seed; the page has all):"
        )
    for schedule, one in claims.items():
        systems, (name, how) = art.bench["race"][schedule], RACERS[one["stronger"]]
        ours, peer = (systems[system]["dice"]["mean"]["value"] for system in ("ours", one["stronger"]))
        lines.append(
            f"- {schedule} minutes: ours **{show(ours, 'score')}**, {name} ({how}) {show(peer, 'score')}; difference "
            f"{show(one['difference'], 'difference')} ({interval(one['low'], one['high'], 'difference')})"
            + ("" if one["ahead"] else ", so not better")
        )
    return [*lines, ""] if claims else lines


def _markdown(heads: Sequence[str], align: str, rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown. align: the cells of its second line."""
    return ["| " + " | ".join(heads) + " |", align, *("| " + " | ".join(row) + " |" for row in rows)]


def _kinds(art: Artifacts) -> list[str]:
    """Minutes, seconds and ratios on each kind of CPU that the benchmark measured."""
    rows = art.bench.get("kinds", ())
    if len(rows) < 2:
        return []
    heads = ("Two idle cores", "Training, minutes", "In float32, minutes", "`predict`, first crop, s",
             "each further crop, s", "nnU-Net v2", "DynUNet", "Share of peak")  # fmt: skip
    cells = []
    for row in rows:
        minutes, systems = row["schedule_minutes"], row["systems"]
        own, fp32 = (show(minutes.get(precision), "schedule") for precision in (row["precision"], "fp32"))
        ratios = [show(systems.get(peer, {}).get("times_ours", {}).get("train_s_per_volume"), "times")
                  for peer in ("nnunet", "dynunet")]  # fmt: skip
        share = show(systems.get("ours", {}).get("share_of_peak"), "percent")
        seconds = [show(row[name], "times") for name in ("first_s", "further_s")]
        cells.append([row["cpu"], own, fp32, *seconds, *ratios, share])
    return [
        f"How fast depends on the CPU. Training time of `{FLAGSHIP}`, time of `hipposeg predict` from a cold "
        "start, and, in float32, the peers' time to train on one volume divided by ours, and our share of the CPU's "
        "measured peak in matrix products (`make speed` measures another CPU in ten minutes):",
        "",
        *_markdown(heads, "|---|" + "---:|" * (len(heads) - 1), cells),
        "",
    ]


def _table(art: Artifacts, rows: list[view.RunRow]) -> list[str]:
    """Dice, parameters and training time of the main runs; times are the benchmark's, from one idle machine."""
    heads = ["Model", *(label.capitalize() for label in view.LABELS), "Parameters", "Training, minutes"]
    minutes, cells = standard_minutes(art.bench), []
    for row in rows:
        dice = [show(row.get(label, "dice"), "score") for label in view.LABELS]
        parameters = "none" if row.run.is_atlas else show(row.run.config["params"], "millions")
        took = "none" if row.run.is_atlas else show(minutes.get(row.model), "schedule")
        cells.append([f"`{row.model}`", *dice, parameters, took])
    where = f"; minutes on two idle cores ({art.bench['kinds'][0]['cpu']})" if art.bench.get("kinds") else ""
    last = "Dice on fold {1} of the {0} folds (split by subject){2}.".format(*view.PRIMARY, where)
    return [*_markdown(heads, "|---|" + "---:|" * (len(heads) - 1), cells), "", last]


def _claims(art: Artifacts) -> list[str]:
    """The five projects' claims, what they really were, and ours, from notebook 07's table."""
    claims = art.rows("claims")
    heads = ("Project", "It says", "What that was", "Without that, on its own split", "Ours",
             "Our plain network, scored about its way", "Source")  # fmt: skip
    cells = []
    for row in claims:
        ends = sorted({row["value_low"], row["value_high"]} - {None})
        mine = f"{show(row['ours'], 'score')} (`{row['model']}`)" if row["model"] else "not trained yet"
        way = row["scored_their_way"]
        theirs = "none" if way is None else f"{show(way, 'score')} (`{row['twin']}`)"
        kind, about = ("score2", "about ") if row["estimated"] else ("score", "")
        fair = about + " to ".join(show(end, kind) for end in ends) if ends else "not in its files"
        reported = (f"{row['project']}: {row['method']}", f"{show(row['claimed'])}, {row['called']}", row["really"])
        cells.append([*reported, fair, mine, theirs, f"[{row['source']}]({row['url']})"])
    title = "What five public projects say, what that was, and what the same kind of system reaches here (mean Dice):"
    return ["", title, "", *_markdown(heads, "|---|---:|---|---:|---:|---:|---|", cells)] if claims else []
