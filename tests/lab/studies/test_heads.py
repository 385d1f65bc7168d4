"""Changes of a whole head: where things lie must stay known, whatever happens to the voxels."""

import numpy as np
import pytest
from scipy import ndimage

from hipposeg.predict.scan import Scan
from hipposeg.workspace import Workspace
from hipposeg_lab.studies import heads


@pytest.fixture(scope="module")
def blob() -> Scan:
    """An off-centre ball on an anisotropic, shifted grid."""
    affine = np.diag([2.0, 1.5, 1.0, 1.0])
    affine[:3, 3] = (-60, -50, -40)
    x, y, z = np.indices((60, 70, 80))
    ball = ((2 * x - 50) ** 2 + (1.5 * y - 60) ** 2 + (z - 30) ** 2 < 15**2).astype(np.float32)
    return Scan("ball", ball, affine)


def centre(image, affine) -> np.ndarray:
    return (affine @ np.append(ndimage.center_of_mass(image), 1))[:3]


@pytest.mark.parametrize("change", [heads.rotated, lambda scan: heads.at_spacing(scan, (1.25,) * 3)])
def test_a_moved_head_is_where_its_affine_says(blob, change):
    found = change(blob)
    assert not np.array_equal(found.affine, blob.affine)
    assert centre(found.image, found.affine) == pytest.approx(centre(blob.image, blob.affine), abs=0.3)
    back = heads.moved_to(found.image > 0.5, found.affine, blob)
    assert 2 * (back & (blob.image > 0)).sum() / (back.sum() + blob.image.sum()) > 0.95


def test_a_header_that_exchanges_sides_mirrors_the_first_axis_alone(blob):
    found = heads.exchanged(blob)
    assert np.array_equal(found.image, blob.image)
    assert centre(found.image, found.affine) == pytest.approx(centre(blob.image, blob.affine) * (-1, 1, 1))


def test_thick_slices_are_means_over_their_thickness(blob):
    thick = heads.at_spacing(blob, (2.0, 1.5, 6.0))
    assert thick.image.shape == (60, 70, 14) and thick.spacing == pytest.approx((2.0, 1.5, 6.0))
    size = thick.image.sum() * np.prod(thick.spacing) / (blob.image.sum() * np.prod(blob.spacing))
    assert size == pytest.approx(1, abs=0.05)


def test_noise_keeps_the_values_and_no_place(blob):
    found = heads.noise(blob)
    assert np.array_equal(np.sort(found.image, axis=None), np.sort(blob.image, axis=None))
    assert np.abs(centre(found.image, found.affine) - centre(np.ones_like(blob.image), blob.affine)).max() < 3


def test_only_t1_weighted_scans_may_pass(tmp_path):
    assert heads.expected_of(tmp_path / "a_t1.nii.gz", heads.UNCHANGED) == heads.GOOD
    assert heads.expected_of(tmp_path / "a_t2.nii.gz", heads.UNCHANGED) == heads.NEVER
    with pytest.raises(FileNotFoundError, match="HIPPOSEG_HEADS"):
        heads.heads(tmp_path)


def test_tables_are_made_again_for_another_card(tmp_path, monkeypatch):
    ws, made = Workspace(tmp_path, "msd"), []
    card = tmp_path / heads.card.NAME
    card.write_text("first")
    monkeypatch.setattr(heads.card, "PACKAGED", tmp_path)
    monkeypatch.setattr(heads, "load_ensemble", lambda: None)
    monkeypatch.setattr(heads, "heads", lambda folder: [folder / "a_t2.nii.gz"])
    monkeypatch.setattr(heads, "rows", lambda path, ensemble: made.append(path.name) or [{"image": "a_t2"}])
    monkeypatch.setenv("HIPPOSEG_HEADS", str(tmp_path))
    assert [heads.update(ws), heads.update(ws)] == ["made", "kept"] and made == ["a_t2.nii.gz"]
    card.write_text("second")
    assert heads.update(ws) == "made" and len(made) == 2
    monkeypatch.delenv("HIPPOSEG_HEADS")
    card.write_text("third")
    assert heads.update(ws).startswith("left out")
