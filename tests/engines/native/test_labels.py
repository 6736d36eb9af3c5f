"""Label images against centrosome, SciPy and plain loops."""

from __future__ import annotations

import numpy as np
from centrosome import cpmorphology
from centrosome.outline import outline
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.engines.native.kernels import labels
from pipeline.engines.native.workspace import Objects, pixels_by_label
from tests.engines.native.numpy1 import ask
from tests.engines.native.sites import label_images, shapes


@st.composite
def label_image(draw, largest: int = 16):
    return draw(label_images(draw(shapes(largest=largest))))


@given(label_image(largest=30))
def test_holes_are_filled_as_centrosome_fills_them(segmented):
    np.testing.assert_array_equal(labels.fill_holes(segmented), cpmorphology.fill_labeled_holes(segmented))
    np.testing.assert_array_equal(
        labels.fill_holes(segmented, only_background=True),
        cpmorphology.fill_labeled_holes(segmented, mask=segmented == 0),
    )


def test_holes_within_objects_within_holes_are_filled_as_cellprofilers_centrosome_fills_them():
    cases = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        segmented, _ = ndimage.label(random.random((30, 34)) < random.choice([0.4, 0.55, 0.7]))
        cases.append({"labels": segmented.astype(np.int32)})

    for case, answer in zip(cases, ask("holes", cases), strict=True):
        np.testing.assert_array_equal(labels.fill_holes(case["labels"]), answer["all"])
        np.testing.assert_array_equal(labels.fill_holes(case["labels"], only_background=True), answer["background"])


def test_a_ring_around_a_dot_becomes_a_disk():
    ring = np.zeros((7, 7), np.int32)
    ring[1:6, 1:6] = 1
    ring[2:5, 2:5] = 0
    ring[3, 3] = 2

    filled = labels.fill_holes(ring)
    assert (filled[1:6, 1:6] == 1).all()
    assert filled.sum() == 25
    assert labels.fill_holes(ring, only_background=True)[3, 3] == 2


@given(label_image())
def test_an_outline_is_centrosomes(segmented):
    np.testing.assert_array_equal(labels.outline(segmented), outline(segmented) > 0)


@given(label_image())
def test_distance_is_to_the_nearest_pixel_of_another_label(segmented):
    distance = np.sqrt(labels.squared_distance(segmented))

    for label in np.unique(segmented[segmented > 0]):
        mask = segmented == label
        np.testing.assert_array_equal(distance[mask], ndimage.distance_transform_edt(mask)[mask])
    assert not distance[segmented == 0].any()


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.5, 0.95, 0.999, 1.0]), shapes(largest=40))
def test_distance_within_a_mask_is_scipys_even_where_the_mask_has_no_outside(seed, density, shape):
    mask = np.random.default_rng(seed).random(shape) < density

    np.testing.assert_array_equal(np.sqrt(labels.squared_distance(mask)), ndimage.distance_transform_edt(mask))


@given(st.data())
def test_a_childs_parent_is_the_one_that_shares_most_of_it_the_lower_of_equals(data):
    shape = data.draw(shapes())
    parents, children = data.draw(label_images(shape)), data.draw(label_images(shape))
    n_parents, n_children = int(parents.max()), int(children.max())

    expected = []
    for child in range(1, n_children + 1):
        shared = np.bincount(parents[children == child], minlength=n_parents + 1)
        shared[0] = 0
        expected.append(int(np.argmax(shared)))
    found = labels.overlap(parents, n_parents, *pixels_by_label(children.ravel(), n_children))
    assert found.tolist() == expected
    assert labels.children_of(found, n_parents).tolist() == [expected.count(k) for k in range(1, n_parents + 1)]


@given(label_image())
def test_objects_list_their_pixels_in_raster_order_with_areas_and_boxes(segmented):
    objects = Objects.of(segmented)

    assert objects.count == segmented.max()
    for k in range(objects.count):
        pixels = objects.pixels[objects.starts[k] : objects.starts[k + 1]]
        assert pixels.tolist() == np.flatnonzero(segmented.ravel() == k + 1).tolist()
        assert objects.areas[k] == pixels.size
        if pixels.size:
            rows, columns = np.divmod(pixels, segmented.shape[1])
            assert objects.boxes[k].tolist() == [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
        else:
            assert not objects.boxes[k].any()
