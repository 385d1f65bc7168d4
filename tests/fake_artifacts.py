"""Artifacts as the notebooks leave them, in small, for tests of what reads them."""

import io

import numpy as np
import pandas as pd
from PIL import Image

from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.experiments.registry import FLAGSHIP, RunSpec
from hipposeg.files import write_bytes, write_csv, write_json
from hipposeg.results import store
from hipposeg.results.load import ATLAS
from hipposeg.workspace import Workspace
from hipposeg_lab.page.words import CHAPTERS
from hipposeg_lab.studies import explorer

LABELS = ("anterior", "posterior", "mean", "union")
SVG = b"""<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 36"><path id="a" d="M0 0L9 9"/></svg>"""
SCORED, TRAINED = (1, 2, 5, 9), (3, 4, 7, 11)


def png() -> bytes:
    """A grey picture of 300 x 150 pixels."""
    stream = io.BytesIO()
    Image.new("L", (300, 150), 128).save(stream, "PNG")
    return stream.getvalue()


def put(ws: Workspace, spec: RunSpec, dice: float, scored: tuple[int, ...] = SCORED, **other: object) -> None:
    """Put a run into the tables: its mean Dice over `scored`, lower from case to case; the rest is made from it.

    other: columns of runs.csv.
    """
    rows = []
    steps = np.linspace(0.02, -0.02, len(scored)) if len(scored) > 1 else [0.0]
    for case, step in zip(scored, steps, strict=True):
        for shift, label in zip((0.01, -0.01, 0.0, 0.02), LABELS, strict=True):
            found = round(dice + shift + step, 6)
            row = {"case": case, "subject": (case + 1) // 2, "label": label, "dice": found, "nsd1": 0.95, "iou": 0.5}
            row |= {"nsd2": 0.5, "hd95": round(3 * (1 - found), 6), "msd": 0.5, "volume_true": 3000.0 + case}
            rows.append(row | {"volume_predicted": max(0.0, round(3000.0 + case - 12345.4 * (1 - found), 6))})
    row = {
        "run": spec.name, "model": spec.model, "folds": spec.folds, "fold": spec.fold, "seed": spec.seed,
        "schedule": spec.schedule, "dims": 2, "device": "cpu", "processor": "Test CPU", "precision": "bf16",
        "threads": 1, "torch": "2.15.0", "params": 482000, "gflops": 1.9, "steps": 2340, "train_s": 432.1,
        "n": len(scored), "key": "0", "title": f"The model {spec.model}", **other,
    }  # fmt: skip
    family = {ATLAS: "atlas", "hippoclip": "clip"}.get(spec.model, "unet")
    config = {"notebook": "03", "family": family, "numerics": "unet1", "data_sha256": "0", "config": {"prep": {}}}
    history = pd.DataFrame({"epoch": [1, 2, 3], "loss": [1.0, 0.5, 0.25]})
    store.put(ws, row, config, pd.DataFrame(rows), history[: 3 * (row["steps"] > 0)], None)


def fill(ws: Workspace) -> Workspace:
    """Artifacts as the notebooks leave them: atlas, two networks, a CLIP, and runs outside the main sections."""
    schedule = "smoke" if ws.is_phantom else "standard"
    put(ws, RunSpec(ATLAS, schedule=schedule), 0.7075, params=0, gflops=0.0, steps=0, train_s=0.4)
    for model, dice in {"unet2d": 0.8835, "unet2d-mobilenetv3": 0.85, "hippoclip": 0.1, "scse2d": 0.891}.items():
        put(ws, RunSpec(model, schedule=schedule), dice)
    put(ws, RunSpec("unet2d", "nnunet", schedule=schedule), 0.899)
    fold = {"train": list(TRAINED), "scored": list(SCORED)}
    leaky = {"train": [2, 3, 4, 7, 9], "scored": [1, 5, 10, 11]}
    write_json(ws.folds, {"grouped": [fold], "nnunet": [leaky], "dev": [fold], "n_cases": 8, "n_people": 6})
    for chapter in CHAPTERS:
        slugs = ["some-png.png", "some-svg.svg", *["inflation.svg"] * (chapter.number == "07")]
        figures = []
        for slug in slugs:
            name, kind = f"{chapter.number}_{slug}", slug.rpartition(".")[2]
            write_bytes(ws.figures / name, png() if kind == "png" else SVG)
            figures.append({"file": name, "caption": f"Caption <{kind}>", "alt": f'A "{kind}"'})
        write_json(ws.figures / f"{chapter.name}.json", figures)
        write_json(ws.artifacts / "facts" / f"{chapter.name}.json", {"some_number": 0.12345, "sizes": [31, 40, 24]})
    return ws


def fill_explorer(ws: Workspace) -> None:
    """Volumes for the explorer: growing two-part balls, a model that is off by a voxel, and the atlas."""
    runs = ["unet2d.grouped0.s0.standard", f"{ATLAS}.grouped0.s0.standard"]
    x, y, z = np.indices((20, 26, 18))
    cases = []
    for number, case in enumerate(SCORED):
        ball = (x - 10) ** 2 + (y - 13) ** 2 + (z - 9) ** 2 < (5 + number) ** 2 / 2 + 20
        truth = np.where(ball, 1 + (y < 13), 0).astype(np.uint8)
        grey = ((x + 2 * y + z) % 256).astype(np.uint8)
        maps = (truth, np.roll(truth, 1, axis=1), np.roll(truth, 3, axis=0))
        (ws.artifacts / "explorer").mkdir(parents=True, exist_ok=True)
        for end, content in zip(("webp", "gz"), explorer.pack(grey, maps), strict=True):
            (ws.artifacts / "explorer" / f"{case:03d}.{end}").write_bytes(content)
        shape = {"shape": truth.shape, "spacing": (1.0, 1.0, 1.0), "name": f"{case:03d}"}
        cases.append({"case": case, "person": (case + 1) // 2, **shape})
    planes = [
        {"name": name, "axes": explorer.PLANES[axis]} for axis, name in enumerate(("sagittal", "coronal", "axial"))
    ]
    index = {"folds": "grouped", "fold": 0, "ends": MSD_HIPPOCAMPUS.axes, "planes": planes}
    models = [{"run": run, "model": run.split(".")[0]} for run in runs]
    write_json(ws.artifacts / "explorer" / "index.json", index | {"models": models, "cases": cases})
    # What a network learns of the last case: nothing, then the truth.
    (ws.artifacts / "studies").mkdir(exist_ok=True)
    np.savez(ws.artifacts / "studies" / "learning.npz", case=SCORED[-1], epochs=[1, 4], dice=[0.0, 1.0],
             masks=np.stack([np.zeros_like(truth), truth]))  # fmt: skip


def fill_studies(ws: Workspace) -> None:
    """Small studies of the evaluation, with a value of its own in each row, and comparisons."""
    ends = {"low": 0.011, "high": 0.031, "subjects": 34}
    practices = ("honest", "background", "union", "truth-crop", "nsd2", "a-new-one")
    inflated = [
        {"run": run, "practice": practice, "honest": honest, "shown": honest + 0.01 * step,
         "difference": 0.01 * step, "seeds": seeds, "note": "", **ends}
        for run, honest, seeds in (
            ("unet2d.grouped0.s0.standard", 0.8835, 3), (f"{ATLAS}.grouped0.s0.standard", 0.7075, 1)
        )
        for step, practice in enumerate(practices)
    ]  # fmt: skip
    leaks = [
        {"kind": kind, "label": label, "model": "unet3d", "leak": 0.861, "clean": 0.84, "difference": 0.021, "seeds": 3,
         "conclusion": "better", **ends}
        for kind in ("leak-volumes", "a-new-leak") for label in ("anterior", "mean")
    ]  # fmt: skip
    covered = [
        {"label": label, "method": "chosen", "group": "all", "coverage": 0.91, "width": 412.5,
         "low": 0.87, "high": 0.94, "subjects": 170}
        for label in ("anterior", "posterior", "union")
    ]  # fmt: skip
    covered += [covered[0] | {"group": f"fold {fold}", "coverage": 0.88 - 0.01 * fold} for fold in range(3)]
    covered += [covered[0] | {"method": "constant", "width": 500.0}]
    errors = [{"method": "one network", "label": "anterior", "ece_before": 0.0312, "ece_after": 0.0071}]
    comparisons = [
        {"family": "3D", "model": "unet3d+flip", "reference": "unet3d", "difference": 0.021, "seeds": 3,
         "p_holm": 0.0312, "conclusion": "better", **ends},
        {"family": "3D", "model": "unet3d+focal", "reference": "unet3d", "difference": 0.0012, "seeds": 1,
         "p_holm": 0.5, "conclusion": "none: 1 seed", **ends},
        {"family": "attention", "model": "attention3d", "reference": "unet3d", "difference": 0.0003, "seeds": 3,
         "p_holm": 0.7, "conclusion": "equivalent", **ends, "low": -0.002, "high": 0.0031},
    ]  # fmt: skip
    claims = [
        {"project": "A", "method": "2D", "claimed": 0.9225, "called": "Dice", "really": "pooled", "value_low": 0.82,
         "value_high": 0.84, "model": "unet2d", "ours": 0.8835, "low": 0.871, "high": 0.898, "seeds": 1,
         "practice": "background", "twin": "unet2d", "scored_their_way": 0.941, "estimated": 1, "source": "README.md",
         "url": "https://example.org"},
        {"project": "B", "method": "3D", "claimed": 0.989, "called": "Dice", "really": "NSD", "source": "README.md",
         "estimated": 0, "url": "https://example.org"},
    ]  # fmt: skip
    words = [{"run": "unet2d.grouped0.s0.standard", "case": 5, "dice": 0.8835, "words": "Too much, at the tail."}]
    named = {
        "inflation": inflated, "leaks": leaks, "calibration_summary": errors, "conformal_coverage": covered,
        "claims": claims, "words": words,
    }  # fmt: skip
    for name, rows in named.items():
        write_csv(ws.artifacts / "studies" / f"{name}.csv", list(rows[0]), rows)
    write_csv(ws.artifacts / "comparisons.csv", list(comparisons[0]), comparisons)


def fill_series(ws: Workspace) -> None:
    """Planned runs: the flagship on five folds, two models with three seeds each; and the benchmark."""
    for fold, scored in enumerate((SCORED, (3, 4), (6, 7), (8, 10), (11, 12))):
        put(ws, RunSpec(FLAGSHIP, "grouped", fold), 0.88 + 0.001 * fold, scored, dims=3, params=1401299)
    for position, model in enumerate(("unet3d", "unet3d+flip")):
        for seed in range(3):
            put(ws, RunSpec(model, seed=seed), 0.86 + 0.01 * position + 0.001 * seed, dims=3, params=1401299)
    ends = {"part": "all", "low": 0.885, "high": 0.896, "volumes": 8}
    dices = {(FLAGSHIP, "grouped"): 0.8905, (FLAGSHIP, "nnunet"): 0.8915, (ATLAS, "grouped"): 0.7124}
    five = [
        {"model": model, "folds": folds, "label": label, "dice": dice, **ends}
        for (model, folds), dice in dices.items()
        for label in (*MSD_HIPPOCAMPUS.names, "mean")
    ]
    write_csv(ws.artifacts / "studies" / "folds.csv", list(five[0]), five)
    minutes = {FLAGSHIP: 11.69, "unet3d": 6.01, "unet3d+flip": 6.23}
    models = {model: {"schedule_minutes": {"standard": value}} for model, value in minutes.items()}
    dices = {"nnunet-released": 0.312, "ours": 0.861}
    raced = {name: {"dice": {"mean": {"value": at, "low": at - 0.01, "high": at + 0.01}}} for name, at in dices.items()}
    summary = {"models": models, "settings": [{"threads": 2}], "race": {"5": raced}}
    write_json(ws.root / "artifacts" / "bench" / "summary.json", summary)
