"""A network learning: masks of one test case after some epochs of `unet2d`, for notebook 03 and the page."""

import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from hipposeg import files, metrics
from hipposeg.experiments.registry import RunSpec, run_key
from hipposeg.experiments.samples import images_of, make_samples
from hipposeg.experiments.weights import initial, predict_with
from hipposeg.results import load, tables
from hipposeg.training.loop import Training, fit
from hipposeg_lab.studies.making import Context

QUESTION = "How does a network's mask of one case change while it learns?"
TABLE = "studies/learning.npz"
RUN, EPOCHS = RunSpec("unet2d"), (1, 2, 4, 8, 12)


def update(context: Context) -> str:
    """Train RUN once more and keep its masks of the case with the stored run's median Dice; nothing is chosen by them.

    The file holds masks (epochs, X, Y, Z) uint8, epochs, dice (mean of the parts, one an epoch), case, and RUN's key.
    """
    ws, cohort, fold = context.ws, context.cohort, context.folds[RUN.folds][RUN.fold]
    path, key, stored = ws.artifacts / TABLE, run_key(RUN, cohort.sha256, fold), load.get(ws, RUN.name)
    if path.is_file():
        with files.reading(path, "arrays"), np.load(path) as kept:
            if str(kept["key"]) == key:
                return "kept"
    if stored is None:
        return f"{RUN.name} missing; `hipposeg train {RUN.model}` trains it"
    number, model, masks = tables.cases_by_rule(stored.values())["median"], RUN.definition, []
    case, images = cohort.cases[number], images_of(cohort, model.prep, ws)

    def watch(network: nn.Module) -> None:
        masks.append(predict_with(model, network, context.machine)(images[number], case.spacing))

    retrain(context, RUN, watch)
    epochs = [epoch for epoch in EPOCHS if epoch <= len(masks)]
    kept = np.stack([masks[epoch - 1] for epoch in epochs])
    dice = [np.mean(list(metrics.class_dice(mask, case.label, cohort.spec).values())) for mask in kept]
    stream = io.BytesIO()
    np.savez_compressed(stream, masks=kept, epochs=epochs, dice=dice, case=number, key=key)
    files.write_bytes(path, stream.getvalue())
    return "made"


def retrain(context: Context, run: RunSpec, watch: Callable[[nn.Module], None]) -> None:
    """Train a run's network once more, from its first weights, and show it to `watch` after each epoch."""
    cohort, model, fold = context.cohort, run.definition, context.folds[run.folds][run.fold]
    samples = make_samples(images_of(cohort, model.prep, context.ws), cohort, model.prep, fold["train"])
    config = replace(model.training(run.schedule), watch_every=1)
    training = Training(initial(run, cohort.spec), config, context.machine, run.seed)

    def look(network: nn.Module) -> dict[str, float]:
        watch(network)
        return {}

    with tempfile.TemporaryDirectory() as folder:
        fit(training, samples, Path(folder), run.name, look, run.name)
