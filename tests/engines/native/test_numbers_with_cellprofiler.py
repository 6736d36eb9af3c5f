"""Numbers outside CellProfiler's limits, and sets in which numbers have no pixel, against the running CellProfiler."""

from __future__ import annotations

import importlib
import json
import re
from pkgutil import iter_modules

import numpy as np
import pytest

from pipeline.engines import open_engine
from pipeline.engines.limits import LIMITS, Limits
from pipeline.engines.native import modules
from pipeline.engines.native.kernels import smoothing
from pipeline.engines.parity import compare, is_equal
from pipeline.errors import CppipeError
from tests.engines import cppipes
from tests.engines.cppipes import CELLS, NUCLEI, Saved

MANUAL: dict[str, str | list[str]] = {
    "Thresholding method": ["Manual"],
    "Manual threshold": "0.5",
    "Threshold smoothing scale": "0",
}
SIZE_SHAPE: Saved = ("MeasureObjectSizeShape", {"Select object sets to measure": "Nuclei"})
INTENSITY: Saved = (
    "MeasureObjectIntensity",
    {"Select images to measure": "Made", "Select objects to measure": "Nuclei"},
)


def nuclei(**changes: str | list[str]) -> Saved:
    return NUCLEI[0], NUCLEI[1] | changes


def threshold_in_force(label: str) -> dict[str, str | list[str]]:
    if "outlier" in label or "deviations" in label:
        return {"Thresholding method": ["Robust Background"]}
    return {"Thresholding method": ["Manual"]} if label == "Manual threshold" else {}


def with_setting(module: str, label: str, text: str) -> list[Saved]:
    """A pipeline in which this setting is in force."""
    setting: dict[str, str | list[str]] = {label: text}
    measured = {"Select images to measure": "DNA, RNA", "Select objects to measure": "Nuclei"}
    match module:
        case "IdentifyPrimaryObjects":
            setting |= {
                "Method to distinguish clumped objects": "Intensity",
                "Automatically calculate minimum allowed distance between local maxima?": "No",
                "Automatically calculate size of smoothing filter for declumping?": "No",
                "Handling of objects if excessive number of objects identified": "Erase",
            }
            setting |= threshold_in_force(label)
            return [(module, NUCLEI[1] | setting), SIZE_SHAPE]
        case "IdentifySecondaryObjects":
            if label.startswith("Number of pixels"):
                setting["Select the method to identify the secondary objects"] = "Distance - N"
            setting |= threshold_in_force(label)
            return [NUCLEI, (module, CELLS[1] | setting)]
        case "CorrectIlluminationCalculate":
            setting |= {
                "Select the input image": "RNA",
                "Name the output image": "Made",
                "Select how the illumination function is calculated": "Background",
                "Calculate function for each image individually, or based on all images?": "Each",
                "Smoothing method": "Gaussian Filter",
                "Method to calculate smoothing filter size": "Object size" if "diameter" in label else "Manually",
                "Dilate objects in the final averaged image?": "Yes" if label == "Dilation radius" else "No",
            }
            return [NUCLEI, (module, setting), INTENSITY]
        case "Resize":
            setting |= {"Select the input image": "DNA", "Name the output image": "Small"}
            if label.endswith("final image"):
                setting["Resizing method"] = "Resize by specifying desired final dimensions"
            return [(module, setting), nuclei(**{"Select the input image": "Small"}), SIZE_SHAPE]
        case "ImageMath":
            setting |= {"Operation": "Invert", "Select the image": "DNA", "Name the output image": "Made"}
            return [NUCLEI, (module, setting), INTENSITY]
        case "MeasureObjectNeighbors":
            setting |= {
                "Select objects to measure": "Nuclei",
                "Select neighboring objects to measure": "Nuclei",
                "Method to determine neighbors": "Within a specified distance",
            }
            return [NUCLEI, (module, setting)]
        case "MeasureColocalization":
            setting["Calculate the Manders coefficients using Costes auto threshold?"] = "No"
        case "MeasureObjectIntensityDistribution":
            setting["Scale the bins?"] = "No"
            setting["Calculate intensity Zernikes?"] = "Magnitudes only" if "zernike" in label else "None"
    return [NUCLEI, (module, measured | setting)]


def beyond(limits: Limits) -> list[str]:
    if isinstance(limits.default, tuple):
        return ["-2,30"] if limits.most is None else ["-1,0.5", "0.01,1.5", "0.3,0.01"]
    texts = [] if limits.least is None else [f"{np.floor(limits.least - 1):.0f}"]
    return texts + ([] if limits.most is None else [f"{limits.most + 1:.0f}"])


OLD = ("Resizing factor", "Width of the final image", "Height of the final image")
BEYOND = [
    (module, label, text)
    for module, some in LIMITS.items()
    for label, limit in some.items()
    if label not in OLD
    for text in beyond(limit)
]

IMAGES = {name: image[:120, :130] for name, image in cppipes.images(3).items()}


def without_every_number(shrink: str, *, in_corner: bool) -> tuple[str, dict[str, np.ndarray]]:
    """Three cells, of which the second is no larger than its nucleus, so that Cytoplasm has no number 2; Rims around
    them; everything measured. The first cell may hold the first pixel of the image.
    """
    y, x = np.mgrid[:80, :120]
    images = {name: np.full((80, 120), 0.02, np.float32) for name in ("DNA", "RNA")}
    random = np.random.default_rng(4)
    for k, (row, column) in enumerate(((9 if in_corner else 40, 10 if in_corner else 22), (40, 62), (41, 96))):
        distance = np.hypot(y - row, x - column)
        images["DNA"][distance <= 7] = 0.9
        images["RNA"][distance <= (7 if k == 1 else 14 + k)] = 0.7
    for name, image in images.items():
        images[name] = (image + 0.05 * random.random(image.shape)).astype(np.float32)
    cells: dict[str, str | list[str]] = {"Select the method to identify the secondary objects": "Watershed - Image"}
    cytoplasm = {
        "Select the larger identified objects": "Cells",
        "Select the smaller identified objects": "Nuclei",
        "Name the tertiary objects to be identified": "Cytoplasm",
        "Shrink smaller object prior to subtraction?": shrink,
    }
    rims = {
        "Select the input objects": "Cytoplasm",
        "Name the objects to be identified": "Rims",
        "Select the method to identify the secondary objects": "Distance - N",
        "Number of pixels by which to expand the primary objects": "2",
    }
    every = "Cytoplasm, Rims"
    measured = {"Select images to measure": "DNA, RNA", "Select objects to measure": every}
    text = cppipes.write(
        nuclei(**MANUAL, **{"Discard objects touching the border of the image?": "No"}),
        (CELLS[0], CELLS[1] | MANUAL | cells),
        ("IdentifyTertiaryObjects", cytoplasm),
        (CELLS[0], CELLS[1] | rims),
        ("MeasureObjectSizeShape", {"Select object sets to measure": every}),
        ("MeasureObjectIntensity", measured),
        ("MeasureTexture", measured),
        ("MeasureObjectIntensityDistribution", measured | {"Select objects to measure": "Cytoplasm"}),
        (
            "MeasureColocalization",
            measured | {"Calculate the Manders coefficients using Costes auto threshold?": "No"},
        ),
        (
            "MeasureObjectNeighbors",
            {"Select objects to measure": "Cytoplasm", "Select neighboring objects to measure": "Cytoplasm"},
        ),
    )
    return text, images


def two_groups_of_rings(first: str, second: str) -> str:
    """4 rings, and 3 rings of up to 12 pixels; each group scaled or not."""
    chosen = {
        "Select images to measure": "DNA, RNA",
        "Select objects to measure": "Nuclei",
        "Scale the bins?": first,
        "Maximum radius": "7",
    }
    lines = cppipes.write(NUCLEI, ("MeasureObjectIntensityDistribution", chosen)).split("\n")
    last = max(k for k, line in enumerate(lines) if line.strip().startswith("Maximum radius:"))
    hidden = [k for k, line in enumerate(lines) if line.strip().startswith("Hidden:")]
    lines[hidden[1]] = "    Hidden:2"
    lines[last + 1 : last + 1] = [f"    Scale the bins?:{second}", "    Number of bins:3", "    Maximum radius:12"]
    return "\n".join(lines)


def illumination(method: str, size: str, kind: str = "Regular") -> str:
    _, (name, settings), _ = with_setting("CorrectIlluminationCalculate", "Smoothing filter size", size)
    changes = {"Smoothing method": method, "Select how the illumination function is calculated": kind}
    return cppipes.write(NUCLEI, (name, settings | changes), INTENSITY)


def of_truth_values(operation: str, **changes: str | list[str]) -> str:
    """The operation on two images of truth values and, after them, one of numbers."""
    of_two: dict[str, str | list[str]] = {
        "Operation": operation,
        "Select the image": ["First", "Second"],
        "Name the output image": "Made",
    }
    again: dict[str, str | list[str]] = {
        "Operation": "Add",
        "Select the image": ["Made", "Second"],
        "Name the output image": "Again",
    }
    with_numbers: dict[str, str | list[str]] = {
        "Operation": "Add",
        "Select the image": ["First", "RNA"],
        "Name the output image": "Mixed",
    }
    measured = {"Select images to measure": "Made, Again, Mixed", "Select objects to measure": "Nuclei"}
    return cppipes.write(
        NUCLEI,
        ("ImageMath", of_two | changes),
        ("ImageMath", again),
        ("ImageMath", with_numbers),
        ("MeasureObjectIntensity", measured),
    )


def nearly_flat(low: float, step: float) -> dict[str, np.ndarray]:
    """Squares a few float32 steps brighter than the ground."""
    image = np.full((60, 60), low, np.float32)
    image[20:35, 20:35] += np.float32(step)
    image[40:50, 8:20] += np.float32(3 * step)
    return {"DNA": image}


TRUTH = {
    "First": IMAGES["RNA"] > 6000,
    "Second": np.roll(IMAGES["RNA"] > 9000, 9, axis=1),
}


def cases() -> dict[str, tuple[str, dict[str, np.ndarray]]]:
    found = {
        f"{module}, {label}: {text}": (cppipes.write(*with_setting(module, label, text)), IMAGES)
        for module, label, text in BEYOND
    }
    for shrink in ("Yes", "No"):
        for in_corner in (False, True):
            found[f"missing numbers, shrink {shrink}, corner {in_corner}"] = without_every_number(
                shrink, in_corner=in_corner
            )
    for first, second in (("Yes", "No"), ("No", "Yes"), ("No", "No")):
        found[f"rings, scaled {first} and {second}"] = (two_groups_of_rings(first, second), IMAGES)
    for size in ("0", "-3", "1", "1000"):
        for method in ("Gaussian Filter", "Median Filter"):
            found[f"{method} of {size}"] = (illumination(method, size), IMAGES)
        found[f"Background, Gaussian Filter of {size}"] = (illumination("Gaussian Filter", size, "Background"), IMAGES)
    for operation in ("Add", "Subtract", "Absolute Difference", "Multiply", "Divide", "Average", "Minimum", "Maximum"):
        found[f"truth values, {operation}"] = (of_truth_values(operation), IMAGES | TRUTH)
    changes: dict[str, str | list[str]] = {"Multiply the image by": ["2", "1"]}
    found["truth values, Average, doubled"] = (of_truth_values("Average", **changes), IMAGES | TRUTH)
    otsu = cppipes.write(
        nuclei(
            **{
                "Thresholding method": ["Otsu"],
                "Two-class or three-class thresholding?": "Two classes",
                "Threshold smoothing scale": "0",
                "Discard objects outside the diameter range?": "No",
            }
        ),
        SIZE_SHAPE,
    )
    for low, step in ((0.5, 1e-5), (0.5, 2e-5), (0.9, 1e-6), (0.02, 1e-7), (0.02, 4e-8)):
        found[f"Otsu from {low} in steps of {step}"] = (otsu, nearly_flat(low, step))
    for scale in ("1e-20", "300"):
        wide = cppipes.write(nuclei(**{"Threshold smoothing scale": scale}), SIZE_SHAPE)
        found[f"threshold smoothed by {scale}"] = (wide, {name: image[:50, :60] for name, image in IMAGES.items()})
    return found


CASES = cases()


@pytest.fixture(scope="module")
def theirs():
    """CellProfiler's answers to all cases, by one process."""
    return dict(zip(CASES, cppipes.measured_by_cellprofiler(list(CASES.values())), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_it_is_measured_as_by_cellprofiler(theirs, name):
    text, images = CASES[name]
    with open_engine("native", text) as engine:
        comparison = compare(engine.measure({one: images[one] for one in engine.inputs}), theirs[name])

    unequal = comparison[comparison[["unequal_values", "missing", "unexpected"]].any(axis=1)]
    assert is_equal(comparison), unequal.T.to_string()


def test_numbers_are_missing_and_the_corner_is_taken_where_the_cases_say_so():
    for shrink, in_corner, missing in (("No", False, {2}), ("No", True, {2}), ("Yes", False, set())):
        text, images = without_every_number(shrink, in_corner=in_corner)
        with open_engine("native", text) as engine:
            cytoplasm = engine.measure(images).labels["Cytoplasm"]
        assert set(range(1, 4)) - set(np.unique(cytoplasm)) == missing
        assert (cytoplasm[0, 0] > 0) == in_corner


def test_limits_and_defaults_are_those_of_cellprofilers_own_modules(tmp_path):
    cppipes.ask_cellprofiler("limits", "-", tmp_path / "limits.json")
    theirs = json.loads((tmp_path / "limits.json").read_text())

    in_files = (importlib.import_module(f"{modules.__name__}.{one.name}") for one in iter_modules(modules.__path__))
    by_file = {file.__name__.rpartition(".")[2]: getattr(file, "LIMITS", {}) for file in in_files}
    title = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(): name for name in theirs}
    for module, some in [*LIMITS.items(), *((title[name], own) for name, own in by_file.items())]:
        for label, ours in some.items():
            if label not in OLD:
                default = list(ours.default) if isinstance(ours.default, tuple) else ours.default
                assert theirs[module][label] == [ours.kind is int, default, ours.least, ours.most], (module, label)


@pytest.mark.parametrize(("module", "label", "text"), BEYOND)
def test_a_number_beyond_the_limits_is_said_by_name_with_what_is_taken(module, label, text):
    pipeline = with_setting(module, label, text)
    number = next(k for k, (name, settings) in enumerate(pipeline, 1) if name == module and label in settings)

    [said] = open_engine("native", cppipes.write(*pipeline)).notes or [""]

    if text == "0.3,0.01":  # the order of a range is the reader's affair
        assert said == ""
    else:
        assert said.startswith(f'Module {number} {module}: "{label}: {text}" lies ')
        assert said.endswith(", and so does the native engine.")


def test_a_note_reads_as_a_sentence_and_both_engines_say_it():
    text = cppipes.write(*with_setting("MeasureObjectNeighbors", "Neighbor distance", "0"))
    wide = cppipes.write(nuclei(**{"Lower and upper bounds on threshold": "0.1,1.5"}), SIZE_SHAPE)
    start = 'Module 2 MeasureObjectNeighbors: "Neighbor distance: 0" lies below CellProfiler\'s minimum of 1; '

    with open_engine("cellprofiler", text) as cellprofiler:
        assert cellprofiler.notes == (start + "CellProfiler takes its default, 5.",)
    assert open_engine("native", text).notes == (
        start + "CellProfiler takes its default, 5, and so does the native engine.",
    )
    assert open_engine("native", wide).notes == (
        'Module 1 IdentifyPrimaryObjects: "Lower and upper bounds on threshold: 0.1,1.5" lies above CellProfiler\'s '
        "maximum of 1; CellProfiler takes 0.1,1, and so does the native engine.",
    )


def test_what_is_not_in_force_is_neither_said_nor_refused():
    idle = {"Manual threshold": "x", "Maximum number of objects": "0", "Size of smoothing filter": "2.5"}

    assert open_engine("native", cppipes.write(nuclei(**idle), SIZE_SHAPE)).notes == ()


@pytest.mark.parametrize(
    ("module", "label", "text", "wrong"),
    [
        ("MeasureObjectIntensityDistribution", "Number of bins", "2.5", "is no whole number"),
        ("MeasureObjectNeighbors", "Neighbor distance", "five", "is no whole number"),
        ("ImageMath", "Multiply the image by", "x", "is no number"),
        ("IdentifyPrimaryObjects", "Size of smoothing filter", "8.0", "is no whole number"),
        (
            "IdentifyPrimaryObjects",
            "Typical diameter of objects, in pixel units (Min,Max)",
            "8.7,30",
            "is no range of two whole numbers",
        ),
        ("IdentifyPrimaryObjects", "Lower and upper bounds on threshold", "0.1", "is no range of two numbers"),
        ("IdentifyPrimaryObjects", "Threshold correction factor", "nan", "is not finite"),
        ("MeasureTexture", "Texture scale to measure", "", "is no whole number"),
    ],
)
def test_what_is_no_number_is_refused_by_name_when_the_pipeline_is_opened(module, label, text, wrong):
    with pytest.raises(CppipeError) as refused:
        open_engine("native", cppipes.write(*with_setting(module, label, text)))

    assert f'{module}: "{label}: {text}" {wrong}' in refused.value.message


def test_cellprofilers_engine_says_what_it_takes_for_a_text_that_is_no_number():
    text = cppipes.write(*with_setting("MeasureObjectIntensityDistribution", "Number of bins", "2.5"))

    with open_engine("cellprofiler", text) as engine:
        [said] = engine.notes

    assert said == (
        'Module 2 MeasureObjectIntensityDistribution: "Number of bins: 2.5" is no whole number; '
        "CellProfiler takes its default, 4."
    )


@pytest.mark.parametrize("scale", ["1e6", "1e9", "1e300"])
def test_a_threshold_may_be_smoothed_as_widely_as_one_can_write(scale):
    """So wide a Gaussian is flat over the image: its mean, but for what CellProfiler adds before it divides."""
    image = (cppipes.images(3)["DNA"][:60, :70] / 65535).astype(np.float32)
    text = cppipes.write(nuclei(**{"Threshold smoothing scale": scale}), SIZE_SHAPE)
    sigma = float(scale) / 0.6744 / 2
    height = 1 / (np.sqrt(2 * np.pi) * sigma * 0.9999366575)  # of a Gaussian that is cut at 4 sigma
    covered = image.size * height**2
    expected = float(image.mean(dtype=np.float64)) * covered / (covered + np.finfo(float).eps)

    np.testing.assert_allclose(smoothing.smooth(image, sigma), expected, rtol=1e-5)
    assert open_engine("native", text).measure({"DNA": image}).image["Count_Nuclei"] == 0


@pytest.mark.slow
def test_the_sum_of_weights_is_the_curves_from_where_it_is_taken_for_it():
    sigma = smoothing.LARGE / 4 - 1

    taken = smoothing.gaussian_weights(sigma, 10)

    np.testing.assert_allclose(taken, smoothing.gaussian_weights(sigma + 2, 10) * (sigma + 2) / sigma, rtol=1e-12)
