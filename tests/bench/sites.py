"""The sites that are timed: real ones where there are any, and simulated ones of chosen size and density."""

from __future__ import annotations

from functools import cache

import numpy as np
import tifffile

from pipeline.config import SCREENS, load_screen
from pipeline.simulate.render import CHANNELS, Microscope, Phenotype, render_site
from tests.conftest import ROOT, SHARED_DATA

CPPIPE = SCREENS / "cpjump1" / "analysis.cppipe"

#: CPJUMP1: 340,475 sites on 107 plates with 75 million cells
SITES, PLATES, CELLS = 340_475, 107, 75_000_000
#: the `cell_count` of a phenotype that gives a site of 1080 x 1080 about CELLS / SITES cells
MEAN_DENSITY = 0.75

HAS_REAL_SITE = SHARED_DATA.is_dir()
NAMES = {
    "crop": "real, 540 x 540 of BR00117035 A01 s1" if HAS_REAL_SITE else "real, 360 x 360 (tests/data/real_site)",
    "whole": "real, all of BR00117035 A01 s1",
    "mean": "simulated, 1080 x 1080, CPJUMP1's mean number of cells",
}
Images = dict[str, np.ndarray]


@cache
def site(name: str) -> Images:
    """The inputs of the CPJUMP1 pipeline: images as in the files, illumination functions of ones."""
    if name == "mean":
        return simulated(1080, MEAN_DENSITY)
    window = np.s_[270:810, 270:810] if name == "crop" and HAS_REAL_SITE else np.s_[:, :]
    return given({stain: image[window] for stain, image in _real().items()})


def simulated(size: int, cell_count: float, *, shrunk: int = 1, seed: int = 1) -> Images:
    """A rendered site of `size` pixels a side: `shrunk` times larger, then binned, for cells that much smaller."""
    even = Microscope(gain=np.ones(8), centre=np.zeros((8, 2)), falloff=np.zeros(8))
    picture = render_site(np.random.default_rng(seed), Phenotype(cell_count=cell_count), even, size * shrunk)
    binned = picture.images.reshape(8, size, shrunk, size, shrunk).mean((2, 4)).round().astype(np.uint16)
    return given(dict(zip(CHANNELS, binned, strict=True)))


def given(images: Images) -> Images:
    """By the names of the pipeline file, with neutral illumination functions."""
    inputs: Images = {}
    for stain, image in images.items():
        inputs[f"Orig{stain}"] = np.ascontiguousarray(image)
        inputs[f"Illum{stain}"] = np.ones(image.shape, np.float32)
    return inputs


@cache
def _real() -> Images:
    folder = SHARED_DATA / "gallery" if HAS_REAL_SITE else ROOT / "tests" / "data" / "real_site"
    found = {}
    for number, stain in load_screen("cpjump1").channels.items():
        [path] = folder.rglob(f"BR00117035__*/Images/r01c01f01p01-ch{number}sk1fk1fl1.tiff")
        found[stain] = tifffile.imread(path)
    return found
