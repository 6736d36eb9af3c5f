"""Random pipelines and images for both engines. The same seed gives the same case, on any machine.

Numbers lie within CellProfiler's limits or beyond them; images are crowded, flat, dark, nearly flat or of few
levels, and of any depth. What only CellProfiler or only the native engine can run is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.engines.limits import LIMITS
from tests.engines import cppipes
from tests.engines.cppipes import CELLS, MORE, NUCLEI, Saved
from tests.engines.native.synthetic import blobs

SECONDARY = ("Propagation", "Watershed - Image", "Watershed - Gradient", "Distance - N", "Distance - B")

Random = np.random.Generator
Settings = dict[str, str | list[str]]
#: numbers to choose from beside those at CellProfiler's limits
WHOLE, ANY = (-3, 0, 1, 2, 3, 5, 7, 12, 17, 30), (-3, -0.5, 0, 0.02, 0.3, 0.7, 1, 1.35, 2.5, 6, 40, 120)


def case(seed: int, *, wild: bool = False) -> tuple[str, dict[str, np.ndarray]]:
    """The text of a pipeline and its images. With `wild`, numbers also go as far as they can be written."""
    random = np.random.default_rng(seed)
    images = site(random)
    modules = [*image_modules(random, wild), *object_modules(random, wild), *masked_modules(random, wild)]
    modules += [measure(random, wild) for measure in random.permutation(MEASURES)[: random.integers(1, 4)]]
    if random.random() < 0.5:
        modules += lines(random, wild)
    return cppipes.write(*modules), images


def site(random: Random) -> dict[str, np.ndarray]:
    """DNA and RNA of one shape, in any of the types that an engine takes."""
    shape = (int(random.integers(40, 110)), int(random.integers(40, 110)))
    crowd = blobs(int(random.integers(1 << 30)), shape, int(random.integers(1, 14)))
    kind = pick(random, "uint16", "uint16", "uint16", "uint8", "float", "narrow", "few", "flat", "noise")
    made = {}
    for name in ("DNA", "RNA"):
        image = crowd[f"Orig{name}"]
        match kind:
            case "uint8":
                image = (image >> 7).clip(0, 255).astype(np.uint8)
            case "float":
                image = (image / 40000 - 0.05).astype(random.choice(["float32", "float64"]))
            case "narrow":
                image = (0.5 + (image > 5000) * 2e-5).astype(np.float32)
            case "few":
                image = image // 3000 * 3000
            case "flat":
                image = np.full_like(image, random.choice([0, 900, 65535]))
            case "noise":
                image = random.integers(0, 65536, shape).astype(np.uint16)
        made[name] = image
    return made


def numbers(random: Random, module: str, labels: Sequence[str], wild: bool) -> Settings:
    """A text for some of these settings, the others being left as they are."""
    chosen: Settings = {}
    for label in labels:
        if random.random() < 0.6:
            limits = LIMITS[module][label]
            if isinstance(limits.default, tuple):
                low, high = sorted(float(value) for value in random.choice([-1, 0, 0.01, 0.1, 0.4, 1, 1.5], 2))
                chosen[label] = f"{low},{high}"
                continue
            choice = list(WHOLE if limits.kind is int else ANY)
            choice += [edge for edge in (limits.least, limits.most) if edge is not None]
            if wild:
                choice += [10**6, -(10**6), 2**31, 10**9]
            chosen[label] = str(random.choice(np.array(choice, dtype=object)))
    return chosen


def pick(random: Random, *options: str) -> str:
    return str(random.choice(options))


def yes(random: Random) -> str:
    return pick(random, "Yes", "No")


def threshold(random: Random, module: str, wild: bool) -> Settings:
    labels = ["Threshold smoothing scale", "Threshold correction factor", "Manual threshold", "# of deviations"]
    if random.random() < 0.3:
        labels.append("Lower and upper bounds on threshold")
    methods = ("Minimum Cross-Entropy", "Otsu", "Otsu", "Robust Background")
    found: Settings = {
        "Threshold strategy": pick(random, "Global", "Global", "Adaptive"),
        "Thresholding method": [pick(random, *methods, "Manual"), pick(random, *methods, "Sauvola")],
        "Two-class or three-class thresholding?": pick(random, "Two classes", "Three classes"),
        "Log transform before thresholding?": pick(random, "Yes", "No", "No"),
        "Assign pixels in the middle intensity class to the foreground or the background?": pick(
            random, "Foreground", "Background"
        ),
        "Size of adaptive window": pick(random, "7", "10", "16", "20"),
        "Lower outlier fraction": pick(random, "0.05", "0", "0.1", "-1", "0.3"),
        "Upper outlier fraction": pick(random, "0.05", "0", "0.1", "2"),
        "Averaging method": pick(random, "Mean", "Median", "Mode"),
        "Variance method": pick(random, "Standard deviation", "Median absolute deviation"),
        **numbers(random, module, labels, wild),
    }
    if module == "IdentifySecondaryObjects" and random.random() < 0.15:
        found |= {
            "Threshold strategy": "Global",
            "Thresholding method": ["Measurement"],
            "Select the measurement to threshold with": "Threshold_OrigThreshold_Nuclei",
        }
    return found


def image_modules(random: Random, wild: bool) -> list[Saved]:
    """Images made of DNA and RNA: Math, and Flat, which is RNA over its own illumination."""
    operations = (
        *("Add", "Subtract", "Absolute Difference", "Multiply", "Divide", "Average", "Minimum", "Maximum"),
        *("And", "Or", "Equals", "Standard Deviation"),
    )
    operation = pick(random, *operations, "Invert", "None", "Not")
    math: Settings = {
        "Operation": operation,
        "Name the output image": "Math",
        "Select the image": ["DNA", "RNA"] if operation in operations else "DNA",
        "Replace invalid values with 0?": "Yes",
    }
    if random.random() < 0.6:
        math["Multiply the image by"] = [pick(random, "1.0", "1.3", "-2"), "1.0"]
        math["Add to result"] = pick(random, "0.0", "0.01")
    function: Settings = {
        "Select the input image": "RNA",
        "Name the output image": "Function",
        "Select how the illumination function is calculated": pick(random, "Regular", "Background"),
        "Rescale the illumination function?": pick(random, "Yes", "No", "Median"),
        "Calculate function for each image individually, or based on all images?": "Each",
        "Smoothing method": pick(
            random,
            *("No smoothing", "Gaussian Filter", "Median Filter", "Smooth to Average", "Fit Polynomial", "Convex Hull"),
        ),
        "Dilate objects in the final averaged image?": pick(random, "Yes", "No", "No"),
        "Dilation radius": pick(random, "1", "2", "-1"),
        "Retain the averaged image?": yes(random),
        "Name the averaged image": "Mean",
        "Retain the dilated image?": yes(random),
        "Name the dilated image": "Spread",
        "Method to calculate smoothing filter size": pick(random, "Manually", "Object size", "Automatic"),
        **numbers(
            random,
            "CorrectIlluminationCalculate",
            ("Block size", "Approximate object diameter", "Smoothing filter size"),
            wild,
        ),
    }
    apply: Settings = {
        "Select the input image": "RNA",
        "Name the output image": "Flat",
        "Select the illumination function": "Function",
        "Select how the illumination function is applied": pick(random, "Divide", "Subtract"),
    }
    return [
        ("ImageMath", math),
        ("CorrectIlluminationCalculate", function),
        ("CorrectIlluminationApply", apply),
    ]


def primary(random: Random, wild: bool) -> Saved:
    return NUCLEI[0], NUCLEI[1] | {
        "Typical diameter of objects, in pixel units (Min,Max)": pick(random, "8,30", "1,200", "13,40", "-4,30"),
        "Discard objects outside the diameter range?": yes(random),
        "Discard objects touching the border of the image?": yes(random),
        "Method to distinguish clumped objects": pick(random, "Shape", "Intensity", "None"),
        "Use advanced settings?": pick(random, "Yes", "Yes", "Yes", "No"),
        "Method to draw dividing lines between clumped objects": pick(
            random, "Shape", "Intensity", "Propagate", "None"
        ),
        "Automatically calculate minimum allowed distance between local maxima?": yes(random),
        "Automatically calculate size of smoothing filter for declumping?": yes(random),
        "Fill holes in identified objects?": pick(
            random, "Never", "After declumping only", "After both thresholding and declumping"
        ),
        "Handling of objects if excessive number of objects identified": pick(random, "Continue", "Erase"),
        **threshold(random, "IdentifyPrimaryObjects", wild),
        **numbers(
            random,
            "IdentifyPrimaryObjects",
            (
                "Size of smoothing filter",
                "Suppress local maxima that are closer than this minimum allowed distance",
                "Maximum number of objects",
            ),
            wild,
        ),
    }


def object_modules(random: Random, wild: bool) -> list[Saved]:
    """Nuclei, Cells, Cytoplasm, which may lack numbers, and Rims round these."""

    def grown(seeds: str, name: str) -> Saved:
        method = pick(random, *SECONDARY)
        secondary: Settings = {
            "Select the input objects": seeds,
            "Name the objects to be identified": name,
            "Select the method to identify the secondary objects": method,
            "Fill holes in identified objects?": yes(random),
            "Discard secondary objects touching the border of the image?": yes(random),
            "Discard the associated primary objects?": yes(random),
            "Name the new primary objects": f"Seeds{name}",
            **threshold(random, "IdentifySecondaryObjects", wild),
            **numbers(
                random,
                "IdentifySecondaryObjects",
                ("Number of pixels by which to expand the primary objects", "Regularization factor"),
                wild,
            ),
        }
        return CELLS[0], CELLS[1] | secondary

    cytoplasm: Settings = {
        "Select the larger identified objects": "Cells",
        "Select the smaller identified objects": "Nuclei",
        "Name the tertiary objects to be identified": "Cytoplasm",
        "Shrink smaller object prior to subtraction?": yes(random),
    }
    made = [
        primary(random, wild),
        grown("Nuclei", "Cells"),
        ("IdentifyTertiaryObjects", cytoplasm),
        grown("Cytoplasm", "Rims"),
    ]
    for _, settings in list(made):
        if settings.get("Discard secondary objects touching the border of the image?") == "Yes" and (
            settings.get("Discard the associated primary objects?") == "Yes"
        ):
            kept = str(settings["Name the new primary objects"])
            either = {"Select objects to measure": kept, "Select neighboring objects to measure": kept}
            made.append(("MeasureObjectNeighbors", either))
    return made


def masked_modules(random: Random, wild: bool) -> list[Saved]:
    """Shown, an image with a mask, Spots in it, and Kept, some of another set."""
    shown: Settings = {
        # Not Math, which may hold truth values, of which CellProfiler's filters give truth values.
        "Select the input image": pick(random, "DNA", "RNA", "Flat"),
        "Name the output image": "Shown",
        "Use objects or an image as a mask?": pick(random, "Objects", "Objects", "Image"),
        "Select object for mask": pick(random, "Nuclei", "Cells", "Cytoplasm"),
        "Select image for mask": "Math",
        "Invert the mask?": yes(random),
    }
    spots = {"Select the input image": "Shown", "Name the primary objects to be identified": "Spots"}
    source, others = random.permutation(["Nuclei", "Cells", "Cytoplasm", "Rims", "Spots"])[:2]
    kept: Settings = {
        "Select the objects to filter": str(source),
        "Name the output objects": "Kept",
        "Select the filtering mode": pick(random, "Measurements", "Image or mask border"),
        "Select the filtering method": pick(random, "Limits", "Limits", "Maximal", "Minimal"),
        "Select the measurement to filter by": pick(random, "Location_Center_X", "Number_Object_Number"),
        "Minimum value": pick(random, "1", "15", "40"),
        "Maximum value": pick(random, "3", "30", "70"),
        "Keep removed objects as a separate set?": yes(random),
        "Additional object count": "1",
        MORE: [f"Select additional object to relabel:{others}", "Name the relabeled objects:Others"],
    }
    module, settings = primary(random, wild)
    return [("MaskImage", shown), (module, settings | spots), ("FilterObjects", kept)]


def lines(random: Random, wild: bool) -> list[Saved]:
    """Features of an image enhanced, what is bright among them thinned, and the lines at some objects measured."""
    image = pick(random, "DNA", "RNA", "Flat")
    enhance: Settings = {
        "Select the input image": image,
        "Name the output image": "Enhanced",
        "Select the operation": pick(random, "Enhance", "Enhance", "Enhance", "Suppress"),
        "Feature type": pick(random, "Speckles", "Neurites", "Neurites", "Dark holes", "Circles", "Texture", "DIC"),
        "Enhancement method": pick(random, "Tubeness", "Line structures"),
        "Feature size": pick(random, "0", "2", "3", "6", "7", "10", "25"),
        "Range of hole sizes": pick(random, "1,10", "4,6", "0,3"),
        "Smoothing scale": pick(random, "0", "0.7", "2", "-1", "12"),
        "Shear angle": pick(random, "0", "45", "-100", "190"),
        "Decay": pick(random, "0.95", "0.1", "0", "1"),
        "Speed and accuracy": pick(random, "Fast", "Slow"),
        "Rescale result image": yes(random),
    }
    white: Settings = {"Select the input image": pick(random, "Enhanced", image), "Name the output image": "White"}
    thin: Settings = {"Select the input image": "White", "Name the output image": "Lines"}
    measure: Settings = {
        "Select the seed objects": pick(random, "Nuclei", "Cells", "Cytoplasm", "Rims"),
        "Select the skeletonized image": pick(random, "Lines", "Lines", "White"),
        "Fill small holes?": yes(random),
        "Maximum hole size": pick(random, "10", "0", "1", "400"),
    }
    return [
        ("EnhanceOrSuppressFeatures", enhance),
        ("Threshold", white | threshold(random, "IdentifySecondaryObjects", wild)),
        ("MorphologicalSkeleton", thin),
        ("MeasureObjectSkeleton", measure),
        ("MeasureImageIntensity", {"Select images to measure": "Enhanced, White, Lines"}),
    ]


def sets(random: Random) -> str:
    every = ["Nuclei", "Cells", "Cytoplasm", "Rims", "Spots", "Kept", "Others"]
    return ", ".join(random.permutation(every)[: random.integers(1, 4)])


def intensity(random: Random, _: bool) -> Saved:
    return "MeasureObjectIntensity", {
        "Select images to measure": "DNA, RNA, Math, Flat, Shown",
        "Select objects to measure": sets(random),
    }


def size_shape(random: Random, _: bool) -> Saved:
    return "MeasureObjectSizeShape", {
        "Select object sets to measure": sets(random),
        "Calculate the Zernike features?": yes(random),
        "Calculate the advanced features?": yes(random),
    }


def neighbors(random: Random, wild: bool) -> Saved:
    either = ("Nuclei", "Cells", "Cytoplasm")
    return "MeasureObjectNeighbors", {
        "Select objects to measure": pick(random, *either),
        "Select neighboring objects to measure": pick(random, *either),
        "Method to determine neighbors": pick(
            random, "Adjacent", "Expand until adjacent", "Within a specified distance"
        ),
        "Consider objects discarded for touching image border?": yes(random),
        **numbers(random, "MeasureObjectNeighbors", ("Neighbor distance",), wild),
    }


def rings(random: Random, wild: bool) -> Saved:
    either = ("Nuclei", "Cells", "Cytoplasm", "Rims")
    return "MeasureObjectIntensityDistribution", {
        "Select images to measure": "DNA, RNA",
        "Calculate intensity Zernikes?": pick(random, "None", "Magnitudes only", "Magnitudes and phase"),
        "Maximum zernike moment": pick(random, "0", "3", "9", "12", "21"),
        "Select objects to measure": pick(random, *either),
        "Object to use as center?": pick(random, "These objects", "Centers of other objects", "Edges of other objects"),
        "Select objects to use as centers": pick(random, *either),
        "Scale the bins?": yes(random),
        "Number of bins": str(random.choice([-1, 0, 1, 2, 3, 6])),
        **numbers(random, "MeasureObjectIntensityDistribution", ("Maximum radius",), wild),
    }


def colocalization(random: Random, wild: bool) -> Saved:
    return "MeasureColocalization", {
        "Select images to measure": pick(random, "DNA, RNA, Flat", "DNA, Shown"),
        "Select objects to measure": sets(random),
        "Select where to measure correlation": pick(random, "Within objects", "Both"),
        "Run all metrics?": "No",
        "Calculate the Manders coefficients using Costes auto threshold?": yes(random),
        "Method for Costes thresholding": pick(random, "Faster", "Fast", "Fast", "Accurate"),
        **numbers(random, "MeasureColocalization", tuple(LIMITS["MeasureColocalization"]), wild),
    }


def texture(random: Random, wild: bool) -> Saved:
    return "MeasureTexture", {
        "Select images to measure": "DNA, Shown",
        "Select objects to measure": sets(random),
        "Measure whole images or objects?": pick(random, "Objects", "Both"),
        "Enter how many gray levels to measure the texture at": pick(random, "0", "1", "2", "9", "256", "257"),
        "Texture scale to measure": pick(random, "1", "3", "7", "1000000000") if wild else pick(random, "1", "3", "7"),
    }


def granularity(random: Random, wild: bool) -> Saved:
    return "MeasureGranularity", {
        "Select images to measure": pick(random, "RNA", "Shown"),
        "Measure within objects?": "Yes",
        "Select objects to measure": sets(random),
        "Subsampling factor for granularity measurements": pick(random, "-1", "0", "0.5", "0.7", "1", "1.5"),
        "Subsampling factor for background reduction": pick(random, "-1", "0", "0.5", "0.8", "1", "2"),
        "Radius of structuring element": pick(random, "-3", "0", "1", "4", "10", *(["255"] if wild else [])),
        "Range of the granular spectrum": pick(random, "-3", "0", "1", "5", "18", *(["255"] if wild else [])),
    }


def quality(random: Random, _: bool) -> Saved:
    return "MeasureImageQuality", {
        "Calculate metrics for which images?": pick(random, "Select...", "All loaded images"),
        "Select the images to measure": pick(random, "DNA", "RNA, Shown", "Math, Flat"),
        "Include the image rescaling value?": yes(random),
        "Spatial scale for blur measurements": pick(random, "1", "5", "20", "300"),
        "Two-class or three-class thresholding?": pick(random, "Two classes", "Three classes"),
        "Assign pixels in the middle intensity class to the foreground or the background?": pick(
            random, "Foreground", "Background"
        ),
    }


def image_intensity(random: Random, _: bool) -> Saved:
    return "MeasureImageIntensity", {
        "Select images to measure": "DNA, Math, Shown",
        "Measure the intensity only from areas enclosed by objects?": yes(random),
        "Select input object sets": sets(random),
        "Calculate custom percentiles": yes(random),
        "Specify percentiles to measure": pick(random, "0,100", "10, 90", "3,50,50,99"),
    }


def area(random: Random, _: bool) -> Saved:
    return "MeasureImageAreaOccupied", {
        "Measure the area occupied by": "Objects",
        "Select object sets to measure": sets(random),
    }


def flag(random: Random, _: bool) -> Saved:
    source = pick(
        random, *(f"{kind} for all objects in each image" for kind in ("Average measurement", "Measurements"))
    )
    settings: Settings = {
        "Flag is based on": source,
        "Select the object to be used for flagging": pick(random, "Nuclei", "Cells", "Cytoplasm", "Rims"),
        "Which measurement?": pick(random, "Location_Center_X", "Location_Center_Y", "Number_Object_Number"),
    }
    if random.random() < 0.5:
        settings |= {
            "Flag is based on": "Whole-image measurement",
            "Which measurement?": pick(random, "Count_Nuclei", "Threshold_FinalThreshold_Nuclei"),
        }
    return "FlagImage", settings | {
        "Skip image set if flagged?": pick(random, "No", "No", "Yes"),
        "Flag images based on low values?": yes(random),
        "Minimum value": pick(random, "0", "3", "0.1", "20"),
        "Flag images based on high values?": yes(random),
        "Maximum value": pick(random, "0.1", "0.3", "8", "50"),
    }


def math(random: Random, _: bool) -> Saved:
    def operand(which: str) -> Settings:
        is_image = random.random() < 0.3
        feature = pick(random, "Location_Center_X", "Number_Object_Number", "Location_Center_Y")
        return {
            f"Select the {which} operand measurement type": "Image" if is_image else "Object",
            f"Select the {which} operand objects": pick(random, "Nuclei", "Cells", "Cytoplasm", "Rims"),
            f"Select the {which} operand measurement": "Threshold_OrigThreshold_Nuclei" if is_image else feature,
        }

    return "CalculateMath", {
        "Operation": pick(random, "Multiply", "Divide", "Add", "Subtract", "None"),
        **operand("first"),
        **operand("second"),
        "Multiply the above operand by": [pick(random, "1", "-0.5"), "2"],
        "Raise the power of above operand by": [pick(random, "1", "0.5", "2"), pick(random, "1", "-1")],
        "Take log10 of result?": yes(random),
        "Raise the power of result by": pick(random, "1", "0.3"),
        "Add to the result": pick(random, "0", "-3.7"),
        "How should the output value be rounded?": pick(
            random,
            "Not rounded",
            "Rounded to a specified number of decimal places",
            "Rounded up to the next-highest integer",
        ),
        "Enter how many decimal places the value should be rounded to": pick(random, "0", "2", "-1"),
        "Constrain the result to a lower bound?": yes(random),
    }


def relation(random: Random, _: bool) -> Saved:
    parent, child = random.permutation(["Nuclei", "Cells", "Spots", "Kept"])[:2]
    return "RelateObjects", {
        "Parent objects": str(parent),
        "Child objects": str(child),
        "Calculate per-parent means for all child measurements?": yes(random),
        "Do you want to save the children with parents as a new object set?": yes(random),
        "Name the output object": "Related",
    }


def masked_objects(random: Random, _: bool) -> Saved:
    handling = ("Keep overlapping region", "Keep", "Remove", "Remove depending on overlap")
    source, by = random.permutation(["Nuclei", "Cells", "Cytoplasm", "Rims", "Spots", "Kept"])[:2]
    return "MaskObjects", {
        "Select objects to be masked": str(source),
        "Name the masked objects": "Cut",
        "Select the masking object": str(by),
        "Handling of objects that are partially masked": pick(random, *handling),
        "Fraction of object that must overlap": pick(random, "0", "0.2", "1", "-1"),
        "Numbering of resulting objects": pick(random, "Renumber", "Retain"),
        "Invert the mask?": yes(random),
    }


def crop(random: Random, _: bool) -> Saved:
    return "Crop", {
        "Select the input image": pick(random, "DNA", "Shown"),
        "Name the output image": "Cropped",
        "Select the cropping shape": pick(random, "Rectangle", "Ellipse", "Objects", "Image"),
        "Left and right rectangle positions": pick(random, "0,end", "5,40", "3,-7", "50,200"),
        "Top and bottom rectangle positions": pick(random, "0,end", "10,30", "2,-3"),
        "Coordinates of ellipse center": "30,25",
        "Ellipse radius, X direction": pick(random, "10", "30", "0"),
        "Ellipse radius, Y direction": pick(random, "20", "30"),
        "Select the objects": pick(random, "Nuclei", "Cells"),
        "Select the masking image": "Math",
        "Remove empty rows and columns?": "No",
    }


MEASURES: list[Callable[[Random, bool], Saved]] = [
    *(intensity, size_shape, neighbors, rings, colocalization, texture, granularity),
    *(quality, image_intensity, area, flag, math, relation, masked_objects, crop),
]
