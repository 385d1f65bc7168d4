"""The phantom: its statistics beside the real data's, its determinism, and its difficulty."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hipposeg.data import cohort, phantom
from hipposeg.data.anatomy import smooth_field
from hipposeg.data.locate import Source
from hipposeg.data.spec import PHANTOM_SPEC, DataError
from hipposeg.files import read_json, write_json


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> cohort.Cohort:
    """Forty subjects, sixty volumes."""
    folder = tmp_path_factory.mktemp("phantom")
    phantom.generate(folder, n_subjects=40, seed=5)
    return cohort.load(Source("phantom", folder, PHANTOM_SPEC))


def volumes(loaded: cohort.Cohort, value: int) -> np.ndarray:
    return np.array([np.count_nonzero(case.label == value) for case in loaded.cases.values()])


def ends(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last labelled index on each axis."""
    found = np.argwhere(label > 0)
    return found.min(axis=0), found.max(axis=0)


def test_label_volumes_match_the_protocol(many: cohort.Cohort) -> None:
    anterior, posterior = volumes(many, 1), volumes(many, 2)
    assert abs(anterior.mean() - 1715) < 130 and 200 < anterior.std() < 400
    assert abs(posterior.mean() - 1580) < 100 and 150 < posterior.std() < 300
    assert anterior.min() > 950 and anterior.max() < 2750 and posterior.min() > 900 and posterior.max() < 2300
    background = 1 - (anterior + posterior).sum() / sum(case.label.size for case in many.cases.values())
    assert 0.935 < background < 0.955


def test_boxes_match_the_protocol(many: cohort.Cohort) -> None:
    shapes = np.array([case.label.shape for case in many.cases.values()])
    assert (shapes >= [31, 40, 24]).all() and (shapes <= [43, 59, 47]).all()
    assert (np.abs(np.median(shapes, axis=0) - [35, 50, 36]) <= 2).all()
    low = np.array([ends(case.label)[0] for case in many.cases.values()])
    high = np.array([np.array(case.label.shape) - 1 - ends(case.label)[1] for case in many.cases.values()])
    assert (np.abs(low.mean(axis=0) - [5.9, 5.2, 4.8]) < 0.6).all()
    assert (np.abs(high.mean(axis=0) - [7.5, 6.0, 5.4]) < 0.7).all()
    assert (low.std(axis=0) < 1.9).all() and (high.std(axis=0) < 2.0).all()


def test_anterior_lies_eighteen_voxels_higher_along_axis_1(many: cohort.Cohort) -> None:
    gaps = [
        np.argwhere(case.label == 1)[:, 1].mean() - np.argwhere(case.label == 2)[:, 1].mean()
        for case in many.cases.values()
    ]
    assert abs(np.mean(gaps) - 18) < 1 and min(gaps) > 12


def test_siblings_are_alike_and_strangers_are_not(many: cohort.Cohort) -> None:
    total = {number: np.count_nonzero(case.label) for number, case in many.cases.items()}
    pairs = [cases for cases in many.people.values() if len(cases) == 2]
    assert len(pairs) == 20 and len(many.people) == 40
    left, right = np.array([[total[a], total[b]] for a, b in pairs]).T
    assert np.corrcoef(left, right)[0, 1] > 0.75
    assert abs(np.corrcoef(left, np.roll(right, 1))[0, 1]) < 0.5


def test_a_scan_is_recognised_by_its_quantisation_step(many: cohort.Cohort) -> None:
    """As in the real data: both sides share dtype and step, and float steps differ between subjects."""
    assert {case.stored_dtype for case in many.cases.values()} == {"uint8", "float32"}
    steps = {n: np.median(np.diff(np.unique(case.image))) for n, case in many.cases.items()}
    pairs = [cases for cases in many.people.values() if len(cases) == 2]
    for first, second in pairs:
        assert many.cases[first].stored_dtype == many.cases[second].stored_dtype
        assert steps[first] == pytest.approx(steps[second], rel=0.01)
    floats = sorted(steps[a] for a, _ in pairs if many.cases[a].stored_dtype == "float32")
    assert (np.diff(np.log(floats)) > 1e-3).all()
    peaks = [case.image.max() for case in many.cases.values()]
    assert max(peaks) / min(peaks) > 100, "there is no common intensity scale"


def test_no_threshold_solves_it(many: cohort.Cohort) -> None:
    """The best window of intensities, chosen for each case with its truth in hand, stays far from a segmentation."""
    best = []
    for case in list(many.cases.values())[:30]:
        order = np.argsort(case.image, axis=None, kind="stable")
        inside = np.cumsum(case.label.ravel()[order] > 0)
        edges = np.linspace(0, inside.size - 1, 80).astype(int)
        low, high = np.meshgrid(edges, edges)
        size, hits = high - low, inside[high] - inside[low]
        best.append((2 * hits / (np.maximum(size, 0) + inside[-1]))[high > low].max())
    assert max(best) < 0.6 and np.mean(best) < 0.45


def test_it_is_learnable_because_the_border_can_be_seen(many: cohort.Cohort) -> None:
    """Hippocampus differs from what lies one to two voxels outside it, far beyond the noise of a mean."""
    from scipy.ndimage import binary_dilation

    contrasts = []
    for case in list(many.cases.values())[:20]:
        inside = case.label > 0
        shell = binary_dilation(inside, iterations=3) & ~binary_dilation(inside)
        image = case.image[0] / case.image.std()
        contrasts.append(abs(image[shell] - image[inside].mean()).mean() / image[inside].std())
    assert np.mean(contrasts) > 1.2


def digest(folder: Path) -> str:
    """SHA-256 over names and bytes of all files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [path.relative_to(folder).as_posix().encode() + path.read_bytes() for path in files]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_other_parameters_give_other_bytes(tmp_path: Path) -> None:
    for seed in (1, 2):
        phantom.generate(tmp_path / str(seed), n_subjects=1, seed=seed)
    assert digest(tmp_path / "1") != digest(tmp_path / "2")


WITH_THREADS = """
import hashlib, pathlib, sys
import numpy as np
from hipposeg.data import anatomy, phantom

for scale in (1.6, 2.5, 5.0, 22.0):
    field = anatomy.smooth_field(np.random.default_rng(0), anatomy.CANVAS, scale)
    print(hashlib.sha256(field.tobytes()).hexdigest())
phantom.generate(pathlib.Path(sys.argv[1]), n_subjects=2)
"""


def test_one_and_two_threads_give_equal_bytes(tmp_path: Path) -> None:
    fields = []
    for threads in ("1", "2"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", WITH_THREADS, str(tmp_path / threads)]
        fields.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert fields[0] == fields[1]
    assert digest(tmp_path / "1") == digest(tmp_path / "2")


def test_ensure_generates_once_and_again_only_for_other_parameters(tmp_path: Path) -> None:
    folder = tmp_path / "Task04_Hippocampus"
    phantom.ensure(folder, PHANTOM_SPEC, 1, 1)
    stamp = (folder / "dataset.json").stat().st_mtime_ns
    phantom.ensure(folder, PHANTOM_SPEC, 1, 1)
    assert (folder / "dataset.json").stat().st_mtime_ns == stamp
    listing = read_json(folder / "dataset.json")
    listing["phantom"]["version"] -= 1
    write_json(folder / "dataset.json", listing)
    phantom.ensure(folder, PHANTOM_SPEC, 1, 1)
    assert read_json(folder / "dataset.json")["phantom"]["version"] == phantom.GENERATOR_VERSION
    phantom.ensure(folder, PHANTOM_SPEC, 2, 1)
    assert len(read_json(folder / "dataset.json")["training"]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["Task04_Hippocampus"]


def test_a_failed_generation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "write_json", fail)
    with pytest.raises(KeyboardInterrupt):
        phantom.ensure(tmp_path / "Task04_Hippocampus", PHANTOM_SPEC, 1, 1)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="at least 1"):
        phantom.generate(tmp_path, n_subjects=0)


def test_smooth_fields_are_standardised_and_smooth() -> None:
    fields = [smooth_field(np.random.default_rng(seed), (30, 40, 20), 3.0) for seed in range(30)]
    assert fields[0].shape == (30, 40, 20) and fields[0].dtype == np.float32
    values = np.stack(fields)
    assert abs(values.mean()) < 0.1 and values.std() == pytest.approx(1, abs=0.1)
    assert np.abs(np.diff(values, axis=1)).mean() < 0.35
