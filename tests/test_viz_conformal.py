"""Pictures of the predictor and of conformal intervals say what their tables say."""

import numpy as np
import pandas as pd
import pytest
from drawing import volume
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from hipposeg.data.spec import MSD_HIPPOCAMPUS as SPEC
from hipposeg.viz import qc
from hipposeg.viz.style import ERROR, INK, save_figure
from hipposeg_lab.figures import conformal

pytestmark = pytest.mark.usefixtures("house_style")
NAMES = {"anterior": "anterior", "posterior": "posterior", "union": "total"}


def table():
    """Ten volumes for each label; the third and the seventh lie outside."""
    rows = [
        {"case": case, "label": label, "predicted": 1000 + 10 * case, "lower": 900, "upper": 1200, "true": 1000}
        for label in NAMES
        for case in range(10)
    ]
    found = pd.DataFrame(rows)
    found.loc[found["case"].isin((3, 7)), "true"] = 1300
    return found.assign(inside=(found["lower"] <= found["true"]) & (found["true"] <= found["upper"]))


def test_every_interval_is_drawn_and_what_lies_outside_stands_out():
    fig = conformal.intervals(table(), SPEC, NAMES)
    assert [ax.get_title(loc="left") for ax in fig.axes] == list(NAMES.values())
    for ax in fig.axes:
        bars, inside, outside = ax.collections
        assert len(bars.get_segments()) == 10
        assert len(inside.get_offsets()) == 8 and len(outside.get_offsets()) == 2
        assert to_hex(outside.get_facecolor()[0]) == ERROR.lower()
        assert outside.get_offsets()[:, 0].tolist() == [3, 7]


def coverage():
    groups = ["all", "tercile 1", "tercile 2", "tercile 3", "fold 0", "halves"]
    return pd.DataFrame([
        {"label": label, "method": method, "group": group, "coverage": 0.9, "low": 0.85, "high": 0.95,
         "width": 100.0 + 10 * at, "people": 30}
        for label in NAMES for method in ("constant", "chosen") for at, group in enumerate(groups)
    ])  # fmt: skip


def test_coverage_has_a_row_for_each_group_and_the_level():
    fig = conformal.coverage(coverage(), SPEC, NAMES, 0.9, "chosen")
    left, right = fig.axes
    said = [text.get_text() for text in left.get_yticklabels()]
    assert said[:3] == ["all volumes", "smallest third", "middle third"] and said[-2:] == [
        "scored fold 0",
        "random halves",
    ]
    assert [bars.get_segments()[0][:, 0].tolist() for bars in left.collections] == [[0.85, 0.95]] * 3
    assert [line.get_xdata()[0] for line in left.lines if line.get_linestyle() == "--"] == [0.9]
    assert [line.get_ydata().tolist() for line in right.lines[:2]] == [[110, 120, 130]] * 2


def test_quality_picture_shows_volumes_and_flags(tmp_path):
    image, mask = volume()
    said = ["anterior 160 mm³ (150 to 170)", "total 412 mm³ (400 to 424)"]
    calm = qc.picture(image, mask, SPEC, "scan_a", said, [], (1, 1, 1), 0.9)
    texts = [text.get_text() for text in calm.texts]
    assert texts[0] == "scan_a" and texts[1] == f"{', '.join(said)}; 90 % intervals" and texts[2] == qc.FINE
    assert len([ax for ax in calm.axes if ax.images]) == 6
    outlined = [len([c for c in ax.collections if isinstance(c, LineCollection)]) for ax in calm.axes]
    assert outlined[:3] == [0, 0, 0] and min(outlined[3:]) >= 1
    flagged = qc.picture(
        image, mask, SPEC, "scan_a", said, ["it is odd", "it is " + "very " * 40 + "odd"], (1, 1, 1), 0.9
    )
    red = [text.get_text() for text in flagged.texts if to_hex(text.get_color()) == ERROR.lower()]
    assert red[0] == "Look: it is odd." and " ".join(red[1:]).endswith("odd.") and len(red) > 2
    assert flagged.get_size_inches()[1] > calm.get_size_inches()[1]
    assert to_hex(flagged.texts[0].get_color()) == INK
    for name in ("a.png", "b.png"):
        save_figure(flagged, tmp_path / name, phantom=False)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_quality_picture_of_an_empty_mask():
    image, mask = volume()
    fig = qc.picture(
        image, np.zeros_like(mask), SPEC, "scan", ["total 0 mm³"], ["no hippocampus was found"], (1, 1, 1), 0.9
    )
    assert "Look: no hippocampus was found." in [text.get_text() for text in fig.texts]
