"""The watershed of scikit-image 0.20, against a plain one and against scikit-image 0.20 itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engines.native.kernels.watershed import NEIGHBOURS, watershed
from tests.engines.native.numpy1 import ask
from tests.engines.native.sites import images, label_images, shapes


class Heap:
    """A binary heap that swaps neighbours one by one, as scikit-image's does; equal items keep its order."""

    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)
        child = len(self.items) - 1
        while child and self.items[child][:2] < self.items[(child - 1) // 2][:2]:
            parent = (child - 1) // 2
            self.items[child], self.items[parent] = self.items[parent], self.items[child]
            child = parent

    def pop(self):
        items = self.items
        items[0], items[-1] = items[-1], items[0]
        result = items.pop()
        parent = 0
        while True:
            smallest = parent
            for child in (2 * parent + 1, 2 * parent + 2):
                if child < len(items) and items[child][:2] < items[smallest][:2]:
                    smallest = child
            if smallest == parent:
                return result
            items[parent], items[smallest] = items[smallest], items[parent]
            parent = smallest


def plain_watershed(image, seeds, mask):
    labels = np.where(mask, seeds, 0)
    heap, time = Heap(), 0
    for y, x in np.argwhere(labels):
        heap.push((image[y, x], 0, y, x))
    while heap.items:
        _, _, y, x = heap.pop()
        for dy, dx in NEIGHBOURS:
            yy, xx = y + dy, x + dx
            if 0 <= yy < image.shape[0] and 0 <= xx < image.shape[1] and mask[yy, xx] and not labels[yy, xx]:
                time += 1
                labels[yy, xx] = labels[y, x]
                heap.push((image[yy, xx], time, yy, xx))
    return labels


@st.composite
def floods(draw):
    shape = draw(shapes())
    image = draw(images(shape))
    mask = np.random.default_rng(draw(st.integers(0, 99))).random(shape) < draw(st.sampled_from([0.5, 0.9, 1]))
    return image, draw(label_images(shape)), mask


@given(floods(), st.booleans())
def test_it_is_the_plain_one(flood, as_double):
    image, seeds, mask = flood
    image = image.astype(np.float64) - 0.3 if as_double else image

    np.testing.assert_array_equal(watershed(image, seeds, mask), plain_watershed(image, seeds, mask))


def test_it_is_scikit_image_0_20s_pixel_by_pixel():
    cases = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        shape = tuple(random.integers(1, 60, 2))
        image = (random.integers(0, random.integers(2, 60), shape) / 65535).astype(np.float32)
        seeds = np.where(random.random(shape) < 0.05, random.integers(1, 9, shape), 0).astype(np.int32)
        cases.append({"image": image, "seeds": seeds, "mask": random.random(shape) < 0.9})

    for case, answer in zip(cases, ask("flood", cases), strict=True):
        np.testing.assert_array_equal(watershed(**case), answer["labels"])
