"""Threshold, both skeletons and EnhanceOrSuppressFeatures, against the running CellProfiler and plain twins."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from centrosome import cpmorphology
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.engines import open_engine
from pipeline.engines.native.kernels import grey_morphology as grey
from pipeline.engines.native.kernels import skeleton
from pipeline.engines.native.modules.enhance_or_suppress_features import dark_holes
from pipeline.engines.parity import compare, is_equal
from pipeline.errors import CppipeError, EngineError
from tests.engines import cppipes
from tests.engines.cppipes import NUCLEI, Saved, measured_by_cellprofiler
from tests.engines.native.synthetic import blobs

ENHANCED: list[dict[str, str]] = [
    {"Feature type": "Speckles", "Feature size": "6"},
    {"Feature type": "Speckles", "Feature size": "9"},
    {"Feature type": "Speckles", "Feature size": "10"},
    {"Feature type": "Speckles", "Feature size": "13", "Speed and accuracy": "Slow"},
    {"Feature type": "Neurites", "Enhancement method": "Tubeness", "Smoothing scale": "1"},
    {"Feature type": "Neurites", "Enhancement method": "Tubeness", "Rescale result image": "No"},
    {"Feature type": "Neurites", "Enhancement method": "Tubeness", "Smoothing scale": "0"},
    {"Feature type": "Neurites", "Enhancement method": "Line structures", "Feature size": "7"},
    {"Feature type": "Neurites", "Enhancement method": "Line structures", "Rescale result image": "No"},
    {"Feature type": "Dark holes"},
    {"Feature type": "Dark holes", "Range of hole sizes": "3,7"},
    {"Feature type": "Circles", "Feature size": "12"},
    {"Feature type": "Circles", "Feature size": "7"},
    {"Feature type": "Texture"},
    {"Feature type": "Texture", "Smoothing scale": "0.4"},
    {"Feature type": "DIC"},
    {"Feature type": "DIC", "Shear angle": "30", "Decay": "0.7", "Smoothing scale": "0"},
    {"Feature type": "DIC", "Shear angle": "-115"},
    {"Select the operation": "Suppress", "Feature size": "8"},
    {"Select the operation": "Suppress", "Feature size": "5"},
    {"Feature type": "Speckles", "Feature size": "1"},
    {"Feature type": "DIC", "Decay": "1.5"},
]


def enhancing(image: str) -> list[Saved]:
    """Each way of enhancing an image, measured in objects and as a whole."""
    modules: list[Saved] = [NUCLEI]
    names = []
    for k, settings in enumerate(ENHANCED):
        if image == "White" and "Circles" not in settings.values() and k % 2:
            continue  # an image of truth values goes the same ways
        names.append(f"Enhanced{k}")
        named = {"Select the input image": image, "Name the output image": names[-1]}
        modules.append(("EnhanceOrSuppressFeatures", named | settings))
    if image == "Masked":
        mask = {"Select the input image": "RNA", "Name the output image": "Masked", "Invert the mask?": "Yes"}
        modules.insert(1, ("MaskImage", mask | {"Select object for mask": "Nuclei"}))
    if image == "White":
        modules.insert(1, ("Threshold", {"Select the input image": "RNA", "Name the output image": "White"}))
    measured = {"Select images to measure": ", ".join(names)}
    whole: Saved = ("MeasureImageIntensity", measured)
    if image == "Masked":  # masks are not honoured in objects
        return [*modules, whole]
    return [*modules, ("MeasureObjectIntensity", measured | {"Select objects to measure": "Nuclei"}), whole]


def thresholds() -> list[Saved]:
    modules: list[Saved] = [NUCLEI]
    names = []
    for k, settings in enumerate(
        (
            {"Threshold smoothing scale": "1.3488"},
            {},
            {"Thresholding method": ["Otsu"], "Two-class or three-class thresholding?": "Three classes"},
            {"Threshold strategy": "Adaptive", "Threshold smoothing scale": "2"},
            {"Thresholding method": ["Manual"], "Manual threshold": "0.1"},
            {"Thresholding method": ["Measurement"], "Select the measurement to threshold with": FOUND},
            {"Threshold smoothing scale": "-2", "Lower and upper bounds on threshold": "0.05,3"},
        )
    ):
        image = "White0" if k == 1 else "RNA"
        names.append(f"White{k}")
        modules.append(("Threshold", {"Select the input image": image, "Name the output image": names[-1], **settings}))
    measured = {"Select images to measure": ", ".join(names), "Select objects to measure": "Nuclei"}
    return [*modules, ("MeasureObjectIntensity", measured)]


FOUND = "Threshold_FinalThreshold_Nuclei"


def skeletons() -> list[Saved]:
    """As JUMP_analysis_v3 has it, with and without filling; a mask; a skeleton that nobody thinned."""
    modules: list[Saved] = [
        NUCLEI,
        (
            "EnhanceOrSuppressFeatures",
            {"Select the input image": "RNA", "Name the output image": "Tubes"} | ENHANCED[4],
        ),
        ("Threshold", {"Select the input image": "Tubes", "Name the output image": "White"}),
        ("Threshold", {"Select the input image": "RNA", "Name the output image": "Thick"}),
        (
            "MaskImage",
            {"Select the input image": "White", "Name the output image": "Part", "Select object for mask": "Nuclei"}
            | {"Invert the mask?": "Yes"},
        ),
    ]
    for image in ("White", "Part", "RNA"):
        named = {"Select the input image": image, "Name the output image": f"{image}Lines"}
        modules.append(("MorphologicalSkeleton", named))
    for image in ("WhiteLines", "PartLines", "RNALines", "Thick"):
        hole = {"Fill small holes?": "No"} if image == "RNALines" else {"Maximum hole size": "5"}
        named = {"Select the seed objects": "Nuclei", "Select the skeletonized image": image}
        modules.append(("MeasureObjectSkeleton", named | hole))
    lines: Saved = ("MeasureImageIntensity", {"Select images to measure": "WhiteLines, PartLines, RNALines"})
    return [*modules, lines]


PIPELINES = {
    "enhanced": enhancing("RNA"),
    "masked": enhancing("Masked"),
    "truth values": enhancing("White"),
    "thresholds": thresholds(),
    "skeletons": skeletons(),
}


def sites() -> dict[str, dict[str, np.ndarray]]:
    crowd = blobs(7, (90, 110), 9)
    flat = np.full((60, 50), 900, np.uint16)
    found = {
        "round cells": cppipes.images(3, 120),
        "crowd": {"DNA": crowd["OrigDNA"], "RNA": crowd["OrigRNA"]},
        "flat": {"DNA": cppipes.images(1, 60)["DNA"][:, :50], "RNA": flat},
        "no objects": {"DNA": flat, "RNA": crowd["OrigRNA"][:60, :50]},
    }
    below = crowd["OrigRNA"].astype(np.float32) / 40000 - np.float32(0.05)
    return found | {"below zero": {"DNA": crowd["OrigDNA"], "RNA": below}}


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_images_and_lines_are_those_of_cellprofiler(pipeline):
    text = cppipes.write(*PIPELINES[pipeline])
    engine = open_engine("native", text)
    images = {name: {one: site[one] for one in engine.inputs} for name, site in sites().items()}

    for (name, site), theirs in zip(
        images.items(), measured_by_cellprofiler([(text, site) for site in images.values()]), strict=True
    ):
        if isinstance(theirs, str):
            with pytest.raises(EngineError):
                engine.measure(site)
            continue
        comparison = compare(engine.measure(site), theirs)
        unequal = comparison[comparison[["unequal_values", "missing", "unexpected"]].any(axis=1)]
        assert is_equal(comparison), f"{name}\n{unequal.T.to_string()}"


def test_a_skeleton_that_is_grey_is_an_error_that_says_what_to_give():
    skeleton = {"Select the seed objects": "Nuclei", "Select the skeletonized image": "RNA"}
    images = cppipes.images(3, 60)
    with (
        open_engine("native", cppipes.write(NUCLEI, ("MeasureObjectSkeleton", skeleton))) as engine,
        pytest.raises(EngineError, match=r"2 MeasureObjectSkeleton: .*RNA is no image of truth values"),
    ):
        engine.measure(images)
    with pytest.raises(CppipeError, match="Retain the branchpoint image"):
        open_engine(
            "native",
            cppipes.write(NUCLEI, ("MeasureObjectSkeleton", skeleton | {"Retain the branchpoint image?": "Yes"})),
        )


WHITE = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=25))
GREY = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=15),
    elements=st.sampled_from([-2.0, 0.0, 0.25, 1.0, 3.0, np.inf]),
)


@given(WHITE)
def test_a_skeleton_is_that_of_centrosome(white):
    np.testing.assert_array_equal(skeleton.skeletonize(white), cpmorphology.skeletonize(white))


@given(WHITE)
def test_a_neighbourhood_is_its_nine_pixels(white):
    padded = np.pad(white, 1)
    expected = sum(
        (1 << (3 * dy + dx)) * padded[dy : dy + white.shape[0], dx : dx + white.shape[1]].astype(int)
        for dy in range(3)
        for dx in range(3)
    )
    np.testing.assert_array_equal(skeleton.neighbourhoods(white), expected)


@given(GREY, hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)).filter(np.any))
def test_erosion_and_dilation_by_any_shape_are_scipys(image, shape):
    np.testing.assert_array_equal(grey.erode(image, shape), scipy.ndimage.minimum_filter(image, footprint=shape))
    np.testing.assert_array_equal(grey.dilate(image, shape), scipy.ndimage.maximum_filter(image, footprint=shape))


@given(GREY.filter(lambda image: np.isfinite(image).all()), st.sampled_from([1, 1.5, 2, 2.5, 3, 4.5, 7]))
def test_a_white_tophat_by_a_disk_is_scipys(image, radius):
    shape = grey.disk(radius)
    np.testing.assert_array_equal(grey.white_tophat(image, shape), scipy.ndimage.white_tophat(image, footprint=shape))


@given(GREY)
def test_pixels_without_a_value_are_scipys_too(image):
    image[0, 0] = np.nan
    shape = grey.disk(1)
    np.testing.assert_array_equal(grey.erode(image, shape), scipy.ndimage.minimum_filter(image, footprint=shape))


@given(GREY.filter(lambda image: np.isfinite(image).all()), st.integers(0, 4), st.integers(0, 20))
def test_dark_holes_of_a_component_tree_are_those_that_are_flooded(image, smallest, largest):
    by_tree = dark_holes(image, None, smallest, largest)
    by_flooding = dark_holes(image, np.ones(image.shape, bool), smallest, largest)
    np.testing.assert_array_equal(by_tree, by_flooding)
