"""Settings other than those of the CPJUMP1 pipelines, against the running CellProfiler on the same text."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.engines import open_engine
from pipeline.engines.parity import compare, is_equal
from pipeline.errors import CppipeError
from tests.engines import cppipes
from tests.engines.cppipes import CELLS, NUCLEI, Saved

DECLUMP = "Method to distinguish clumped objects"
DIVIDE = "Method to draw dividing lines between clumped objects"
HOLES = "Fill holes in identified objects?"
DIAMETERS = "Typical diameter of objects, in pixel units (Min,Max)"
AUTOMATIC = "Automatically calculate minimum allowed distance between local maxima?"
SUPPRESSION = "Suppress local maxima that are closer than this minimum allowed distance"
CLASSES = "Two-class or three-class thresholding?"
MIDDLE = "Assign pixels in the middle intensity class to the foreground or the background?"
LOG = "Log transform before thresholding?"
MEASURED = "Threshold_OrigThreshold_Nuclei0"
PRIMARY: list[dict[str, str | list[str]]] = [
    {},
    {DECLUMP: "Intensity", DIVIDE: "Intensity"},
    {DECLUMP: "Shape", DIVIDE: "Intensity"},
    {DECLUMP: "Intensity", DIVIDE: "Shape"},
    {DECLUMP: "None"},
    {DIVIDE: "None"},
    {HOLES: "Never"},
    {HOLES: "After declumping only"},
    {
        "Discard objects outside the diameter range?": "No",
        "Discard objects touching the border of the image?": "No",
    },
    {
        "Handling of objects if excessive number of objects identified": "Erase",
        "Maximum number of objects": "3",
    },
    {"Thresholding method": ["Manual"], "Manual threshold": "0.1"},
    {"Thresholding method": ["Otsu"], "Two-class or three-class thresholding?": "Two classes"},
    {"Threshold smoothing scale": "0", "Threshold correction factor": "0.8"},
    {"Thresholding method": ["Otsu"], CLASSES: "Three classes", MIDDLE: "Foreground"},
    {"Thresholding method": ["Otsu"], CLASSES: "Three classes", MIDDLE: "Background", LOG: "Yes"},
    {LOG: "Yes", "Threshold smoothing scale": "0"},
    {"Thresholding method": ["Robust Background"]},
    {
        "Thresholding method": ["Robust Background"],
        "Averaging method": "Mode",
        "Variance method": "Median absolute deviation",
        "Lower outlier fraction": "0",
    },
    {"Use advanced settings?": "No", "Threshold strategy": "Adaptive"},
    {"Use advanced settings?": "No", DIAMETERS: "13,40", "Thresholding method": ["Manual"], "Manual threshold": "0.1"},
    {DIVIDE: "Propagate"},
    {"Threshold strategy": "Adaptive"},
    {
        "Threshold strategy": "Adaptive",
        "Thresholding method": ["Minimum Cross-Entropy", "Otsu"],
        CLASSES: "Three classes",
        LOG: "Yes",
    },
    {"Threshold strategy": "Adaptive", "Thresholding method": ["Otsu", "Robust Background"]},
    {"Threshold strategy": "Adaptive", "Thresholding method": ["Otsu", "Sauvola"]},
    {"Thresholding method": ["Measurement"], "Select the measurement to threshold with": MEASURED},
    {
        DECLUMP: "Intensity",
        "Automatically calculate size of smoothing filter for declumping?": "No",
        "Size of smoothing filter": "4",
        AUTOMATIC: "No",
        SUPPRESSION: "5",
    },
    {DIAMETERS: "13,40", DECLUMP: "Intensity"},
    {DIAMETERS: "13,40", AUTOMATIC: "No", SUPPRESSION: "9"},
]

SECONDARY = ["Propagation", "Watershed - Image", "Watershed - Gradient", "Distance - N", "Distance - B"]

BINARY = ["Add", "Subtract", "Absolute Difference", "Multiply", "Divide", "Average", "Minimum", "Maximum"]
BINARY += ["And", "Or", "Equals", "Standard Deviation"]
UNARY = ["Invert", "Log transform (base 2)", "None", "Not"]


def primary() -> list[Saved]:
    """One set of nuclei for each of `PRIMARY`, all of them measured."""
    names = [f"Nuclei{k}" for k in range(len(PRIMARY))]
    modules: list[Saved] = [
        (NUCLEI[0], NUCLEI[1] | {"Name the primary objects to be identified": name} | changes)
        for name, changes in zip(names, PRIMARY, strict=True)
    ]
    measured = {"Select images to measure": "DNA", "Select objects to measure": ", ".join(names)}
    return [*modules, ("MeasureObjectIntensity", measured)]


def secondary() -> list[Saved]:
    """Cells by every method, with and without holes filled; cytoplasm; everything that is measured around them."""
    modules: list[Saved] = [NUCLEI]
    sets = ["Nuclei"]
    for k, method in enumerate(SECONDARY * 2):
        filled = "Yes" if k < len(SECONDARY) else "No"
        cells = {
            "Name the objects to be identified": f"Cells{k}",
            "Select the method to identify the secondary objects": method,
            HOLES: filled,
        }
        cytoplasm = {
            "Select the larger identified objects": f"Cells{k}",
            "Select the smaller identified objects": "Nuclei",
            "Name the tertiary objects to be identified": f"Cytoplasm{k}",
            "Shrink smaller object prior to subtraction?": filled,
        }
        modules += [(CELLS[0], CELLS[1] | cells), ("IdentifyTertiaryObjects", cytoplasm)]
        sets += [f"Cells{k}", f"Cytoplasm{k}"]
    near: list[tuple[str, str, dict[str, str]]] = [
        (
            "Cells0",
            "Nuclei",
            {"Method to determine neighbors": "Within a specified distance", "Neighbor distance": "3"},
        ),
        ("Nuclei", "Nuclei", {"Method to determine neighbors": "Expand until adjacent"}),
        ("Nuclei", "Cells1", {"Method to determine neighbors": "Adjacent"}),
        (
            "Cells1",
            "Cells1",
            {
                "Method to determine neighbors": "Within a specified distance",
                "Neighbor distance": "17",
                "Consider objects discarded for touching image border?": "No",
            },
        ),
    ]
    for objects, neighbors, changes in near:
        chosen = {"Select objects to measure": objects, "Select neighboring objects to measure": neighbors}
        modules.append(("MeasureObjectNeighbors", chosen | changes))
    every = ", ".join(sets)
    return [
        *modules,
        ("MeasureObjectSizeShape", {"Select object sets to measure": every, "Calculate the Zernike features?": "No"}),
        ("MeasureObjectIntensity", {"Select images to measure": "DNA, RNA", "Select objects to measure": every}),
        (
            "MeasureObjectIntensityDistribution",
            {
                "Select images to measure": "RNA",
                "Select objects to measure": "Cells1",
                "Scale the bins?": "No",
                "Maximum radius": "12",
            },
        ),
    ]


def dropped_at_the_border() -> list[Saved]:
    """Cells that touch the border go, with or without their nuclei; round nuclei and round what is left of these."""
    modules: list[Saved] = [NUCLEI]
    sets = ["Nuclei"]
    for k, method in enumerate(SECONDARY):
        cells = {
            "Select the input objects": sets[-1] if k % 2 else "Nuclei",
            "Name the objects to be identified": f"Cells{k}",
            "Select the method to identify the secondary objects": method,
            "Discard secondary objects touching the border of the image?": "Yes",
            "Discard the associated primary objects?": "No" if k == 1 else "Yes",
            "Name the new primary objects": f"Kept{k}",
        }
        modules.append((CELLS[0], CELLS[1] | cells))
        sets += [f"Cells{k}"] if k == 1 else [f"Cells{k}", f"Kept{k}"]
    near = {"Select objects to measure": "Kept0", "Select neighboring objects to measure": "Cells0"}
    measured = {"Select images to measure": "DNA, RNA", "Select objects to measure": ", ".join(sets)}
    return [*modules, ("MeasureObjectNeighbors", near), ("MeasureObjectIntensity", measured)]


def distributions() -> list[Saved]:
    """Brightness of cells and of their rims, round every kind of centre; moments; images drawn that nothing reads."""
    cytoplasm = {
        "Select the larger identified objects": "Cells",
        "Select the smaller identified objects": "Nuclei",
        "Name the tertiary objects to be identified": "Cytoplasm",
    }
    modules: list[Saved] = [NUCLEI, CELLS, ("IdentifyTertiaryObjects", cytoplasm)]
    for objects, centres, choice, zernikes in (
        ("Cells", "Nuclei", "Centers of other objects", "Magnitudes and phase"),
        ("Cytoplasm", "Nuclei", "Edges of other objects", "Magnitudes only"),
        ("Nuclei", "Cytoplasm", "Centers of other objects", "Magnitudes and phase"),
    ):
        measured: dict[str, str | list[str]] = {
            "Select images to measure": "DNA, RNA",
            "Calculate intensity Zernikes?": zernikes,
            "Select objects to measure": objects,
            "Object to use as center?": choice,
            "Select objects to use as centers": centres,
        }
        modules.append(("MeasureObjectIntensityDistribution", measured))
    near = {
        "Select objects to measure": "Cells",
        "Select neighboring objects to measure": "Cells",
        "Retain the image of objects colored by numbers of neighbors?": "Yes",
    }
    return [*modules, ("MeasureObjectNeighbors", near)]


def colocalization() -> list[Saved]:
    """Costes at every speed, in the image and in objects; one image is made of another."""
    mixed: dict[str, str | list[str]] = {
        "Operation": "Average",
        "Name the output image": "Mixed",
        "Select the image": ["DNA", "RNA"],
    }
    modules: list[Saved] = [NUCLEI, CELLS, ("ImageMath", mixed)]
    for pair, method in (("DNA, RNA", "Faster"), ("DNA, Mixed", "Fast"), ("Mixed, RNA", "Accurate")):
        measured: dict[str, str | list[str]] = {
            "Select images to measure": pair,
            "Select where to measure correlation": "Both",
            "Select objects to measure": "Nuclei, Cells",
            "Method for Costes thresholding": method,
        }
        modules.append(("MeasureColocalization", measured))
    return modules


def measured_images(modules: list[Saved], names: list[str]) -> list[Saved]:
    measured = {"Select images to measure": ", ".join(names), "Select objects to measure": "Nuclei"}
    return [NUCLEI, *modules, ("MeasureObjectIntensity", measured)]


def arithmetic() -> list[Saved]:
    modules: list[Saved] = []
    for k, operation in enumerate(BINARY + UNARY):
        settings: dict[str, str | list[str]] = {
            "Operation": operation,
            "Name the output image": f"Image{k}",
            "Select the image": ["DNA", "RNA"] if operation in BINARY else "DNA",
            "Multiply the image by": "1.3",
            "Raise the power of the result by": "1.5",
            "Multiply the result by": "0.7",
            "Add to result": "0.01",
        }
        modules.append(("ImageMath", settings))
    for operation in BINARY[:8]:
        settings = {
            "Operation": operation,
            "Name the output image": f"Image{len(modules)}",
            "Image or measurement?": ["Image", "Measurement"],
            "Select the image": ["DNA", "DNA"],
            "Measurement": [MEASURED.removesuffix("0")] * 2,
            "Multiply the image by": ["1.3", "0.8"],
        }
        modules.append(("ImageMath", settings))
    return measured_images(modules, [f"Image{k}" for k in range(len(modules))])


def illumination() -> list[Saved]:
    modules: list[Saved] = []
    names = []
    for kind in ("Regular", "Background"):
        for method in (
            "No smoothing",
            "Gaussian Filter",
            "Median Filter",
            "Smooth to Average",
            "Fit Polynomial",
            "Convex Hull",
        ):
            for rescale in ("Yes", "No", "Median"):
                function, corrected = f"Function{len(modules)}", f"Corrected{len(modules)}"
                kept = {
                    "Dilate objects in the final averaged image?": "Yes",
                    "Dilation radius": "2",
                    "Retain the averaged image?": "Yes",
                    "Name the averaged image": f"Mean{len(modules)}",
                    "Retain the dilated image?": "Yes",
                    "Name the dilated image": f"Spread{len(modules)}",
                }
                calculate = {
                    "Select the input image": "RNA",
                    "Name the output image": function,
                    "Select how the illumination function is calculated": kind,
                    "Block size": "20",
                    "Rescale the illumination function?": rescale,
                    "Calculate function for each image individually, or based on all images?": "Each",
                    "Smoothing method": method,
                    **(kept if rescale == "Median" else {}),
                }
                apply = {
                    "Select the input image": "RNA",
                    "Name the output image": corrected,
                    "Select the illumination function": function,
                    "Select how the illumination function is applied": "Subtract" if rescale == "No" else "Divide",
                }
                modules += [("CorrectIlluminationCalculate", calculate), ("CorrectIlluminationApply", apply)]
                names += [function, corrected]
                names += [f"Mean{len(modules) - 2}", f"Spread{len(modules) - 2}"] if rescale == "Median" else []
    return measured_images(modules, names)


def resizing() -> list[Saved]:
    modules: list[Saved] = []
    for k, interpolation in enumerate(("Nearest Neighbor", "Bilinear", "Bicubic")):
        by_factor = {
            "Select the input image": "DNA",
            "Name the output image": f"Smaller{k}",
            "X Resizing factor": "0.6",
            "Y Resizing factor": "0.8",
            "Interpolation method": interpolation,
        }
        to_size = {
            "Select the input image": "RNA",
            "Name the output image": f"Sized{k}",
            "Resizing method": "Resize by specifying desired final dimensions",
            "Width (x) of the final image": "120",
            "Height (y) of the final image": "160",
            "Interpolation method": interpolation,
        }
        as_another = {
            "Select the input image": "RNA",
            "Name the output image": f"Like{k}",
            "Resizing method": "Resize by specifying desired final dimensions",
            "Method to specify the dimensions": "Image",
            "Select the image with the desired dimensions": f"Smaller{k}",
            "Interpolation method": interpolation,
            "Additional image count": f"1\n    Select the additional image?:DNA\n    Name the output image:Also{k}",
        }
        nuclei = NUCLEI[1] | {
            "Select the input image": f"Smaller{k}",
            "Name the primary objects to be identified": f"Nuclei{k}",
        }
        measured = {
            "Select images to measure": f"Smaller{k}, Sized{k}, Like{k}, Also{k}",
            "Select objects to measure": f"Nuclei{k}",
        }
        modules += [
            ("Resize", by_factor),
            ("Resize", to_size),
            ("Resize", as_another),
            (NUCLEI[0], nuclei),
            ("MeasureObjectIntensity", measured),
        ]
    return modules


PIPELINES = [
    *(primary, secondary, dropped_at_the_border, distributions, colocalization, arithmetic, illumination, resizing)
]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_settings_are_honoured_as_cellprofiler_honours_them(pipeline):
    text = cppipes.write(*pipeline())
    images = cppipes.images(3)

    with open_engine("native", text) as native, open_engine("cellprofiler", text) as cellprofiler:
        assert native.features == cellprofiler.features
        given = {name: images[name] for name in native.inputs}
        comparison = compare(native.measure(given), cellprofiler.measure(given))

    unequal = comparison[comparison[["unequal_values", "missing", "unexpected"]].any(axis=1)]
    assert is_equal(comparison), unequal.T.to_string()
    assert comparison["values"].sum() > 100


def test_an_image_that_is_drawn_for_the_eye_is_not_made_for_a_later_module():
    near = {
        "Select objects to measure": "Nuclei",
        "Select neighboring objects to measure": "Nuclei",
        "Retain the image of objects colored by numbers of neighbors?": "Yes",
        "Name the output image": ["Drawn"],
    }
    measured = {"Select images to measure": "Drawn", "Select objects to measure": "Nuclei"}
    text = cppipes.write(NUCLEI, ("MeasureObjectNeighbors", near), ("MeasureObjectIntensity", measured))

    with pytest.raises(CppipeError, match=r"3 MeasureObjectIntensity reads Drawn, which module 2 .* draws for the eye"):
        open_engine("native", text)


def dust(kind: str) -> np.ndarray:
    """uint16 (400, 400) of 400 objects of up to 9 x 9 pixels, symmetric in one way or another."""
    random = np.random.default_rng(5)
    image = np.zeros((400, 400), np.uint16)
    for top in range(3, 400, 20):
        for left in range(3, 400, 20):
            n = int(random.integers(1, 10))
            mask = random.random((n, n)) < random.choice([0.6, 0.8, 1])
            if kind == "along the diagonal":
                mask |= mask.T
            elif kind == "by quarter turns":
                mask = mask | np.rot90(mask) | np.rot90(mask, 2) | np.rot90(mask, 3)
            elif kind == "upside down":
                mask |= mask[::-1]
            elif kind == "lines and triangles":
                mask = (np.eye(n, dtype=bool), np.ones((n, 1), bool), np.tri(n, dtype=bool))[random.integers(3)]
            image[top : top + mask.shape[0], left : left + mask.shape[1]][mask] = 65535
    return image


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["none", "along the diagonal", "by quarter turns", "upside down", "lines and triangles"]
)
def test_shapes_on_which_rounding_decides_come_out_the_same(kind):
    nuclei = NUCLEI[1] | {
        DECLUMP: "None",
        "Discard objects outside the diameter range?": "No",
        "Discard objects touching the border of the image?": "No",
        HOLES: "Never",
        "Thresholding method": ["Manual"],
        "Manual threshold": "0.5",
        "Threshold smoothing scale": "0",
    }
    near = {"Select objects to measure": "Nuclei", "Select neighboring objects to measure": "Nuclei"}
    shapes = {"Select object sets to measure": "Nuclei", "Calculate the advanced features?": "Yes"}
    text = cppipes.write((NUCLEI[0], nuclei), ("MeasureObjectSizeShape", shapes), ("MeasureObjectNeighbors", near))

    with open_engine("native", text) as native, open_engine("cellprofiler", text) as cellprofiler:
        given = {"DNA": dust(kind)}
        comparison = compare(native.measure(given), cellprofiler.measure(given))

    unequal = comparison[comparison[["unequal_values", "missing", "unexpected"]].any(axis=1)]
    assert is_equal(comparison), unequal.T.to_string()
