"""Synthetic sites for the CPJUMP1 analysis pipeline: crowds of cells, and everything awkward."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CHANNELS = ("DNA", "ER", "RNA", "AGP", "Mito", "Brightfield", "LowZBF", "HighZBF")

Site = dict[str, np.ndarray]


def with_neutral_illumination(site: Site) -> Site:
    """Where the site has no illumination function of its own."""
    shape = site["OrigDNA"].shape
    return {f"Illum{channel}": np.ones(shape, np.float32) for channel in CHANNELS} | site


def blobs(seed: int, shape: tuple[int, int], number: int, dtype: type = np.uint16) -> Site:
    """Noisy ellipses, bright in DNA, twice as wide in the other channels; they overlap and lie on the borders."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    nuclei, cells = np.zeros(shape), np.zeros(shape)
    for _ in range(number):
        y, x, angle = random.uniform(0, shape[0]), random.uniform(0, shape[1]), random.uniform(0, np.pi)
        length, width = random.uniform(6, 13) * np.array([1, random.uniform(0.6, 1)])
        along = (rows - y) * np.cos(angle) + (columns - x) * np.sin(angle)
        across = (columns - x) * np.cos(angle) - (rows - y) * np.sin(angle)
        distance = np.hypot(along / length, across / width)
        nuclei = np.maximum(nuclei, 1 / (1 + np.exp(np.minimum((distance - 1) * 6, 99))))
        cells = np.maximum(cells, 1 / (1 + np.exp(np.minimum((distance - 2) * 4, 99))))
    full = np.iinfo(dtype).max
    site = {}
    for channel in CHANNELS:
        signal = nuclei if channel == "DNA" else cells
        image = 0.004 + signal * random.uniform(0.05, 0.3) * (1 + 0.2 * random.standard_normal(shape))
        site[f"Orig{channel}"] = np.clip(image * full + random.poisson(3, shape), 0, full).astype(dtype)
    return site


def flat_shapes(mask: np.ndarray) -> Site:
    """The same two grey levels everywhere, a little brighter from channel to channel."""
    return {
        f"Orig{channel}": np.where(mask, 8000, 100).astype(np.uint16) + np.uint16(10 * k)
        for k, channel in enumerate(CHANNELS)
    }


def one_channel(channel: str, level: int) -> Site:
    site = blobs(7, (110, 120), 9)
    site[f"Orig{channel}"] = np.full_like(site[f"Orig{channel}"], level)
    return site


def squares() -> Site:
    mask = np.zeros((100, 140), bool)
    for k in range(3):
        for j in range(4):
            mask[6 + k * 32 : 18 + k * 33, 5 + j * 34 : 17 + j * 37] = True
    return flat_shapes(mask)


def rings_with_cores() -> Site:
    rows, columns = np.mgrid[:130, :150]
    mask = np.zeros((130, 150), bool)
    for y, x in ((35, 38), (35, 110), (95, 60)):
        distance = np.hypot(rows - y, columns - x)
        mask |= (distance < 8) | ((distance > 16) & (distance < 26))
    return flat_shapes(mask)


def on_every_border() -> Site:
    mask = np.zeros((90, 110), bool)
    for box in ((0, 12, 20, 40), (77, 90, 50, 70), (30, 50, 0, 11), (30, 50, 96, 110), (35, 50, 40, 55)):
        mask[box[0] : box[1], box[2] : box[3]] = True
    return flat_shapes(mask)


def touching() -> Site:
    mask = np.zeros((80, 120), bool)
    rows, columns = np.mgrid[:80, :120]
    for x in (20, 38, 56, 74, 92):
        mask |= np.hypot(rows - 40, columns - x) <= 10
    return flat_shapes(mask)


def triangles_and_lines() -> Site:
    mask = np.zeros((130, 130), bool)
    for k in range(20):
        mask[10 + k, 10 : 11 + k] = True
        mask[50 + k, 100 - k : 101 + k] = True
        mask[100 + k % 2, 30 + k] = True
        mask[90 + k % 12, 60 : 64 + k] = True
    return flat_shapes(mask)


def saturated_cells() -> Site:
    return {
        name: np.where(image > 3000, 65535, image).astype(np.uint16) for name, image in blobs(4, (110, 120), 6).items()
    }


def few_levels() -> Site:
    return {name: (image // 1500 * 1500).astype(np.uint16) for name, image in blobs(11, (110, 120), 9).items()}


def nearly_one_level() -> Site:
    """A channel saturated but for one pixel in a thousand, and one of two levels in no relation to each other."""
    site = blobs(12, (110, 120), 9)
    random = np.random.default_rng(0)
    spots = random.random((110, 120)) < 0.001
    site["OrigAGP"] = np.where(spots, 65200, 65535).astype(np.uint16)
    site["OrigER"] = random.choice(np.uint16([65000, 65300]), (110, 120))
    return site


def no_light(channel: str) -> Site:
    """An illumination function that is zero in places: there the image is infinite, clipped to one, and where it is
    zero too, NaN."""
    site = blobs(3, (110, 120), 9)
    site[f"Illum{channel}"] = np.ones((110, 120), np.float32)
    site[f"Illum{channel}"][40:60, 50:70] = 0
    site[f"Orig{channel}"][45:50, 55:60] = 0
    return site


def negative_light(channel: str) -> Site:
    site = blobs(3, (110, 120), 9)
    return site | {f"Illum{channel}": np.full((110, 120), -1, np.float32)}


def flat(level: int, shape: tuple[int, int] = (60, 70)) -> Site:
    return {f"Orig{channel}": np.full(shape, level, np.uint16) for channel in CHANNELS}


#: small enough for every run of the tests
SMALL: dict[str, Callable[[], Site]] = {
    "no objects": lambda: flat(9),
    "a crowd, not square": lambda: blobs(1, (90, 150), 16),
    "8-bit": lambda: blobs(2, (100, 110), 9, np.uint8),
    "a black channel": lambda: one_channel("ER", 0),
    "on every border": on_every_border,
    "nested": rings_with_cores,
}

#: the rest
MORE: dict[str, Callable[[], Site]] = {
    "everything saturated": lambda: flat(65535),
    "a constant channel": lambda: one_channel("Mito", 777),
    "a saturated channel": lambda: one_channel("AGP", 65535),
    "black RNA": lambda: one_channel("RNA", 0),
    "saturated RNA": lambda: one_channel("RNA", 65535),
    "black DNA": lambda: one_channel("DNA", 0),
    "saturated DNA": lambda: one_channel("DNA", 65535),
    "saturated cells": saturated_cells,
    "few levels": few_levels,
    "nearly one level": nearly_one_level,
    "no light on DNA here and there": lambda: no_light("DNA"),
    "no light on RNA here and there": lambda: no_light("RNA"),
    "no light on ER here and there": lambda: no_light("ER"),
    "negative light": lambda: negative_light("AGP"),
    "squares": squares,
    "touching": touching,
    "triangles and lines": triangles_and_lines,
    "one nucleus": lambda: blobs(5, (64, 64), 1),
    "hundreds of objects": lambda: blobs(6, (500, 480), 500),
    "a long strip": lambda: blobs(8, (60, 611), 20),
    "noise": lambda: {
        f"Orig{channel}": np.random.default_rng(k).integers(0, 65536, (90, 80)).astype(np.uint16)
        for k, channel in enumerate(CHANNELS)
    },
    "floats beyond one": lambda: {
        name: image.astype(np.float32) / 20000 for name, image in blobs(9, (110, 120), 9).items()
    },
}

#: sites that CellProfiler itself cannot measure
IMPOSSIBLE: dict[str, Callable[[], Site]] = {
    "one row": lambda: flat(9, (1, 50)),
    "one pixel": lambda: flat(9, (1, 1)),
}
