"""What only the front page names: its bars, its findings, and where in the head the hippocampus is."""

import base64
from statistics import median
from typing import Any

from markupsafe import Markup

from hipposeg.experiments.registry import FLAGSHIP
from hipposeg.results.load import ATLAS
from hipposeg_lab.page import viewer, words
from hipposeg_lab.page.artifacts import Artifacts, Row
from hipposeg_lab.page.pictures import VENDOR, places, webp
from hipposeg_lab.page.view import CLASSES, FiveFolds
from hipposeg_lab.studies.published import PUBLISHED

# Practices of the inflation study that the front page draws, from an empty prediction upwards.
PRACTICES = ("pooled-nothing", "honest", "union", "background", "pooled-slices", "nsd2")


def front_context(art: Artifacts, shared: dict[str, Any]) -> dict[str, Any]:
    """Names and values of the front page, beside those that both pages share."""
    here = frozenset(case["case"] for case in art.explorer.get("cases", ()))
    rows = shared["case_rows"]
    changed, learning = changes(art), viewer.learning(art)
    cpu = next(iter(art.bench.get("kinds", ())), {"systems": {}})  # the one of our training time
    return {
        "viewer": Markup(viewer.payload(art, learning)),
        "learning": learning,
        "three": base64.b64encode((VENDOR / "three.min.js.gz").read_bytes()).decode() if art.explorer else "",
        "still": still(art),
        "usual": next((one for one in shared["five_folds"] if one.folds == "nnunet"), None),
        "fair": next((one for one in shared["five_folds"] if one.folds == "grouped"), None),
        "by_part": by_part(art),
        "short": words.short,
        "compared": compared,
        "step_s": cpu["systems"].get("nnunet", {}).get("step_s"),
        "places": [] if art.ws.is_phantom else places(),
        "leak_cost": {row["kind"]: (at, row) for at, row in shared["leak_rows"]},
        "inflated": inflated(shared["inflation"]),
        "changes": changed,
        "reach": max((abs(row[end]) for _, _, row in changed for end in ("low", "high")), default=1.0),
        "fashions_help": any(row["model"] in words.FASHIONS and row["conclusion"] == "better" for _, _, row in changed),
        "fashions": len([row for _, _, row in changed if row["model"] in words.FASHIONS]) == len(words.FASHIONS),
        "effects": words.EFFECTS,
        "leaking": words.LEAKING,
        "volume_error": round(median(abs(row["volume_bias"]) for row in rows), 6) if rows else None,
        "scan": art.facts.get("08_your_own_scan", {}),
        "cases_plot": viewer.scatter(rows, here),
    }


def by_part(art: Artifacts) -> list[tuple[str, str, int, Row]]:
    """(model, part, place in folds.csv, row) over five folds by subject, atlas and flagship; empty without one."""
    places = {(row["model"], row["label"]): (at, row) for at, row in enumerate(art.rows("folds"))
              if (row["folds"], row["part"]) == ("grouped", "all")}  # fmt: skip
    wanted = [(model, part) for part in CLASSES for model in (ATLAS, FLAGSHIP)]
    return [(*one, *places[one]) for one in wanted] if places.keys() >= set(wanted) else []


def compared(folds: FiveFolds) -> str:
    """How our mean Dice compares with nnU-Net's published one: only the interval of ours is known."""
    published = PUBLISHED[0].mean
    if folds.row["low"] > published:
        return "more accurately than"
    return "less accurately than" if folds.row["high"] < published else "as accurately as"


def changes(art: Artifacts) -> list[tuple[str, int, Row]]:
    """(words, place in comparisons.csv, row) of what was tried, for comparisons over three seeds."""
    found = {}
    for at, row in enumerate(art.rows("comparisons")):
        if row["conclusion"] in words.EFFECTS:  # of the same pair under several schedules, the standard one
            key = (row["model"], row["reference"])
            found[key] = found[key] if key in found and row["family"].endswith("short") else (at, row)
    return [(text, *found[model, base]) for text, model, base in words.CHANGES if (model, base) in found]


def inflated(table: dict[str, dict[str, tuple[int, Row]]]) -> list[tuple[str, int, Row]]:
    """(practice, place in inflation.csv, row) of one network's masks: the flagship's, or the first."""
    run = next(iter(table.get("honest", ())), None)
    return [(name, *table[name][run]) for name in PRACTICES if run in table.get(name, ())]


def still(art: Artifacts) -> dict[str, Any]:
    """The median case as a picture, for paper and for browsers without scripts."""
    from PIL import Image

    for picture in art.pictures.get("07_evaluation", ()):
        if picture.slug == "07_overlay-median" and picture.path.suffix == ".png":
            image = Image.open(picture.path).convert("RGB")
            return {"uri": webp(image), "alt": picture.alt, "width": image.width, "height": image.height}
    return {}
