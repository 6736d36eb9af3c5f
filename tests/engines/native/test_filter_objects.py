"""FilterObjects against the running CellProfiler."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.engines import open_engine
from pipeline.engines.native.modules.filter_objects import off_the_border
from pipeline.engines.native.workspace import Objects
from pipeline.engines.parity import compare, is_equal
from pipeline.errors import CppipeError
from tests.engines import cppipes
from tests.engines.cppipes import CELLS, MORE, NUCLEI, Saved, measured_by_cellprofiler
from tests.engines.native.synthetic import blobs

ALL_NUCLEI: Saved = (
    NUCLEI[0],
    NUCLEI[1]
    | {
        "Name the primary objects to be identified": "AllNuclei",
        "Discard objects touching the border of the image?": "No",
        "Discard objects outside the diameter range?": "No",
    },
)
ALL_CELLS: Saved = (
    CELLS[0],
    CELLS[1] | {"Select the input objects": "AllNuclei", "Name the objects to be identified": "AllCells"},
)
#: with missing numbers, where a cell is no larger than its nucleus
RIMS: Saved = (
    "IdentifyTertiaryObjects",
    {
        "Select the larger identified objects": "AllCells",
        "Select the smaller identified objects": "AllNuclei",
        "Name the tertiary objects to be identified": "Rims",
        "Shrink smaller object prior to subtraction?": "No",
    },
)
SHAPES: Saved = (
    "MeasureObjectSizeShape",
    {"Select object sets to measure": "AllNuclei, AllCells, Rims", "Calculate the Zernike features?": "No"},
)
AFTER: list[Saved] = [
    (
        "MeasureObjectNeighbors",
        {"Select objects to measure": "Kept", "Select neighboring objects to measure": "Kept"},
    ),
    ("MeasureObjectIntensity", {"Select images to measure": "RNA", "Select objects to measure": "Kept, Others"}),
    ("MeasureObjectSizeShape", {"Select object sets to measure": "Kept", "Calculate the Zernike features?": "No"}),
]


def filtered(source: str, others: str, *more: tuple[str, str, str], **changes: str) -> list[Saved]:
    """Objects filtered to Kept, others numbered as they are to Others. `more`: measurements beside the first one, with
    their least and most.
    """
    relabelled = [f"Select additional object to relabel:{others}", "Name the relabeled objects:Others"]
    measurements = [
        line
        for feature, least, most in more
        for line in (
            f"Select the measurement to filter by:{feature}",
            "Filter using a minimum measurement value?:Yes",
            f"Minimum value:{least}",
            "Filter using a maximum measurement value?:Yes",
            f"Maximum value:{most}",
        )
    ]
    settings: dict[str, str | list[str]] = {
        "Select the objects to filter": source,
        "Name the output objects": "Kept",
        "Measurement count": str(1 + len(more)),
        "Additional object count": "1",
        MORE: measurements + relabelled,
    }
    return [ALL_NUCLEI, ALL_CELLS, RIMS, SHAPES, ("FilterObjects", settings | changes), *AFTER]


BORDER = {"Select the filtering mode": "Image or mask border"}
KEEPING = {"Keep removed objects as a separate set?": "Yes"}
AREA = {"Minimum value": "60", "Maximum value": "160"}
PIPELINES = {
    "border": filtered("AllNuclei", "AllCells", **BORDER),
    "border, removed objects kept": filtered("AllCells", "AllNuclei", **BORDER, **KEEPING),
    "border, of objects with missing numbers": filtered("Rims", "AllCells", **BORDER),
    "limits": filtered("AllNuclei", "AllCells", **AREA, **KEEPING),
    "limits of two": filtered("AllNuclei", "Rims", ("AreaShape_Solidity", "0.9", "0.97"), **AREA),
    "limits, of objects with missing numbers": filtered(
        "Rims",
        "AllNuclei",
        ("AreaShape_MinFeretDiameter", "2", "60"),
        ("AreaShape_MeanRadius", "1", "9"),
        **{"Maximum value": "400"},
    ),
    "the largest": filtered("AllNuclei", "AllCells", **{"Select the filtering method": "Maximal"}),
    "the smallest": filtered("AllCells", "AllNuclei", **{"Select the filtering method": "Minimal"}),
}


def sites() -> list[dict[str, np.ndarray]]:
    """One without objects, and one whose border is covered all round, which makes the background an object."""
    covered = np.full((60, 70), 60000, np.uint16)
    covered[20:30, 20:30], covered[40:45, 20:30] = 5, 90
    made = [{"DNA": image, "RNA": image} for image in (covered, np.full((60, 70), 9, np.uint16))]
    for seed, number, shape in ((3, 14, (90, 120)), (4, 40, (70, 90))):
        crowd = blobs(seed, shape, number)
        made.append({name: crowd[f"Orig{name}"] for name in ("DNA", "RNA")})
    return made


@pytest.mark.parametrize("name", PIPELINES)
def test_objects_are_filtered_as_by_cellprofiler(name):
    text = cppipes.write(*PIPELINES[name])
    with open_engine("native", text) as engine:
        for site, theirs in zip(sites(), measured_by_cellprofiler([(text, site) for site in sites()]), strict=True):
            assert not isinstance(theirs, str), theirs
            comparison = compare(engine.measure(site), theirs)
            unequal = comparison[comparison[["unequal_values", "missing", "unexpected"]].any(axis=1)]
            assert is_equal(comparison), unequal.T.to_string()


def test_declared_columns_are_those_that_the_other_engine_declares():
    text = cppipes.write(*PIPELINES["limits"])

    with open_engine("native", text) as native, open_engine("cellprofiler", text) as cellprofiler:
        assert native.features == cellprofiler.features


def test_objects_that_touch_the_border_of_a_mask_go():
    segmented = np.zeros((12, 12), np.int32)
    segmented[1:3, 1:3], segmented[5:7, 5:7], segmented[5:7, 8:10] = 1, 2, 3
    mask = np.zeros((12, 12), bool)
    mask[1:11, 2:10] = True

    # 3 lies on the mask's last column but one; 1 reaches beyond the mask
    assert sorted(off_the_border(Objects(segmented, segmented, segmented, mask))) == [2]
    assert sorted(off_the_border(Objects.of(segmented))) == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"Select the filtering mode": "Rules"}, "filtering mode: Rules"),
        ({"Select the filtering method": "Minimal per object"}, "filtering method: Minimal per object"),
        ({"Select the measurement to filter by": "AreaShape_Volume"}, "reads the measurement AreaShape_Volume"),
    ],
)
def test_what_cannot_be_filtered_by_is_refused_by_name(changes, said):
    with pytest.raises(CppipeError, match=said):
        open_engine("native", cppipes.write(*filtered("AllNuclei", "AllCells", **changes)))
