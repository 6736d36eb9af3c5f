"""Pixels of objects, one after another."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engines.native.workspace import Objects, gather, runs_of
from tests.engines.native.sites import images, label_images, shapes


@given(st.lists(st.integers(0, 30)))
def test_runs_give_what_indexing_gives(pixels):
    values, pixels = np.arange(31, dtype=np.float32) * 2, np.array(pixels, np.int64)
    runs, found = runs_of(pixels), np.empty(pixels.size, np.float32)

    gather(values, runs, found)

    np.testing.assert_array_equal(found, values[pixels])
    assert len(runs) == np.count_nonzero(np.diff(pixels, prepend=-5) != 1)


@given(st.data())
def test_values_come_object_after_object_in_raster_order(data):
    shape = data.draw(shapes())
    image, labels = data.draw(images(shape)), data.draw(label_images(shape))
    objects = Objects.of(labels)

    found = objects.values(image)

    expected = [image[labels == k] for k in range(1, objects.count + 1)]
    np.testing.assert_array_equal(found, np.concatenate([np.empty(0, np.float32), *expected]))


@given(st.data(), st.integers(1, 40))
def test_blocks_hold_every_object_once_with_its_values_in_all_images(data, size):
    shape = data.draw(shapes())
    channels, labels = (
        [data.draw(images(shape)) for _ in range(data.draw(st.integers(0, 2)))],
        data.draw(label_images(shape)),
    )
    objects, seen = Objects.of(labels), []

    for block in objects.blocks(channels, size):
        seen.extend(range(block.objects.start, block.objects.stop))
        starts = objects.starts[block.objects.start : block.objects.stop + 1]
        assert (block.pixels.start, block.pixels.stop) == (starts[0], starts[-1])
        np.testing.assert_array_equal(block.starts, starts - starts[0])
        for image, values in zip(channels, block.values, strict=True):
            np.testing.assert_array_equal(values, image.flat[objects.pixels[block.pixels]])
        assert starts[-2] - starts[0] < size  # all but its last object fit

    assert seen == list(range(objects.count))
