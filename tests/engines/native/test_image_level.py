"""Modules that speak of whole images or of measurements, and masks, against the running CellProfiler."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.engines import open_engine
from pipeline.engines.parity import compare, is_equal
from pipeline.errors import CppipeError, SiteFlagged
from tests.engines import cppipes
from tests.engines.cppipes import CELLS, NUCLEI, Saved, measured_by_cellprofiler
from tests.engines.native.synthetic import blobs

Images = dict[str, np.ndarray]

CYTOPLASM: Saved = (
    "IdentifyTertiaryObjects",
    {
        "Select the larger identified objects": "Cells",
        "Select the smaller identified objects": "Nuclei",
        "Name the tertiary objects to be identified": "Cytoplasm",
    },
)
OBJECTS: list[Saved] = [NUCLEI, CELLS, CYTOPLASM]
WITHIN = {
    "Select images to measure": "DNA, RNA",
    "Measure the intensity only from areas enclosed by objects?": "Yes",
    "Select input object sets": "Nuclei, Cells",
    "Calculate custom percentiles": "Yes",
    "Specify percentiles to measure": "0,3, 50,99,100",
}


def cells() -> Images:
    return cppipes.images(3)


def awkward() -> dict[str, Images]:
    """DNA and RNA that are one image of one kind."""
    crowd = blobs(2, (90, 121), 9)["OrigDNA"]
    one_bright = np.where(np.arange(crowd.size).reshape(crowd.shape) == 5, 60000, 3)
    kinds: dict[str, np.ndarray] = {
        "black": crowd * 0,
        "of one level": crowd * 0 + np.uint16(777),
        "saturated": crowd * 0 + np.uint16(65535),
        "one bright pixel": one_bright.astype(np.uint16),
        "of 8 bits": (crowd >> 8).astype(np.uint8),
        "of two levels": (crowd > 9000) * np.uint16(500),
        "below zero": (crowd / 30000 - 0.05).astype(np.float32),
        "with NaN": np.where(crowd > 20000, np.nan, crowd / 65535).astype(np.float32),
        "with infinity": np.where(crowd > 20000, np.inf, crowd / 65535).astype(np.float32),
        "of truth values": crowd > 9000,
        "small": crowd[:20, :17].copy(),
        "of a row of tiles": crowd[:3].copy(),
    }
    return {name: {"DNA": image, "RNA": image} for name, image in kinds.items()}


def quality(**changes: str) -> Saved:
    return "MeasureImageQuality", {
        "Calculate metrics for which images?": "Select...",
        "Select the images to measure": "DNA, RNA",
    } | changes


def three_classes(middle: str) -> Saved:
    return quality(
        **{
            "Include the image rescaling value?": "No",
            "Calculate blur metrics?": "No",
            "Calculate saturation metrics?": "No",
            "Calculate intensity metrics?": "No",
            "Two-class or three-class thresholding?": "Three classes",
            "Assign pixels in the middle intensity class to the foreground or the background?": middle,
        }
    )


def operation(name: str, first: str, second: str, **changes: str | list[str]) -> Saved:
    """CalculateMath of two measurements, "Nuclei/Location_Center_X" or "Image/Count_Nuclei"."""
    settings: dict[str, str | list[str]] = {"Operation": name, "Name the output measurement": f"{name}{len(first)}"}
    for which, operand in (("first", first), ("second", second)):
        object_set, _, feature = operand.partition("/")
        settings[f"Select the {which} operand measurement type"] = "Image" if object_set == "Image" else "Object"
        settings[f"Select the {which} operand objects"] = object_set
        settings[f"Select the {which} operand measurement"] = feature
    return "CalculateMath", settings | changes


def flag(**changes: str) -> Saved:
    return "FlagImage", {"Which measurement?": "Intensity_MeanIntensity_DNA", "Maximum value": "0.05"} | changes


def mask(image: str, masked: str, by: str, inverted: str) -> Saved:
    return "MaskImage", {
        "Select the input image": image,
        "Name the output image": masked,
        "Select object for mask": by,
        "Invert the mask?": inverted,
    }


MASKS: list[Saved] = [
    mask("DNA", "Outside", "Cells", "Yes"),
    mask("RNA", "Inside", "Cells", "No"),
    mask("Inside", "Ring", "Nuclei", "Yes"),
]


def arithmetic() -> list[Saved]:
    of_nuclei = "Nuclei/Intensity_MeanIntensity_DNA"
    brightness = {"Select images to measure": "DNA, RNA", "Select objects to measure": "Nuclei, Cells"}
    return [
        *OBJECTS,
        ("MeasureObjectIntensity", brightness),
        ("MeasureImageIntensity", {"Select images to measure": "DNA, RNA"}),
        operation("Divide", "Image/Intensity_MeanIntensity_DNA", "Image/Intensity_StdIntensity_RNA"),
        operation("Multiply", of_nuclei, "Nuclei/Intensity_IntegratedIntensity_RNA"),
        operation("Divide", of_nuclei, "Cells/Intensity_MeanIntensity_DNA"),
        operation(
            "Add",
            "Cells/Intensity_MeanIntensity_DNA",
            "Image/Intensity_TotalIntensity_RNA",
            **{
                "Take log10 of result?": "Yes",
                "Multiply the result by": "3",
                "Raise the power of result by": "1.3",
                "Add to the result": "-0.1",
            },
        ),
        operation(
            "None",
            of_nuclei,
            of_nuclei,
            **{
                "How should the output value be rounded?": "Rounded to a specified number of decimal places",
                "Enter how many decimal places the value should be rounded to": "2",
            },
        ),
        operation(
            "Subtract",
            of_nuclei,
            "Cytoplasm/Location_Center_X",
            **{
                "Constrain the result to a lower bound?": "Yes",
                "Enter the lower bound": "-50",
                "Constrain the result to an upper bound?": "Yes",
                "Enter the upper bound": "-20",
                "Raise the power of above operand by": ["0.5", "1"],
            },
        ),
    ]


def masked() -> list[Saved]:
    add = {"Operation": "Add", "Select the image": ["Outside", "Inside"]}
    ignoring = {"Operation": "Subtract", "Select the image": ["DNA", "Ring"], "Ignore the image masks?": "Yes"}
    names = "Outside, Inside, Ring, Both, Ignored"
    within = WITHIN | {"Select images to measure": names, "Select input object sets": "Nuclei"}
    return [
        *OBJECTS,
        *MASKS,
        ("ImageMath", add | {"Name the output image": "Both", "Add to result": "0.1"}),
        ("ImageMath", ignoring | {"Name the output image": "Ignored"}),
        quality(**{"Select the images to measure": names, "Spatial scale for blur measurements": "9"}),
        ("MeasureImageIntensity", {"Select images to measure": names}),
        ("MeasureImageIntensity", within),
    ]


def image_level() -> list[Saved]:
    sets = {"Measure the area occupied by": "Objects", "Select object sets to measure": "Nuclei, Cells, Cytoplasm"}
    return [
        *OBJECTS,
        quality(),
        three_classes("Foreground"),
        three_classes("Background"),
        ("MeasureImageIntensity", {"Select images to measure": "DNA, RNA"}),
        ("MeasureImageIntensity", WITHIN),
        ("MeasureImageAreaOccupied", sets),
        flag(),
        flag(
            **{
                "Name the flag": "EveryNucleus",
                "Flag is based on": "Measurements for all objects in each image",
                "Select the object to be used for flagging": "Nuclei",
                "Which measurement?": "Location_Center_X",
                "Maximum value": "150",
            }
        ),
        flag(
            **{
                "Name the flag": "Mean",
                "Flag is based on": "Average measurement for all objects in each image",
                "Select the object to be used for flagging": "Cells",
                "Which measurement?": "Location_Center_Y",
                "Maximum value": "150",
            }
        ),
    ]


def assert_equal(text: str, given: Images) -> None:
    [theirs] = measured_by_cellprofiler([(text, given)])
    assert not isinstance(theirs, str), theirs
    with open_engine("native", text) as native:
        comparison = compare(native.measure({name: given[name] for name in native.inputs}), theirs)
    unequal = comparison[comparison[["unequal_values", "missing", "unexpected"]].any(axis=1)]
    assert is_equal(comparison), unequal.T.to_string()


@pytest.mark.parametrize("pipeline", [image_level, arithmetic, masked])
def test_what_is_said_of_an_image_is_what_cellprofiler_says(pipeline: Callable[[], list[Saved]]):
    assert_equal(cppipes.write(*pipeline()), cells())


def test_images_of_every_kind_are_measured_as_by_cellprofiler():
    text = cppipes.write(
        quality(**{"Spatial scale for blur measurements": "7"}),
        three_classes("Foreground"),
        three_classes("Background"),
    )
    kinds = awkward()
    answers = measured_by_cellprofiler([(text, images) for images in kinds.values()])
    for (kind, images), theirs in zip(kinds.items(), answers, strict=True):
        assert not isinstance(theirs, str), f"{kind}: {theirs}"
        with open_engine("native", text) as native:
            comparison = compare(native.measure(images), theirs)
        assert is_equal(comparison), f"{kind}: {comparison.T.to_string()}"


def test_all_loaded_images_are_those_that_the_pipeline_reads():
    text = cppipes.write(quality(**{"Calculate metrics for which images?": "All loaded images"}), NUCLEI, CELLS)

    assert_equal(text, cells())


def test_black_and_white_images_overlap_and_are_measured_as_by_cellprofiler():
    truth = {"Select the image to be used as the ground truth basis for calculating the amount of overlap": "DNA"}
    tested = {"Select the image to be used to test for overlap": "RNA"}
    white = {"Use objects or an image as a mask?": "Image", "Select image for mask": "Shown", "Invert the mask?": "No"}
    hidden = {"Select the input image": "DNA", "Name the output image": "Part"}
    areas = {"Measure the area occupied by": "Binary Image", "Select binary images to measure": "RNA, Part"}
    text = cppipes.write(
        ("MaskImage", white | hidden),
        ("MeasureImageOverlap", truth | tested),
        (
            "MeasureImageOverlap",
            tested | dict.fromkeys(truth, "Part") | {"Select the image to be used to test for overlap": "Part"},
        ),
        ("MeasureImageAreaOccupied", areas),
    )
    cases = []
    for seed, share in ((1, 0.5), (2, 0.1), (3, 0), (4, 1)):
        random = np.random.default_rng(seed)
        blocks = {name: random.random((9, 11)) < share for name in ("DNA", "RNA", "Shown")}
        cases.append((text, {name: np.kron(image, np.ones((6, 5), bool)) for name, image in blocks.items()}))

    with open_engine("native", text) as native:
        for (_, given), theirs in zip(cases, measured_by_cellprofiler(cases), strict=True):
            assert not isinstance(theirs, str), theirs
            assert is_equal(compare(native.measure(given), theirs))


@pytest.mark.parametrize("skips", ["Yes", "No"])
def test_a_flagged_site_is_skipped_where_the_pipeline_says_so(skips):
    text = cppipes.write(
        NUCLEI,
        ("MeasureImageIntensity", {"Select images to measure": "DNA"}),
        flag(**{"Skip image set if flagged?": skips}),
    )
    given = {"DNA": cells()["DNA"]}
    with open_engine("native", text) as native, open_engine("cellprofiler", text) as cellprofiler:
        if skips == "No":
            assert is_equal(compare(native.measure(given), cellprofiler.measure(given)))
            return
        for engine in (native, cellprofiler):
            with pytest.raises(SiteFlagged, match="flags this site as one to skip") as flagged:
                engine.measure(given)
            assert flagged.value.module == "3 FlagImage"


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (flag(), "2 FlagImage reads the measurement Intensity_MeanIntensity_DNA of Image"),
        (quality(**{"Use all thresholding methods?": "Yes"}), 'Use all thresholding methods\\?: Yes" is not supported'),
        (quality(**{"Spatial scale for blur measurements": "0"}), "below 1, where CellProfiler fails"),
        (
            ("MeasureImageIntensity", WITHIN | {"Specify percentiles to measure": "5,101"}),
            '101" is no whole number from 0 to 100',
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(module, said):
    with pytest.raises(CppipeError, match=said):
        open_engine("native", cppipes.write(NUCLEI, module))
