"""The explorer's files: complete, the same each time, chosen by rule."""

import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hipposeg.data.cohort import Cohort
from hipposeg.data.read import Case
from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.experiments.registry import FLAGSHIP
from hipposeg.files import read_json, write_bytes
from hipposeg.results import store
from hipposeg.results.load import ATLAS, ResultsError, Run
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import explorer

SHAPE = (9, 11, 7)


def unpacked(image: bytes, masks: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels, and label maps, from the bytes of a case's two files, as a browser reads them."""
    grey = np.asarray(Image.open(io.BytesIO(image)).convert("L")).reshape(SHAPE)
    return grey, np.frombuffer(gzip.decompress(masks), np.uint8).reshape(-1, *SHAPE)


def run(model: str, notebook: str = "03", seed: int = 0, schedule: str = "standard", folder: Path = Path()) -> Run:
    """A finished run that scored cases 3 and 4."""
    config = {"model": model, "notebook": notebook, "seed": seed, "schedule": schedule}
    cases = pd.DataFrame([{"case": case, "subject": 2, "label": "mean", "dice": 0.8} for case in (3, 4)])
    return Run(f"{model}.grouped0.s{seed}.{schedule}", cases, config, folder)


def test_what_is_packed_comes_back() -> None:
    maps = list(np.random.default_rng(1).integers(0, 3, (3, *SHAPE), dtype=np.uint8))
    before = np.add.outer(np.add.outer(9 * np.arange(9), 8 * np.arange(11)), 5 * np.arange(7)).astype(np.uint8)
    content = explorer.pack(before, maps)
    grey, found = unpacked(*content)
    assert np.array_equal(found, maps) and np.abs(grey.astype(int) - before).mean() < 6
    assert content == explorer.pack(before, maps) != explorer.pack(before, maps[::-1])


def test_greys_keep_the_order_of_intensities() -> None:
    image = np.arange(1000, dtype=np.float32).reshape(10, 10, 10) ** 2
    shades = explorer.greys(image)
    assert shades.min() == 0 and shades.max() == 255
    assert (np.diff(shades.ravel().astype(int)) >= 0).all()
    assert np.array_equal(explorer.greys(image * 1000 + 5), shades), "no common scale is assumed"


def test_models_are_chosen_by_rule() -> None:
    others = [run(f"model{number:02d}", "03") for number in range(12)]
    runs = [run(ATLAS, "01"), run("unet2d", "03"), run("unet2d", "03", seed=1), run("unet2d", "03", schedule="S"),
            run(FLAGSHIP, "04")]  # fmt: skip
    assert [one.model for one in explorer.chosen(runs)] == [FLAGSHIP, "unet2d", ATLAS]
    many = [one.model for one in explorer.chosen([*runs, *others])]
    assert len(many) == explorer.MOST_MODELS and many[0] == FLAGSHIP and many[-1] == ATLAS
    with pytest.raises(ResultsError, match="run notebook 03 first"):
        explorer.chosen([run("unet2d", seed=1)])


def test_cases_are_written_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cases, runs = {}, [run("unet2d", folder=tmp_path), run(ATLAS, folder=tmp_path)]
    for number in (3, 4):
        label = rng.integers(0, 3, SHAPE, dtype=np.uint8)
        image = rng.normal(size=(1, *SHAPE)).astype(np.float32)
        cases[number] = Case(number, 2, image, label, np.eye(4), (1.0, 1.0, 1.0), "float32", "0")
    for one in runs:
        masks = {number: np.roll(case.label, len(one.model), axis=0) for number, case in cases.items()}
        write_bytes(tmp_path / "masks" / f"{one.name}.npz", store.packed(masks))
    cohort = Cohort(MSD_HIPPOCAMPUS, tmp_path, "msd", cases, (), "0")
    ws = Workspace(tmp_path, "msd", "standard")
    (ws.artifacts / "explorer").mkdir(parents=True)
    (ws.artifacts / "explorer" / "099.gz").write_bytes(b"of a case that is no longer shown")
    (ws.artifacts / "explorer" / "099.webp").write_bytes(b"nor this")

    path = explorer.write(ws, cohort, runs)
    index = read_json(path)
    assert sorted(one.name for one in path.parent.iterdir()) == [
        "003.gz", "003.webp", "004.gz", "004.webp", "index.json",
    ]  # fmt: skip
    assert [model["model"] for model in index["models"]] == ["unet2d", ATLAS]
    for entry in index["cases"]:
        files = ((path.parent / f"{entry['name']}.{end}").read_bytes() for end in ("webp", "gz"))
        (_, (truth, *masks)), label = unpacked(*files), cases[entry["case"]].label
        assert np.array_equal(truth, label)
        for one, mask in zip(runs, masks, strict=True):
            assert np.array_equal(mask, np.roll(label, len(one.model), axis=0))
    before = {one.name: one.read_bytes() for one in path.parent.iterdir()}
    explorer.write(ws, cohort, runs)
    assert {one.name: one.read_bytes() for one in path.parent.iterdir()} == before
