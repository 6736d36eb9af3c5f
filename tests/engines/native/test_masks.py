"""Masked images in every module that honours masks, against the running CellProfiler."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.engines import open_engine
from pipeline.engines.parity import compare, is_equal
from pipeline.errors import CppipeError
from tests.engines import cppipes
from tests.engines.cppipes import CELLS, NUCLEI, Saved, measured_by_cellprofiler
from tests.engines.native.synthetic import blobs

DECLUMP = "Method to distinguish clumped objects"
DIVIDE = "Method to draw dividing lines between clumped objects"
SETS = "Nuclei, Cells"


def mask(image: str, masked: str, by: str, inverted: str) -> Saved:
    return "MaskImage", {
        "Select the input image": image,
        "Name the output image": masked,
        "Select object for mask": by,
        "Invert the mask?": inverted,
    }


#: Outside: no cells; Inside: cells alone; Ring: cells without nuclei; Dim: what is not bright
BEFORE: list[Saved] = [
    NUCLEI,
    CELLS,
    mask("DNA", "Outside", "Cells", "Yes"),
    mask("RNA", "Inside", "Cells", "No"),
    mask("Inside", "Ring", "Nuclei", "Yes"),
    (
        "ImageMath",
        {
            "Operation": "None",
            "Select the image": "DNA",
            "Name the output image": "Bright",
            "Multiply the result by": "3",
        },
    ),
    (
        "MaskImage",
        {
            "Select the input image": "DNA",
            "Name the output image": "Dim",
            "Use objects or an image as a mask?": "Image",
            "Select image for mask": "Bright",
            "Invert the mask?": "Yes",
        },
    ),
]


def primary(image: str, name: str, **changes: str | list[str]) -> Saved:
    named = {"Select the input image": image, "Name the primary objects to be identified": name}
    return NUCLEI[0], NUCLEI[1] | named | changes


def off_border(source: str, target: str) -> Saved:
    return "FilterObjects", {
        "Select the objects to filter": source,
        "Name the output objects": target,
        "Select the filtering mode": "Image or mask border",
    }


def occupied(objects: str) -> Saved:
    return "MeasureImageAreaOccupied", {
        "Measure the area occupied by": "Objects",
        "Select object sets to measure": objects,
    }


def found() -> list[Saved]:
    otsu = {"Thresholding method": ["Otsu"], "Two-class or three-class thresholding?": "Two classes"}
    lenient = {
        "Discard objects touching the border of the image?": "No",
        "Discard objects outside the diameter range?": "No",
    }
    return [
        *BEFORE,
        primary("Inside", "ByShape"),
        primary("Outside", "ByIntensity", **{DECLUMP: "Intensity", DIVIDE: "Intensity"}),
        primary("Ring", "ByOtsu", **otsu, **{"Discard objects outside the diameter range?": "No"}),
        primary("Outside", "All", **{DECLUMP: "None", "Threshold smoothing scale": "0"}, **lenient),
        primary("Dim", "DimOnes", **{"Fill holes in identified objects?": "After declumping only"}),
        occupied("ByShape, ByIntensity, ByOtsu, DimOnes"),
        off_border("All", "OffMaskBorder"),
        off_border("ByOtsu", "OffRingBorder"),
    ]


def grown() -> list[Saved]:
    modules: list[Saved] = []
    methods = ("Propagation", "Watershed - Image", "Watershed - Gradient", "Distance - N", "Distance - B")
    for k, (method, image) in enumerate(zip(methods, ("Inside", "Ring", "Dim", "Inside", "Ring"), strict=True)):
        changes = {
            "Select the input image": image,
            "Name the objects to be identified": f"Grown{k}",
            "Select the method to identify the secondary objects": method,
            "Discard secondary objects touching the border of the image?": "Yes" if k % 2 else "No",
        }
        cytoplasm = {
            "Select the larger identified objects": f"Grown{k}",
            "Select the smaller identified objects": "Nuclei",
            "Name the tertiary objects to be identified": f"Rest{k}",
        }
        modules += [(CELLS[0], CELLS[1] | changes), ("IdentifyTertiaryObjects", cytoplasm)]
    sets = [f"{name}{k}" for k in range(len(methods)) for name in ("Grown", "Rest")]
    return [*BEFORE, *modules, occupied(", ".join(sets)), off_border("Grown0", "Kept0"), off_border("Grown3", "Kept3")]


def measured() -> list[Saved]:
    every = "Outside, Inside, Ring, Dim, DNA"
    granularity = {
        "Select images to measure": every,
        "Measure within objects?": "Yes",
        "Select objects to measure": SETS,
        "Range of the granular spectrum": "6",
    }
    colocalization = {
        "Select images to measure": "Inside, Dim, RNA",
        "Select objects to measure": SETS,
        "Select where to measure correlation": "Both",
    }
    rings = {
        "Select images to measure": every,
        "Select objects to measure": "Cells",
        "Calculate intensity Zernikes?": "Magnitudes and phase",
        "Maximum zernike moment": "4",
    }
    texture = {
        "Select images to measure": every,
        "Select objects to measure": SETS,
        "Measure whole images or objects?": "Both",
    }
    return [
        *BEFORE,
        ("MeasureObjectIntensity", {"Select images to measure": every, "Select objects to measure": SETS}),
        ("MeasureGranularity", granularity),
        ("MeasureColocalization", colocalization),
        ("MeasureObjectIntensityDistribution", rings),
        ("MeasureTexture", texture),
    ]


def finer() -> list[Saved]:
    settings = {
        "Select images to measure": "Ring, Dim",
        "Measure within objects?": "Yes",
        "Select objects to measure": SETS,
        "Range of the granular spectrum": "6",
        "Subsampling factor for granularity measurements": "1",
        "Subsampling factor for background reduction": "0.6",
        "Radius of structuring element": "5",
    }
    return [*BEFORE, ("MeasureGranularity", settings)]


def sites() -> list[dict[str, np.ndarray]]:
    crowd = blobs(2, (90, 120), 9)
    nothing = np.full((60, 70), 9, np.uint16)
    return [
        cppipes.images(3, 120),
        {name: crowd[f"Orig{name}"] for name in ("DNA", "RNA")},
        {"DNA": nothing, "RNA": nothing},
    ]


@pytest.mark.parametrize("pipeline", [found, grown, measured, finer])
def test_masks_are_honoured_as_by_cellprofiler(pipeline):
    text = cppipes.write(*pipeline())
    with open_engine("native", text) as engine:
        for site, theirs in zip(sites(), measured_by_cellprofiler([(text, site) for site in sites()]), strict=True):
            assert not isinstance(theirs, str), theirs
            comparison = compare(engine.measure(site), theirs)
            unequal = comparison[comparison[["unequal_values", "missing", "unexpected"]].any(axis=1)]
            assert is_equal(comparison), unequal.T.to_string()


def test_a_module_that_would_measure_what_a_mask_hides_is_refused():
    smaller = {"Select the input image": "Inside", "Name the output image": "Small"}
    of_small = {"Select images to measure": "Small"}
    text = cppipes.write(*BEFORE, ("Resize", smaller), ("MeasureImageIntensity", of_small))

    with pytest.raises(CppipeError, match="8 Resize reads Inside, which has a mask"):
        open_engine("native", text)
