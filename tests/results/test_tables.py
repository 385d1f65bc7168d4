"""Tables of finished runs: conclusions, costs, and the machines that trained the networks."""

import numpy as np
import pandas as pd
import pytest

from hipposeg.results import tables


def scores_of(model, dice, seed=0, fold=0, **columns):
    """Rows as `results.load` gives them: one run on four cases of two subjects."""
    setting = {"folds": "grouped", "schedule": "standard", "data_sha256": "d", "device": "cpu", "precision": "bf16",
               "processor": "a CPU", "dims": 3, "params": 10, "gflops": 1.5, "steps": 100, "train_s": 120}  # fmt: skip
    rows = [{"case": n, "subject": (n + 1) // 2, "label": label, "dice": dice + 0.01 * n, "iou": dice / 2, "nsd1": 0.9,
             "hd95": 1.5} for n in (1, 2, 3, 4) for label in ("anterior", "mean")]  # fmt: skip
    run = {"run": f"{model}.{fold}.{seed}", "model": model, "fold": fold, "seed": seed}
    return pd.DataFrame(rows).assign(**run, **(setting | columns))


def test_table_of_models_averages_seeds_and_minutes():
    frame = pd.concat([scores_of("a", 0.8), scores_of("a", 0.9, 1), scores_of("b", 0.7, fold=1)])
    table = tables.costs(frame, ["anterior"])
    assert list(table.index) == ["a"]
    columns = ["value", "anterior", "minutes", "seeds", "params", "iou", "nsd1", "hd95"]
    assert table.loc["a", columns].tolist() == pytest.approx([0.875, 0.875, 2, 2, 10, 0.425, 0.9, 1.5])
    text = tables.readable_costs(table.assign(hd95=np.nan)).loc["a"]
    columns = ["parameters", "minutes", "Dice, anterior", "NSD 1 mm", "HD95 (mm)"]
    assert text[columns].tolist() == ["10", "2.0", "0.875", "0.900", ""]
    assert text["mean Dice (95 % interval)"].startswith("0.8750 (")
    both = pd.concat([frame, scores_of("c", 0.75), scores_of("c", 0.75, 1)])
    both = tables.beside(both, "a", ["anterior"], "grouped")
    assert both.index.tolist() == ["a", "c"] and both.loc["c", "minus a"].startswith("-0.1000 (")
    assert both.loc["a", "mean Dice"].startswith("0.8750 (") and pd.isna(both.loc["a", "minus a"])
    assert tables.beside(frame, "a", ["anterior"], "nnunet").empty and tables.costs(frame, ["x"], "nnunet").empty
    assert tables.minutes(scores_of("d", 0.9, device="cuda")).isna().all(), "a GPU's"
    assert tables.costs(frame, ["anterior"], idle={"a": 3.5}).loc["a", "minutes"] == 3.5
    assert np.isnan(tables.costs(frame, ["anterior"], idle={"b": 3.5}).loc["a", "minutes"]), "no mix of two kinds"


def test_machines_count_the_networks_that_they_trained():
    others = [scores_of("unet3d", 0.9), scores_of("atlas-no-image", 0.9, steps=0)]
    trained = [scores_of("unet2d", 0.9, seed, processor="a GPU") for seed in (0, 1)]
    assert tables.machines(pd.concat([*trained, *others])) == "a CPU: 1; a GPU: 2"
