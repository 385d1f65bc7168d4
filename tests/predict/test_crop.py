"""Crops: the way to the fixed point, the mirrored side, back to the scan's grid, and a user's own crops."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hipposeg.data.spec import DataError
from hipposeg.predict import card, crop
from hipposeg.predict.crop import Box, Region
from hipposeg.predict.registration import BOXES, Located
from hipposeg.predict.scan import Scan

BOXES_OF_CARD = card.read().boxes
LOW, HIGH = np.array((60, 55, 50)), np.array((78, 92, 75))  # of the blob, the last included


@pytest.fixture(scope="module")
def blob():
    """A region with an ellipsoid of foreground, and a speck of it apart."""
    where = (np.indices((161, 151, 141)).T - (LOW + HIGH) / 2) / ((HIGH - LOW) / 2 + 0.3)
    image = ((where**2).sum(axis=-1) <= 1).T.astype(np.float32)
    image[64, 55, 72] = 1
    return Region(image, np.eye(4))


def threshold(image):
    return np.stack([1 - image, image, 0 * image])


@pytest.mark.parametrize("mirrored", [False, True])
def test_starts_apart_end_in_the_same_box_with_the_training_margins(blob, mirrored):
    right = Box.around(LOW, HIGH, mirrored)
    low, high = ((7, 5, 5), (6, 6, 5)) if mirrored else ((6, 5, 5), (7, 6, 5))
    assert np.array_equal(LOW - right.low, low) and np.array_equal(right.high - HIGH - 1, high)
    for shift in ((0, 0, 0), (8, 0, 0), (-8, 0, 0), (0, 8, -8), (-5, -8, 8), (8, 8, 8)):
        began = Box(tuple(np.add(right.low, shift).tolist()), tuple(np.add(right.high, shift).tolist()), mirrored)
        found = crop.settle(blob, began, threshold, BOXES_OF_CARD)
        assert found.box == right and found.settled and found.moved == max(map(abs, shift))
        assert (found.steps == 1) == (not any(shift))


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_crop_that_cuts_the_mask_off_is_left_for_crops_beside_it(blob, mirrored):
    def timid(image):  # as networks do on coarse scans, sees only a third of what the border of the crop cuts
        found = threshold(image)
        sides = [np.take(image, place, axis).any() for axis in range(3) for place in (0, -1)]
        if any(sides):
            found[1, :, : np.argwhere(image)[:, 1].max() - 12] = 0
        return found

    right = Box.around(LOW, HIGH, mirrored)
    for shift in (0, 8, 0), (0, 10, 0), (0, 9, -4), (0, -10, 0):
        began = Box(tuple(np.add(right.low, shift).tolist()), tuple(np.add(right.high, shift).tolist()), mirrored)
        found = crop.settle(blob, began, timid, BOXES_OF_CARD, crop.APART_MM)
        assert found.box == right and found.settled and found.moved == max(map(abs, shift)), shift
    began = Box(tuple(np.add(right.low, (0, 10, 0)).tolist()), tuple(np.add(right.high, (0, 10, 0)).tolist()), mirrored)
    assert crop.settle(blob, began, timid, BOXES_OF_CARD).box != right, "alone it stays where it is cut"


def test_a_cut_beyond_the_region_repeats_its_outermost_voxels():
    image = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    for low, high in (((-3, 0, 2), (4, 6, 12)), ((0, -1, -2), (9, 3, 7)), ((1, 1, 1), (4, 5, 6))):
        where = [np.clip(range(a, b), 0, side - 1) for a, b, side in zip(low, high, image.shape, strict=True)]
        assert np.array_equal(Region(image, np.eye(4)).cut(Box(low, high, False)), image[np.ix_(*where)])


def test_further_starts_lie_apart_along_each_axis():
    found = Region(np.random.default_rng(0).random((60, 70, 60)).astype(np.float32), np.eye(4))
    seen, low, high = [], np.array((12, 11, 13)), np.array((46, 55, 45))

    def predict(image):
        seen.append(image)
        return np.stack([image > 2, image <= 2])

    crop.settle(found, Box(tuple(low.tolist()), tuple(high.tolist()), False), predict, BOXES_OF_CARD, 4)
    shifts = [(0, 0, 0), (4, 0, 0), (0, 4, 0), (0, 0, 4), (-4, 0, 0), (0, -4, 0), (0, 0, -4)]
    for image, shift in zip(seen[:7], shifts, strict=True):
        a, b = low + shift, high + shift
        assert np.array_equal(image, found.image[a[0] : b[0], a[1] : b[1], a[2] : b[2]])


@pytest.mark.parametrize("far", [False, True])
def test_a_start_that_just_misses_the_region_is_saved_by_those_beside_it(far):
    image = np.zeros((70, 80, 60), np.float32)
    image[62:69, 20:60, 20:40] = 1
    began = Box((70, 15, 15), (105, 65, 45), False)
    if not far:
        image, began = image[::-1].copy(), Box((-35, 15, 15), (0, 65, 45), False)
    found = Region(image, np.eye(4))
    alone = crop.settle(found, began, threshold, BOXES_OF_CARD)
    assert not alone.settled and (alone.steps, alone.moved) == (1, np.inf)
    together = crop.settle(found, began, threshold, BOXES_OF_CARD, 10)
    inside = np.argwhere(image)
    expected = crop._limited(Box.around(inside.min(axis=0), inside.max(axis=0), False), BOXES_OF_CARD)
    assert together.settled and together.box == expected


def test_one_layer_of_a_head_is_seen():
    image = np.zeros((70, 80, 60), np.float32)
    image[:7, 20:60, 20:40] = 1
    began = Box((-34, 15, 15), (1, 65, 45), False)
    assert crop.settle(Region(image, np.eye(4)), began, threshold, BOXES_OF_CARD).moved < np.inf


def test_a_crop_that_goes_on_moving_is_given_up(blob):
    def restless(image):  # always sees the hippocampus two voxels further to the right
        found = threshold(0 * image)
        found[1, 8:-5, 5:-6, 5:-5] = 2
        return found

    found = crop.settle(blob, Box((50, 50, 45), (85, 99, 81), False), restless, BOXES_OF_CARD)
    assert (found.settled, found.steps, found.moved) == (False, 10, 20) and found.box.low == (70, 50, 45)


def test_the_largest_piece_keeps_its_classes_and_touching_corners():
    mask = np.zeros((6, 5, 4), np.uint8)
    mask[0, 0, 0], mask[1, 1, 1], mask[2, 2, 1] = 1, 2, 1
    alone = mask.copy()
    mask[5, 4, :2] = 1
    assert np.array_equal(crop.largest_piece(mask), alone) and np.array_equal(crop.largest_piece(alone), alone)
    mask[5, 4] = 2  # four voxels, more than the other three
    largest = np.zeros_like(mask)
    largest[5, 4] = 2
    assert np.array_equal(crop.largest_piece(mask), largest)


def test_a_crop_that_leaves_the_region_does_not_settle(blob):
    def runaway(image):
        found = threshold(0 * image)
        found[1, -3:, 10:30, 10:30] = 1
        return found

    for apart in (0, crop.APART_MM):
        found = crop.settle(blob, Box((130, 60, 50), (165, 110, 90), False), runaway, BOXES_OF_CARD, apart)
        assert not found.settled and found.moved == np.inf


def test_the_networks_see_a_right_side_mirrored(blob):
    left, right = (Box.around(LOW, HIGH, mirrored) for mirrored in (False, True))
    assert np.array_equal(blob.cut(replace(left, mirrored=True)), blob.cut(left)[::-1])
    seen = []
    crop.settle(blob, right, lambda image: (seen.append(image), threshold(image))[1], BOXES_OF_CARD)
    assert np.array_equal(seen[0], blob.image[53:85, 50:99, 45:81][::-1])


def test_a_cycle_of_two_ends_in_the_larger_crop_and_nothing_found_is_not_settled(blob):
    def restless(image):  # sees one voxel more in a crop of 32 voxels than in one of 33
        found = threshold(image)
        inside = np.argwhere(found[1])
        if image.shape[0] == 32:
            found[1, inside[:, 0].max() + 1, 20, 15] = 1.5
        return found

    for shift in (0, 6):
        began = Box.around(LOW + (shift, 0, 0), HIGH + (shift, 0, 0), False)
        found = crop.settle(blob, began, restless, BOXES_OF_CARD)
        assert found.box == Box.around(LOW, HIGH + (1, 0, 0), False) and found.settled
        assert found.moved == np.abs(found.box.centre - began.centre).max()
    lost = crop.settle(blob, began, lambda image: threshold(0 * image), BOXES_OF_CARD)
    assert not lost.settled and lost.moved == np.inf


def test_a_crop_is_never_larger_or_smaller_than_in_training():
    everything = Region(np.ones((161, 151, 141), dtype=np.float32), np.eye(4))
    found = crop.settle(everything, Box((60, 50, 40), (95, 100, 70), False), threshold, BOXES_OF_CARD)
    assert found.box.size == BOXES_OF_CARD.largest
    dot = Region(np.zeros((161, 151, 141), dtype=np.float32), np.eye(4))
    dot.image[80, 75, 60] = 1
    found = crop.settle(dot, Box((60, 50, 40), (95, 100, 70), False), threshold, BOXES_OF_CARD)
    assert found.box.size == BOXES_OF_CARD.smallest and np.abs(found.box.centre - (81, 76, 60.5)).max() <= 0.5


def located(degrees=0.0):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    return Located(affine, 1.0, False)


def test_a_scan_of_1_mm_is_not_interpolated_along_its_own_axes():
    image = np.random.default_rng(0).normal(100, 30, (150, 190, 160)).astype(np.float32)
    turn = np.array([[0, 0, 1], [-1, 0, 0], [0, 1, 0]])  # stored from front to back, bottom to top, left to right
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn, (-78.3, 52.4, -85.2)
    found = crop.region(image, affine, located(5))
    voxel = np.linalg.inv(affine) @ found.affine
    first, steps = np.rint(voxel[:3, 3]).astype(int), np.rint(voxel[:3, :3]).astype(int)
    np.testing.assert_allclose(voxel[:3, 3], first, atol=1e-6)
    for index in np.random.default_rng(1).integers(30, 90, (200, 3)):
        assert found.image[tuple(index)] == image[tuple(first + steps @ index)]
    assert np.allclose(found.affine[:3, :3], np.eye(3)) and found.image.shape == (161, 151, 141)
    grid = found.grid_of(Box((3, 4, 5), (9, 9, 9), False))
    assert np.array_equal(grid, found.affine + np.outer((1, 1, 1, 0), (0, 0, 0, 1)) * [[3], [4], [5], [0]])
    tilted = crop.region(image, affine, located(25))
    assert np.allclose(tilted.affine[:3, :3], located(25).rotation)


@pytest.mark.parametrize("degrees", [5, 25])
def test_an_oblique_region_follows_the_image(degrees):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (3, -2, 4), degrees=True).as_matrix()[:, [1, 0, 2]] * (1.1, 1, 1.2)
    affine[:3, 3] = (-112, -122, -100)

    def waves(places):  # (..., 3) in mm; of 20 to 28 mm length, which a cubic spline follows and a linear one does not
        return np.sin(places[..., 0] / 3.2) + np.cos(places[..., 1] / 4) + np.sin(places[..., 2] / 4.4)

    def at(voxels, grid):
        return voxels @ grid[:3, :3].T + grid[:3, 3]

    shape = (215, 205, 180)
    image = waves(at(np.moveaxis(np.indices(shape), 0, -1), affine)).astype(np.float32)
    found = crop.region(image, affine, located(degrees))
    voxels = np.random.default_rng(0).integers(0, found.image.shape, (20000, 3))
    inside = at(at(voxels, found.affine), np.linalg.inv(affine))
    voxels = voxels[((inside >= 3) & (inside <= np.array(shape) - 4)).all(axis=1)]
    assert len(voxels) > 15000
    error = found.image[tuple(voxels.T)] - waves(at(voxels, found.affine))
    assert np.abs(error).max() < 0.004


def test_a_small_head_is_in_the_region_to_its_outermost_voxels():
    image = np.random.default_rng(0).normal(100, 30, (90, 100, 95)).astype(np.float32)
    affine = np.eye(4)
    affine[:3, 3] = (-45, -70, -55)
    found = crop.region(image, affine, located())
    first = np.rint(np.linalg.inv(found.affine) @ affine)[:3, 3].astype(int)
    assert (first > 0).all()
    assert np.array_equal(found.image[tuple(slice(a, a + n) for a, n in zip(first, image.shape, strict=True))], image)


def test_a_start_has_the_size_of_the_templates_box_and_the_training_margins():
    region = crop.region(
        np.zeros((180, 200, 180), np.float32), np.eye(4) - np.outer((90, 120, 90, 0), (0, 0, 0, 1)), located()
    )
    for side, (low, high) in BOXES.items():
        begun = crop.start(region, located(), side)
        corner = np.subtract(low, region.affine[:3, 3]).round().astype(int)
        expected = Box.around(corner, corner + np.subtract(high, low), side == "right")
        assert np.abs(np.subtract(begun.low, expected.low)).max() <= 1
        assert np.abs(np.subtract(begun.high, expected.high)).max() <= 1


def test_the_start_covers_the_templates_boxes():
    image = np.zeros((180, 200, 180), dtype=np.float32)
    affine = np.eye(4)
    affine[:3, 3] = (-90, -120, -90)
    known = located(10)
    region = crop.region(image, affine, known)
    for side, box in BOXES.items():
        begun = crop.start(region, known, side)
        middle = (region.affine @ (*(begun.centre - 0.5), 1))[:3]
        expected = (known.affine @ (*np.mean(box, axis=0), 1))[:3]
        assert np.abs(middle - expected).max() <= 1.5 and begun.mirrored == (side == "right")


def test_classes_come_back_at_the_right_place_of_an_oblique_grid():
    turn = Rotation.from_euler("xyz", (20, -10, 15), degrees=True).as_matrix()
    affine, grid = np.eye(4), np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * (0.8, -1.3, 1.1), (-20, 60, -35)
    grid[:3, 3] = (-15, -10, 5)
    centres, radii = np.array([(3, 16, 22), (2, 4, 20)]), (9, 7)  # mm

    def balls(places):
        return [
            ((places.T - centre) ** 2).sum(axis=-1).T < radius**2 for centre, radius in zip(centres, radii, strict=True)
        ]

    shape, size = (60, 64, 70), (36, 40, 32)
    inside = np.stack(balls(np.indices(size) + grid[:3, 3].reshape(3, 1, 1, 1))).astype(np.float32)
    inside[1] *= 1 - inside[0]
    found = crop.back(np.stack([1 - inside.sum(axis=0), *inside]), grid, affine, shape)
    there = np.einsum("ij,jxyz->ixyz", affine[:3, :3], np.indices(shape)) + affine[:3, 3].reshape(3, 1, 1, 1)
    one, two = balls(there)
    for label, true in ((1, one), (2, two & ~one)):
        mine = found == label
        assert 2 * (mine & true).sum() / (mine.sum() + true.sum()) > 0.95
        offset = affine[:3, :3] @ (np.argwhere(mine).mean(axis=0) - np.argwhere(true).mean(axis=0))
        assert np.abs(offset).max() < 0.1
    grid[:3, 3] += 500
    assert not crop.back(np.ones((3, *size)), grid, affine, shape).any()


def test_between_centres_the_mean_of_two_probabilities_decides():
    probabilities = np.random.default_rng(0).dirichlet((1, 1, 1), (12, 13, 14)).transpose(3, 0, 1, 2).astype(np.float32)
    affine = np.eye(4)
    affine[0, 3] = 0.5
    found = crop.back(probabilities, np.eye(4), affine, (11, 13, 14))
    assert np.array_equal(found, (probabilities[:, 1:] + probabilities[:, :-1]).argmax(axis=0))


def turned(degrees, axes=(0, 1)):
    affine, angle = np.eye(4), np.radians(degrees)
    affine[np.ix_(axes, axes)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return affine


@pytest.mark.parametrize(
    ("shape", "affine", "words"),
    [
        ((35, 50, 35), np.diag((0.8, 1, 1.2, 1)), r"voxels of 0\.8 x 1 x 1\.2 mm, expected 1 x 1 x 1 mm"),
        ((35, 50, 35), np.diag((1, 1.03, 1, 1)), r"voxels of 1 x 1\.03 x 1 mm, expected 1 x 1 x 1 mm within 0\.02"),
        ((47, 50, 35), np.eye(4), r"found 47 x 50 x 35 voxels, expected a whole head or a crop of 28 x 37 x 21 to"),
        ((35, 50, 35), np.diag((-1, -1, 1, 1)), "found a crop with axes LPS, expected RAS"),
        ((35, 50, 35), np.eye(4)[[1, 0, 2, 3]], "axes ARS"),
        ((35, 50, 35), turned(10.5), r"rotated by 10\.5 degrees, expected 10 at most"),
    ],
)
def test_a_crop_unlike_those_of_training_is_refused(shape, affine, words):
    with pytest.raises(DataError, match=f"my_crop.*{words}.*Give the whole head"):
        crop.check(Scan(Path("my_crop.nii"), np.zeros(shape), affine), BOXES_OF_CARD)


def test_a_crop_up_to_the_limits_is_taken():
    for shape, affine in (((46, 62, 50), np.diag((1.015, 1, 0.985, 1))), ((28, 37, 21), turned(-10, (1, 2)))):
        crop.check(Scan(Path("my_crop.nii"), np.zeros(shape), affine), BOXES_OF_CARD)


def test_a_crop_over_the_border_comes_back_to_the_outermost_voxels():
    shape, size, first = (20, 21, 22), (12, 13, 14), np.array((-4, 12, 3))
    probabilities = np.random.default_rng(0).dirichlet((1, 1, 1), size).transpose(3, 0, 1, 2).astype(np.float32)
    grid = np.eye(4)
    grid[:3, 3] = first
    expected = np.zeros(shape, np.uint8)
    expected[:8, 12:, 3:17] = probabilities.argmax(axis=0)[4:, :9]
    assert np.array_equal(crop.back(probabilities, grid, np.eye(4), shape), expected)
