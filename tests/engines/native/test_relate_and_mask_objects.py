"""RelateObjects, MaskObjects and Crop against the running CellProfiler."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pipeline.engines import open_engine
from pipeline.engines.native.modules.crop import in_ellipse
from pipeline.engines.parity import compare, is_equal
from pipeline.errors import CppipeError
from tests.engines import cppipes
from tests.engines.cppipes import CELLS, NUCLEI, Saved, measured_by_cellprofiler
from tests.engines.native.synthetic import blobs

SPOTS: Saved = (
    "IdentifyPrimaryObjects",
    NUCLEI[1]
    | {
        "Select the input image": "RNA",
        "Name the primary objects to be identified": "Spots",
        "Typical diameter of objects, in pixel units (Min,Max)": "3,9",
        "Method to distinguish clumped objects": "Intensity",
        "Method to draw dividing lines between clumped objects": "Intensity",
        "Discard objects outside the diameter range?": "No",
        "Discard objects touching the border of the image?": "No",
    },
)


def related(parent: str, child: str, kept: str, means: str = "Yes") -> Saved:
    return "RelateObjects", {
        "Parent objects": parent,
        "Child objects": child,
        "Calculate per-parent means for all child measurements?": means,
        "Do you want to save the children with parents as a new object set?": "Yes" if kept else "No",
        "Name the output object": kept or "Nothing",
    }


def relations() -> list[Saved]:
    measured = {"Select images to measure": "RNA", "Select objects to measure": "Spots, Cells"}
    shapes = {"Select object sets to measure": "Spots", "Calculate the Zernike features?": "No"}
    return [
        *(NUCLEI, CELLS, SPOTS),
        ("MeasureObjectIntensity", measured),
        ("MeasureObjectSizeShape", shapes),
        related("Cells", "Spots", "SpotsInCells"),
        related("Nuclei", "SpotsInCells", ""),
        related("Cells", "Nuclei", "NucleiInCells", means="No"),
    ]


def masked_objects() -> list[Saved]:
    handling = ("Keep overlapping region", "Keep", "Remove", "Remove depending on overlap")
    modules: list[Saved] = [NUCLEI, CELLS, SPOTS]
    for k, (how, numbering, inverted) in enumerate(product(handling, ("Renumber", "Retain"), ("No", "Yes"))):
        settings = {
            "Select objects to be masked": "Spots",
            "Name the masked objects": f"Masked{k}",
            "Select the masking object": "Cells",
            "Handling of objects that are partially masked": how,
            "Fraction of object that must overlap": "0.3",
            "Numbering of resulting objects": numbering,
            "Invert the mask?": inverted,
        }
        modules.append(("MaskObjects", settings))
    near = {"Select objects to measure": "Masked0", "Select neighboring objects to measure": "Masked0"}
    return [*modules, ("MeasureObjectNeighbors", near)]


def cropped(shape: str, result: str, **changes: str) -> Saved:
    return "Crop", {
        "Select the input image": "RNA",
        "Name the output image": result,
        "Select the cropping shape": shape,
        "Remove empty rows and columns?": "No",
    } | changes


def crops() -> list[Saved]:
    corners = {"Left and right rectangle positions": "10,-20", "Top and bottom rectangle positions": "5,50"}
    ellipse = {"Coordinates of ellipse center": "40,30", "Ellipse radius, X direction": "20"}
    tall = ellipse | {"Ellipse radius, Y direction": "35"}
    names = "InRectangle, InEllipse, InCells, InImage, InNuclei"
    return [
        *(NUCLEI, CELLS),
        cropped("Rectangle", "InRectangle", **corners),
        cropped("Ellipse", "InEllipse", **tall),
        cropped("Objects", "InCells", **{"Select the objects": "Cells"}),
        cropped("Image", "InImage", **{"Select the masking image": "InEllipse"}),
        cropped("Objects", "InNuclei", **{"Select the input image": "InImage", "Select the objects": "Nuclei"}),
        ("MeasureImageIntensity", {"Select images to measure": names}),
        ("MeasureObjectIntensity", {"Select images to measure": names, "Select objects to measure": "Cells"}),
    ]


def sites() -> list[dict[str, np.ndarray]]:
    nothing, covered = np.full((60, 70), 9, np.uint16), np.full((60, 70), 60000, np.uint16)
    covered[20:30, 20:30] = 5
    made = [{"DNA": image, "RNA": image} for image in (nothing, covered)]
    for seed, number, shape in ((3, 14, (90, 120)), (4, 40, (70, 90))):
        crowd = blobs(seed, shape, number)
        made.append({name: crowd[f"Orig{name}"] for name in ("DNA", "RNA")})
    return made


@pytest.mark.parametrize("pipeline", [relations, masked_objects, crops])
def test_objects_are_related_masked_and_cropped_as_by_cellprofiler(pipeline):
    text = cppipes.write(*pipeline())
    with open_engine("native", text) as engine:
        for site, theirs in zip(sites(), measured_by_cellprofiler([(text, site) for site in sites()]), strict=True):
            assert not isinstance(theirs, str), theirs
            comparison = compare(engine.measure(site), theirs)
            unequal = comparison[comparison[["unequal_values", "missing", "unexpected"]].any(axis=1)]
            assert is_equal(comparison), unequal.T.to_string()


@pytest.mark.parametrize("pipeline", [relations, masked_objects])
def test_declared_columns_are_those_that_the_other_engine_declares(pipeline):
    text = cppipes.write(*pipeline())

    with open_engine("native", text) as native, open_engine("cellprofiler", text) as cellprofiler:
        assert native.features == cellprofiler.features


def test_an_ellipse_holds_the_pixels_within_its_equation():
    y, x = np.mgrid[:60, :80]

    for x_radius, y_radius in ((20, 11), (7, 25), (12, 12)):
        inside = ((x - 38) / x_radius) ** 2 + ((y - 29) / y_radius) ** 2
        found = in_ellipse((60, 80), 38, 29, x_radius, y_radius)
        clear = np.abs(inside - 1) > 1e-9  # a pixel on the line itself is decided by rounding
        np.testing.assert_array_equal(found[clear], inside[clear] <= 1)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (("RelateObjects", related("Nuclei", "Cells", "")[1] | {"Calculate child-parent distances?": "Both"}), "Both"),
        (cropped("Rectangle", "A", **{"Remove empty rows and columns?": "All"}), "empty rows and columns\\?: All"),
        (cropped("Rectangle", "A", **{"Left and right rectangle positions": "a,5"}), "is no range of pixels"),
        (cropped("Ellipse", "A", **{"Coordinates of ellipse center": "5"}), "is no pair of whole numbers"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(module, said):
    measured: Saved = ("MeasureImageIntensity", {"Select images to measure": "A, DNA"})

    with pytest.raises(CppipeError, match=said):
        open_engine("native", cppipes.write(NUCLEI, CELLS, module, measured))
