"""What the templates name: every sentence's numbers, computed from artifacts."""

from typing import Any

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg_lab.page import charts, view, words
from hipposeg_lab.page.artifacts import Artifacts
from hipposeg_lab.page.embed import Embedded, embed
from hipposeg_lab.page.numbers import show
from hipposeg_lab.page.sections import section_context
from hipposeg_lab.studies.published import PUBLISHED

# The first screen shows the first figure whose name holds the earliest of these words: a median case, not a good one.
HERO_WORDS = ("hero", "overlay_median", "best_median_worst", "overlay", "three_plane", "surface", "samples")

# What the predictor leaves beside a mask; shown where the predictor is told of.
QC = "07_qc"

SECTIONS = (
    ("brief", "In three minutes"), ("results", "Results"), ("explorer", "Every case"), ("inflation", "Inflated scores"),
    ("trust", "Can it be trusted?"), ("claims", "Claims of others"), ("data", "The data"), ("method", "Method"),
    ("try", "Try it on a scan"), ("limits", "Limits"), ("figures", "All figures"), ("reproduce", "Reproduce"),
    ("licence", "Licence and citation"),
)  # fmt: skip

TITLE = "How well can a small network outline the hippocampus? hipposeg"


def page_context(art: Artifacts) -> dict[str, Any]:
    """Names and values for page.html.j2 and the templates that it includes."""
    rows = view.main_rows(art)
    head = view.headline(art, rows)
    phantom = art.ws.is_phantom
    pictures = {name: [embed(picture) for picture in found] for name, found in art.pictures.items()}
    extent = charts.extent(rows)
    names = {
        "ws": art.ws,
        "phantom": phantom,
        "title": f"PHANTOM, no patients: {TITLE}" if phantom else TITLE,
        "people": "synthetic subjects" if phantom else "people",
        "primary_words": "fold {1} of the {0} folds".format(*view.PRIMARY),
        "colours": [(label.name, label.colour) for label in MSD_HIPPOCAMPUS.labels],
        "classes": view.CLASSES,
        "labels": view.LABELS,
        "labels_charted": charts.CHART_LABELS,
        "rows": rows,
        "head": head,
        "five_folds": view.five_folds(art),
        "atlas": next((row for row in rows if row.run.is_atlas), None),
        "axis": charts.axis_for(extent) if extent else None,
        "gaps": gaps(rows),
        "sparks": {row.name: spark for row in rows if (spark := loss_curve(row.run.history))},
        "gauge": gauge(head, phantom),
        "hero": hero(pictures),
        "qc": next((picture for found in pictures.values() for picture in found if picture.slug == QC), None),
        "published": PUBLISHED,
        "cohort": view.cohort_size(art.folds),
        "folder": art.ws.artifacts.relative_to(art.ws.root).as_posix(),
        "leaks": leaks(art.folds),
        "findings": findings(art),
        "chapters": chapters(art, pictures),
        "device_words": device_words(rows),
        "versions": versions(art, rows),
        "trainings": trainings(rows),
    }
    names |= section_context(art, rows)
    names["placed"] = placed(names)
    names["contents"] = [entry for entry in SECTIONS if entry[0] not in absent(names)]
    return names


def absent(names: dict[str, Any]) -> set[str]:
    """Sections that are left out: no study of theirs is there, or the data is a phantom, for which they say nothing."""
    trust = ("leak_forest", "reliability", "coverage")
    there = {"inflation": names["inflation"], "trust": any(names[part] for part in trust), "try": not names["phantom"]}
    return {section for section, found in there.items() if not found}


def placed(names: dict[str, Any]) -> dict[str, str]:
    """Figures that stand elsewhere on the page and not in their album: name -> where."""
    found = {QC: "beside the predictor"} if names["qc"] and not names["phantom"] else {}
    if names["hero"] and not names["hero_case"]:
        found[names["hero"].slug] = "at the top of this page"
    return found


def hero(pictures: dict[str, list[Embedded]]) -> Embedded | None:
    """The picture of the first screen: of evaluation if there is one, else of training, else of exploration."""
    found = [picture for name in sorted(pictures, reverse=True) for picture in pictures[name]]
    return next((picture for word in HERO_WORDS for picture in found if word in picture.slug.replace("-", "_")), None)


def gauge(head: view.Headline | None, phantom: bool) -> dict[str, Any] | None:
    """The first screen's scale: atlas, best run, and, for the real data, the range of published means."""
    if head is None:
        return None
    rows = [row for row in (head.atlas, head.best) if row is not None]
    published = sorted({entry.mean for entry in PUBLISHED if entry.mean is not None and not phantom})
    ends = [row.get("mean", f"dice{end}") for row in rows for end in ("", "_low", "_high")]
    axis = charts.axis_for([*(end for end in ends if end is not None), *published])
    best, atlas = (charts.mark(row, "mean", axis) if row else None for row in (head.best, head.atlas))
    said = f"Scale of mean Dice. {head.best.model}: {show(best.value, 'score')}."
    if atlas:
        said += f" Image-free atlas: {show(atlas.value, 'score')}."
    if published:
        said += f" Published by others on other folds: {show(published[0], 'score')} to {show(published[-1], 'score')}."
    return {
        "axis": axis, "best": best, "atlas": atlas, "model": head.best.model, "words": said,
        "published": [axis.at(value) for value in published], "ends": published[:1] + published[-1:],
    }  # fmt: skip


def loss_curve(history: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Points of the sparkline and both ends of the training loss; None for fewer than two epochs."""
    losses = [line["loss"] for line in history if isinstance(line.get("loss"), (int, float))]
    points = charts.sparkline(losses)
    return {"points": points, "first": losses[0], "last": losses[-1]} if points else None


def leaks(folds: dict[str, Any]) -> list[tuple[str, list[view.FoldLeak]]]:
    """Siblings in training, for the usual split and for ours."""
    names = (("nnunet", "Split by volume (the usual five folds)"), ("grouped", "Split by person (ours)"))
    return [(text, view.fold_leaks(folds, name)) for name, text in names if folds.get(name)]


def gaps(rows: list[view.RunRow]) -> list[tuple[str, str, int, int]]:
    """(model, label, cases without a distance, cases) wherever an outline is empty."""
    found = []
    for row in rows:
        for label in (*view.CLASSES, "union"):
            missing = row.run.values(label, "hd95").isna()
            found += [(row.model, label, int(missing.sum()), len(missing))] if missing.any() else []
    return found


def findings(art: Artifacts) -> dict[str, Any]:
    """Numbers that notebook 01 recorded and the text uses; None where it did not record them."""
    facts = art.facts.get("01_exploration", {})
    names = ("r_volume_odd", "r_volume_even", "n_pairs", "step_same_odd", "step_pairs_odd", "step_same_even",
             "step_pairs_even", "size_min", "size_max")  # fmt: skip
    found = {name: facts.get(name) for name in names}
    sd = facts.get("margin_sd") or []
    found["margin_sd"] = (min(sd), max(sd)) if sd else None
    found["centre_sd"] = max(facts.get("centre_sd_mm") or [], default=None)
    volumes = {name: facts.get(f"volume_{name}") for name in view.CLASSES}
    found["volumes"] = {name: volume for name, volume in volumes.items() if isinstance(volume, dict)}
    return found


def chapters(art: Artifacts, pictures: dict[str, list[Embedded]]) -> list[tuple[Any, Any, Any]]:
    """(chapter, figures or None if the notebook has not run, facts) in the order of the notebooks."""
    listed = {chapter.name: chapter for chapter in words.CHAPTERS}
    for name in {*art.facts, *art.pictures} - set(listed):
        listed[name] = words.chapter_of(name)
    made = []
    for name in sorted(listed):
        figures = pictures[name] if art.done(name) else None
        made.append((listed[name], figures, view.flat(art.facts.get(name, {}))))
    return made


def device_words(rows: list[view.RunRow]) -> str:
    """`one thread of a CPU`, from the networks' configurations; plain words if they differ or there are none."""
    devices = {_device(row) for row in rows if not row.run.is_atlas}
    if len(devices) != 1:
        return "a small machine"
    device = devices.pop()
    return f"{device} of a CPU" if "thread" in device else f"one {device}"


def _device(row: view.RunRow) -> str:
    device, threads = row.run.config["device"], row.run.config["threads"]
    if device != "cpu":
        return device.upper()
    return "one thread" if threads == 1 else f"{show(threads)} threads"


def versions(art: Artifacts, rows: list[view.RunRow]) -> list[tuple[str, str]]:
    """What produced the numbers: (name, value) pairs; several values of one name are listed, none is left out."""
    keys = (("torch", "torch"), ("device", "Device"), ("precision", "Precision"), ("threads", "Threads"),
            ("numerics", "Numerics version"), ("data_sha256", "Data, SHA-256"))  # fmt: skip
    found = [(text, ", ".join(view.distinct(rows, key))) for key, text in keys]
    return [("Data set and profile", f"{art.ws.dataset}, {art.ws.profile}"), *(pair for pair in found if pair[1])]


def trainings(rows: list[view.RunRow]) -> list[tuple[str, list[view.RunRow]]]:
    """(processor and device in words, networks trained on it); empty on a page that must not hold times."""
    places: dict[str, list[view.RunRow]] = {}
    for row in rows:
        if not row.run.is_atlas and row.train_s is not None:
            places.setdefault(f"{row.run.config['processor']} ({_device(row)})", []).append(row)
    return sorted(places.items())
