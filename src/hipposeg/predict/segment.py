"""Segment one scan: a whole head, or a crop around one hippocampus.

    from hipposeg import segment
    result = segment("T1.nii.gz")

A head is registered to a template, which gives a first crop of each hippocampus; each crop moves until predicting in it
leaves it in place; five networks predict the final crops, and their mean goes back to the scan's own grid.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hipposeg.metrics import UNION
from hipposeg.predict import crop as crops
from hipposeg.predict import quality
from hipposeg.predict.ensemble import Ensemble, Volume, load_ensemble
from hipposeg.predict.registration import locate
from hipposeg.predict.scan import Scan, read

OK, CHECK, REFUSED = "ok", "check", "refused"
SIDES = ("left", "right")
# A head is longer than this along every axis, and a crop around one hippocampus shorter.
HEAD_MM = 100.0
CUT_OFF = "the image has only {:.0f} mm along one axis: the head is cut off"
# Least share of the place of a hippocampus that must lie in the image. In whole heads all of it does.
COVERED = 0.9
# Mean Dice between the five networks' masks. On 14 good and 10 failed hippocampi of eight heads the good ones had 0.94
# and more, the failed ones 0.82 and less.
AGREE_REFUSED, AGREE_CHECK = 0.85, 0.94
AGREE = "the networks' masks agree with a Dice of {:.2f} (limit {})"
# Way of a crop from the template's place to its end: 4.3 mm at most on the good ones, 15 and more on the failed ones.
MOVED_REFUSED, MOVED_CHECK = 15.0, 8.0


@dataclass(frozen=True)
class Hippocampus:
    """One segmented hippocampus in the crop that the networks saw (unmirrored), for pictures.

    Attributes:
        side: "left", "right", or "" where a crop does not tell.
        image: (X, Y, Z) float32 at 1 mm.
        mask: (X, Y, Z) uint8: 1 anterior, 2 posterior.
        agreement: mean Dice between the networks' masks.
        flags: what is unusual, in words.
        failures: why it cannot be trusted at all, in words.
    """

    side: str
    image: np.ndarray
    mask: np.ndarray
    agreement: float
    flags: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """The segmentation of one scan.

    Attributes:
        scan: what was read.
        labels: (X, Y, Z) uint8 on the scan's grid; of a head 1 left anterior, 2 left posterior, 3 right anterior and
            4 right posterior; of a crop 1 anterior, 2 posterior. None if the scan is refused.
        names: label value -> name.
        volumes: name of a part or a whole hippocampus -> Volume in mm3.
        hippocampi: each segmented hippocampus.
        status: "ok", "check" (look at the picture) or "refused".
        reasons: why the status is not "ok".
        intracranial_ml: estimated from the registration; None of a crop.
    """

    scan: Scan
    labels: np.ndarray | None
    names: dict[int, str]
    volumes: dict[str, Volume]
    hippocampi: tuple[Hippocampus, ...]
    status: str
    reasons: tuple[str, ...]
    intracranial_ml: float | None = None

    @property
    def asymmetry(self) -> float | None:
        """Left minus right whole volume, relative to their mean; None of a crop or a refused scan."""
        if not {"left", "right"} <= set(self.volumes):
            return None
        left, right = (self.volumes[side].predicted for side in SIDES)
        return (left - right) / ((left + right) / 2)

    @property
    def affine(self) -> np.ndarray:
        """(4, 4), voxel index to mm."""
        return self.scan.affine

    def show(self) -> Any:
        """A matplotlib figure: three planes of each hippocampus, bare and with the outlines of its parts."""
        from hipposeg.viz import slices

        return slices.quality({one.side or "crop": (one.image, one.mask) for one in self.hippocampi})


def segment(
    source: str | Path | Scan,
    ensemble: Ensemble | None = None,
    series: str = "",
    say: Callable[[str], None] | None = None,
) -> Result:
    """Segment a scan; nothing is written.

    Args:
        source: a file, a folder with a DICOM series, or what `scan.read` returned.
        ensemble: networks and card; by default the package's.
        series: of a folder with several DICOM series, the one to take.
        say: receives a line for each stage.

    Raises:
        DataError: the scan cannot be read, or is no scan of this kind; the message says what to do.
    """
    say = say or (lambda text: None)
    scan = source if isinstance(source, Scan) else read(Path(source), series)
    ensemble = ensemble or load_ensemble()
    return (_head if _extent(scan).max() >= HEAD_MM else _crop)(scan, ensemble, say)


def _extent(scan: Scan) -> np.ndarray:
    """In mm along each axis."""
    return np.array(scan.image.shape) * scan.spacing


def _crop(scan: Scan, ensemble: Ensemble, say: Callable[[str], None]) -> Result:
    """A crop around one hippocampus, as the training set's."""
    crops.check(scan, ensemble.card.boxes)
    say("predicting")
    found = ensemble.predict(scan.image)
    mask = found.probabilities.argmax(axis=0).astype(np.uint8)
    measured = quality.measure(mask, scan.spacing, found.spread, ensemble.spec)
    flags = quality.flags(measured, ensemble.card.limits)
    if measured[UNION] and found.agreement < AGREE_CHECK:
        flags.append(AGREE.format(found.agreement, AGREE_CHECK))
    volumes = {
        "total" if label == UNION else label: ensemble.volume(label, measured[label], spread)
        for label, spread in found.spread.items()
    }
    seen = Hippocampus("", scan.image, mask, found.agreement, tuple(flags))
    names = {label.value: label.name for label in ensemble.spec.labels}
    reasons = (*scan.notes, *flags)
    return Result(scan, mask, names, volumes, (seen,), CHECK if reasons else OK, reasons)


def _head(scan: Scan, ensemble: Ensemble, say: Callable[[str], None]) -> Result:
    shortest = _extent(scan).min()
    cut_off = (CUT_OFF.format(shortest),) if shortest < HEAD_MM else ()
    say("registering to the template")
    located = locate(scan.image, scan.affine)
    if located.collapsed:
        why = "no head was found: the registration to the template collapsed. "
        return _refused(scan, *cut_off, f"{why}Expected a T1-weighted scan of a whole head")
    covered = {side: located.covered(side, scan.affine, scan.image.shape) for side in SIDES}
    if min(covered.values()) < COVERED:
        place = "{}: {:.0%} of the place of the hippocampus lies outside of the image"
        missing = (place.format(side, 1 - share) for side, share in covered.items() if share < COVERED)
        return _refused(scan, *missing, "the head is cut off. Expected a T1-weighted scan of a whole head")
    region = crops.region(scan.image, scan.affine, located)
    labels, volumes, seen = np.zeros(scan.image.shape, dtype=np.uint8), {}, []
    names = {}
    for side in SIDES:
        say(f"placing the crop, {side}")
        begun = crops.start(region, located, side)
        placed = crops.settle(region, begun, ensemble.first, ensemble.card.boxes, crops.APART_MM)
        say(f"predicting, {side}")
        image = region.cut(placed.box)
        found = ensemble.predict(image)
        turn = slice(None, None, -1 if placed.box.mirrored else None)
        parts = found.probabilities.argmax(axis=0).astype(np.uint8)
        measured = quality.measure(parts, ensemble.card.boxes.spacing, found.spread, ensemble.spec)
        mine = crops.back(found.probabilities[:, turn], region.grid_of(placed.box), scan.affine, labels.shape)
        voxel = abs(float(np.linalg.det(scan.affine[:3, :3])))
        for label in ensemble.spec.labels:
            value = label.value + len(ensemble.spec.labels) * SIDES.index(side)
            names[value] = f"{side} {label.name}"
            labels[(mine == label.value) & (labels == 0)] = value
            size = voxel * int((mine == label.value).sum())
            volumes[names[value]] = ensemble.volume(label.name, size, found.spread[label.name])
        volumes[side] = ensemble.volume(UNION, voxel * int((mine > 0).sum()), found.spread[UNION])
        flags, failures = _judged(placed, found.agreement, measured, ensemble)
        seen.append(Hippocampus(side, image[turn], parts[turn], found.agreement, flags, failures))
    failures = [f"{one.side}: {why}" for one in seen for why in one.failures]
    flags = [*scan.notes, *cut_off, *(f"{one.side}: {why}" for one in seen for why in one.flags)]
    if failures:
        return Result(scan, None, {}, {}, tuple(seen), REFUSED, tuple(failures), located.intracranial_ml)
    status = CHECK if flags else OK
    return Result(scan, labels, names, volumes, tuple(seen), status, tuple(flags), located.intracranial_ml)


def _judged(
    placed: crops.Settled, agreement: float, measured: dict[str, float], ensemble: Ensemble
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Flags and failures of one side, in words."""
    flags = quality.flags(measured, ensemble.card.limits)
    if not measured[UNION]:
        return (), ("no hippocampus was found",)
    failures = []
    if agreement < AGREE_REFUSED:
        failures.append(f"{AGREE.format(agreement, AGREE_REFUSED)}: they do not know this kind of image")
    elif agreement < AGREE_CHECK:
        flags.append(AGREE.format(agreement, AGREE_CHECK))
    if placed.moved > MOVED_REFUSED:
        failures.append(f"the mask lies {placed.moved:.0f} mm from where the template has a hippocampus")
    elif placed.moved > MOVED_CHECK:
        flags.append(f"the mask lies {placed.moved:.0f} mm from where the template has it (limit {MOVED_CHECK:.0f})")
    if not placed.settled:
        flags.append("the crop did not settle: predicting in it moves it again")
    return tuple(flags), tuple(failures)


def _refused(scan: Scan, *why: str) -> Result:
    return Result(scan, None, {}, {}, (), REFUSED, why)
