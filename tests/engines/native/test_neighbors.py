"""Neighbours against plain loops and CellProfiler's results."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.engines.native.kernels import labels
from pipeline.engines.native.modules.measure_object_neighbors import (
    ADJACENT,
    FEATURES,
    WITHIN,
    MeasureObjectNeighbors,
    nearest_kept,
    nearest_three,
)
from pipeline.engines.native.workspace import Objects
from tests.engines.native.sites import label_images, shapes

# The engine runs its steps with NumPy's warnings off: missing objects have no outline.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def disk(radius: float) -> np.ndarray:
    reach = np.arange(-int(radius), int(radius) + 1)
    return reach[:, None] ** 2 + reach**2 <= radius**2


@given(st.data(), st.sampled_from([1, 2, 5]), st.booleans())
def test_neighbours_are_what_a_dilated_object_meets(data, distance, same):
    shape = data.draw(shapes(2))
    objects = Objects.of(data.draw(label_images(shape)))
    others = objects if same else Objects.of(data.draw(label_images(shape)))
    module = MeasureObjectNeighbors("A", "A" if same else "B", WITHIN, distance, True)

    measured = dict(zip(FEATURES, module.measure(objects, others), strict=True))

    outline = labels.outline(objects.segmented)
    for k in np.flatnonzero(objects.areas):
        mask = objects.segmented == k + 1
        if others.count <= (1 if same else 0):
            assert measured["NumberOfNeighbors"][k] == measured["PercentTouching"][k] == 0
            continue
        met = np.unique(others.segmented[ndimage.binary_dilation(mask, disk(distance))])
        met = [label for label in met if label and not (same and label == k + 1)]
        assert measured["NumberOfNeighbors"][k] == len(met)
        foreign = (others.segmented > 0) & ~(mask if same else np.zeros_like(mask))
        near = ndimage.binary_dilation(foreign, disk(distance + 0.5))
        on_outline = mask & outline
        assert measured["PercentTouching"][k] == pytest.approx(100 * (near & on_outline).sum() / on_outline.sum())


def test_two_squares_and_a_third_far_away_by_hand():
    segmented = np.zeros((20, 40), np.int32)
    segmented[2:6, 2:6] = 1
    segmented[2:6, 6:10] = 2
    segmented[12:16, 32:36] = 3
    objects = Objects.of(segmented)

    measured = dict(
        zip(FEATURES, MeasureObjectNeighbors("A", "A", ADJACENT, 5, True).measure(objects, objects), strict=True)
    )

    assert measured["NumberOfNeighbors"].tolist() == [1, 1, 0]
    assert measured["PercentTouching"].tolist() == pytest.approx([100 * 4 / 12, 100 * 4 / 12, 0])
    assert measured["FirstClosestObjectNumber"].tolist() == [2, 1, 2]
    assert measured["SecondClosestObjectNumber"].tolist() == [3, 3, 1]
    assert measured["FirstClosestDistance"][:2].tolist() == [4, 4]
    assert measured["SecondClosestDistance"][0] == pytest.approx(np.hypot(30, 10))
    assert measured["AngleBetweenNeighbors"][0] == pytest.approx(np.degrees(np.arctan2(10, 30)))


def test_an_object_dropped_at_the_border_still_is_a_neighbour_until_it_is_not_to_count():
    small_removed = np.zeros((10, 20), np.int32)
    small_removed[2:6, 2:6] = 2
    small_removed[2:6, :2] = 1
    kept = np.where(small_removed == 2, 1, 0).astype(np.int32)
    objects = Objects(kept, small_removed, small_removed)

    with_dropped = MeasureObjectNeighbors("A", "A", ADJACENT, 5, True).measure(objects, objects)
    without = MeasureObjectNeighbors("A", "A", ADJACENT, 5, False).measure(objects, objects)

    assert with_dropped[0].tolist() == [1]
    assert with_dropped[2].tolist() == [0]  # it has no number any more
    assert with_dropped[3].tolist() == [3]
    assert without[0].tolist() == [0]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=12),
)
def test_the_nearest_are_found_in_order(own, others):
    own, others = np.array(own, float), np.array(others, float)
    distance = np.hypot(own[:, None, 0] - others[:, 0], own[:, None, 1] - others[:, 1])

    rows = np.arange(len(own))[:, None]
    expected = np.sort(distance, axis=1)[:, :3]
    np.testing.assert_allclose(distance[rows, nearest_three(own, others)], expected)
    kept = nearest_kept(own, np.ones(len(own), bool), others, np.ones(len(others), bool), 3)
    np.testing.assert_array_equal(kept, np.argsort(distance, axis=1, kind="stable")[:, :3])
