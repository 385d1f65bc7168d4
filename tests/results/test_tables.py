"""Tables of finished runs: the machines that trained the networks."""

import pandas as pd

from hipposeg.results import tables


def scores_of(model, dice, seed=0, fold=0, **columns):
    """Rows as `results.load` gives them: one run on four cases of two subjects."""
    setting = {"folds": "grouped", "schedule": "standard", "data_sha256": "d", "device": "cpu", "precision": "bf16",
               "processor": "a CPU", "dims": 3, "params": 10, "gflops": 1.5, "steps": 100, "train_s": 120}  # fmt: skip
    rows = [{"case": n, "subject": (n + 1) // 2, "label": label, "dice": dice + 0.01 * n, "iou": dice / 2, "nsd1": 0.9,
             "hd95": 1.5} for n in (1, 2, 3, 4) for label in ("anterior", "mean")]  # fmt: skip
    run = {"run": f"{model}.{fold}.{seed}", "model": model, "fold": fold, "seed": seed}
    return pd.DataFrame(rows).assign(**run, **(setting | columns))


def test_machines_count_the_networks_that_they_trained():
    others = [scores_of("unet3d", 0.9), scores_of("atlas-no-image", 0.9, steps=0)]
    trained = [scores_of("unet2d", 0.9, seed, processor="a GPU") for seed in (0, 1)]
    assert tables.machines(pd.concat([*trained, *others])) == "a CPU: 1; a GPU: 2"
