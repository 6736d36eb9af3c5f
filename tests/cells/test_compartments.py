"""Which object sets make one cell, by the relations of pipelines as people have them."""

from __future__ import annotations

import pytest

from pipeline.cells import Schema, compartments_of
from pipeline.engines import cppipe

LOCATED = ("Location_Center_X", "Number_Object_Number")


def sets(*lines: str) -> dict[str, tuple[str, ...]]:
    """Each "Name features < Parent Parent": a set of so many features, and what it names as its parents."""
    found = {}
    for line in lines:
        own, _, parents = line.partition("<")
        name, count = own.split()
        measured = tuple(f"AreaShape_Zernike_{k}_0" for k in range(int(count)))
        found[name] = (*measured, *LOCATED, *(f"Parent_{parent}" for parent in parents.split()))
    return found


CASES = {
    # the three of nearly all pipelines, in whatever order they are made
    "usual": (("Cytoplasm 3 < Cells Nuclei", "Cells 3 < Nuclei", "Nuclei 3"), {}, "Nuclei Cells Cytoplasm"),
    # JUMP v3, Nature Protocols 2023: cells and nuclei come from filters, what they come from is only located
    "filtered": (
        (
            *("NucleiIncludingEdges 0", "CellsIncludingEdges 0 < NucleiIncludingEdges"),
            *("Nuclei 3 < NucleiIncludingEdges", "Cells 3 < CellsIncludingEdges", "Cytoplasm 3 < Cells Nuclei"),
        ),
        {"CellsIncludingEdges": "NucleiIncludingEdges"},
        "Nuclei Cells Cytoplasm",
    ),
    # other words, and a ring that is subtracted from dilated nuclei
    "ring": (
        ("Nuclei 9", "DilatedNuclei 9 < Nuclei", "TranslocatedNuclei 9 < DilatedNuclei Nuclei"),
        {},
        "Nuclei DilatedNuclei TranslocatedNuclei",
    ),
    # neurons: two secondary sets, one on the other, and what lies between
    "neurons": (
        (
            *("PrelimNuclei 1", "Nuclei 9 < PrelimNuclei", "CellBodies 9 < Nuclei"),
            *("CellBodiesPlusNeurites 9 < CellBodies", "Neurites 9 < CellBodies CellBodiesPlusNeurites"),
            "Cytoplasm 9 < CellBodies Nuclei",
        ),
        {"CellBodies": "Nuclei", "CellBodiesPlusNeurites": "CellBodies"},
        "Nuclei CellBodies CellBodiesPlusNeurites Cytoplasm Neurites",
    ),
    # objects that lie in cells, some of them related to two sets that have nothing to do with each other
    "droplets": (
        (
            *("Cores 9", "Bodies 9 < Cores", "Rims 9 < Bodies Cores", "AllDroplets 5"),
            *("Large 20 < AllDroplets Bodies", "Small 20 < Bodies"),
        ),
        {"Bodies": "Cores"},
        "Cores Bodies Rims",
    ),
    # no set between others: the largest with what it comes from, and what is grown from these
    "no cytoplasm": (
        ("Stripes 1 < Cells", "Nuclei 5", "Cells 12 < Nuclei", "Tubes 6 < Cells"),
        {"Cells": "Nuclei"},
        "Nuclei Cells",
    ),
    "with what is grown": (
        ("Nuclei 12", "Cells 5 < Nuclei", "Spots 5 < Cells"),
        {"Cells": "Nuclei"},
        "Nuclei Cells",
    ),
    "alone": (("Worms 4", "Eggs 2"), {}, "Worms"),
    "only located": (("Dots 0",), {}, ""),
}


@pytest.mark.parametrize("case", CASES)
def test_the_sets_that_make_one_cell_follow_from_the_relations(case):
    lines, built_on, expected = CASES[case]

    for ordered in (lines, lines[::-1]):
        found = compartments_of(sets(*ordered), built_on)
        assert found == tuple(expected.split())
        if found:
            assert Schema.from_features(sets(*ordered), found, 8).compartments == found


@pytest.mark.real_data
def test_secondary_objects_of_a_public_pipeline_are_read_with_what_they_are_grown_from(shared_data):
    path = shared_data / "pipelines/analysis/NeuroPainting_NCP_PILOT_3B--analysis_without_batchfile.cppipe"

    found = cppipe.secondary_objects(cppipe.read(cppipe.read_text(path)))

    assert found == {"CellBodies": "Nuclei", "CellBodiesPlusNeurites": "CellBodies"}
