"""Surfaces: shared borders, volumes, the same picture in every process, and machines that cannot render."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from drawing import volume

from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.viz import surface

SPACING = (1.0, 1.0, 1.0)


@pytest.fixture
def renders():
    """Skip the test where surfaces cannot be rendered."""
    if reason := surface.problem():
        pytest.skip(reason)


def test_surface_fields_share_one_border():
    _, label = volume()
    lead = surface.fields(label, SPEC.n_classes)
    # No point belongs to two labels, and away from borders the smoothed winner is the label itself.
    assert not ((lead[0] > 0) & (lead[1] > 0)).any()
    assert lead[0][6, 13, 6] > 0.5 and lead[1][6, 7, 6] > 0.5
    assert lead[0][0, 0, 0] < 0


SURFACE = """
import hashlib
import numpy as np
from hipposeg.data.spec import MSD_HIPPOCAMPUS
from hipposeg.viz import surface
surface.problem = lambda: None  # tried by the parent already
label = np.load({path!r})
print(hashlib.sha256(surface.picture(label, MSD_HIPPOCAMPUS, (1, 1, 1), 20, size=(240, 140)).tobytes()).hexdigest())
"""


def test_surface_is_the_same_in_two_processes(tmp_path, renders):
    _, label = volume()
    here = hashlib.sha256(surface.picture(label, SPEC, SPACING, 20, size=(240, 140)).tobytes()).hexdigest()
    np.save(tmp_path / "label.npy", label)
    script = SURFACE.format(path=str(tmp_path / "label.npy"))
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert there.stdout.split()[-1] == here


def test_surface_volume_is_close_to_the_voxels(renders):
    distance = np.linalg.norm(np.indices((24, 24, 24)) - 11.5, axis=0)
    ball = (distance < 8).astype(np.uint8)
    mesh = surface.meshes(ball, SPEC, (1.0, 1.0, 2.0))["anterior"]
    assert mesh.volume == pytest.approx(2 * ball.sum(), rel=0.03)
    # The centre of voxel (0, 0, 0) is half a voxel inside the box, as in the slices.
    assert np.mean(np.reshape(mesh.bounds, (3, 2)), axis=1) == pytest.approx([12, 12, 24], abs=0.1)


def test_a_scene_has_a_legend_and_letters_and_says_where_it_does_not_turn(renders, monkeypatch, capsys):
    _, label = volume()
    plotter = surface._plotter(label, SPEC, SPACING, 20, surface.meshes, off_screen=True, window_size=(240, 140))
    bare = plotter.screenshot(return_img=True)
    surface._annotate(plotter, label.shape, SPEC, SPACING)
    assert plotter.legend.GetNumberOfEntries() == 2 and not np.array_equal(plotter.screenshot(return_img=True), bare)
    plotter.close()
    monkeypatch.setenv("HIPPOSEG_HEADLESS", "1")
    assert surface.show(label, SPEC, SPACING) is not None
    assert "still picture" in capsys.readouterr().out


def test_a_machine_without_gl_gets_a_reason(monkeypatch, caplog):
    monkeypatch.setattr(surface, "PROBE", "raise SystemExit('no GL here')")
    surface.problem.cache_clear()
    try:
        with caplog.at_level("INFO", surface.__name__):
            reason = surface.problem()
        # VTK's message differs from call to call, so it goes to the log and not into a notebook.
        assert "found no way to draw" in reason and "libosmesa6" in reason
        assert "no GL here" in caplog.text and "no GL here" not in reason
        with pytest.raises(RuntimeError, match="found no way to draw"):
            surface.picture(volume()[1], SPEC, SPACING, 20)
    finally:
        surface.problem.cache_clear()
