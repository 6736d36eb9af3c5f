"""Pipelines of other shapes than CPJUMP1's: run like CellProfiler runs them, or refused by name."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.cells import Schema, assemble_site
from pipeline.engines import cppipe, open_engine
from pipeline.errors import CppipeError, SiteFlagged
from tests.engines.cppipes import (
    CELLS,
    NUCLEI,
    Saved,
    ask_cellprofiler,
    header,
    images,
    module_text,
    plain_cellprofiler,
    write,
)

SAVE: Saved = ("SaveImages", {"Select the image to save": "Outlines"})
OUTLINES: Saved = (
    "OverlayOutlines",
    {
        "Select image on which to display outlines": "DNA",
        "Name the output image": "Outlines",
        "Select objects to display": "Cells",
    },
)
SIZE: Saved = ("MeasureObjectSizeShape", {"Select object sets to measure": "Nuclei, Cells"})
FILTER: Saved = (
    "FilterObjects",
    {
        "Select the objects to filter": "Nuclei",
        "Name the output objects": "BigNuclei",
        "Additional object count": "0",
        "Minimum value": "250",
        "Filter using a maximum measurement value?": "No",
    },
)
OTHER_MODULES = write(
    ("LoadData", {}),
    (
        "MeasureImageQuality",
        {"Calculate metrics for which images?": "Select...", "Select the images to measure": "DNA, RNA"},
    ),
    (
        "EnhanceOrSuppressFeatures",
        {"Select the input image": "RNA", "Name the output image": "Spots", "Feature size": "6"},
    ),
    ("Threshold", {"Select the input image": "Spots", "Name the output image": "Bright"}),
    ("MorphologicalSkeleton", {"Select the input image": "Bright", "Name the output image": "Skeleton"}),
    NUCLEI,
    CELLS,
    (
        "IdentifyTertiaryObjects",
        {
            "Select the larger identified objects": "Cells",
            "Select the smaller identified objects": "Nuclei",
            "Name the tertiary objects to be identified": "Cytoplasm",
        },
    ),
    SIZE,
    ("MeasureColocalization", {"Select images to measure": "DNA, RNA", "Method for Costes thresholding": "Fast"}),
    FILTER,
    (
        "RelateObjects",
        {
            "Parent objects": "Cells",
            "Child objects": "BigNuclei",
            "Calculate per-parent means for all child measurements?": "Yes",
        },
    ),
    (
        "MaskImage",
        {"Select the input image": "RNA", "Name the output image": "CellRNA", "Select object for mask": "Cells"},
    ),
    ("MeasureImageIntensity", {"Select images to measure": "DNA, CellRNA"}),
    ("MeasureObjectSkeleton", {"Select the seed objects": "Nuclei", "Select the skeletonized image": "Skeleton"}),
    ("MeasureGranularity", {"Select images to measure": "CellRNA", "Range of the granular spectrum": "3"}),
    (
        "CalculateMath",
        {
            "Name the output measurement": "Ratio",
            "Operation": "Divide",
            "Select the first operand measurement": "Count_BigNuclei",
            "Select the second operand measurement": "Count_Nuclei",
        },
    ),
    ("FlagImage", {"Which measurement?": "Count_Nuclei", "Name the flag": "Few", "Minimum value": "3"}),
    OUTLINES,
    SAVE,
    ("ExportToSpreadsheet", {}),
)


@pytest.fixture(scope="module")
def other_modules():
    with open_engine("cellprofiler", OTHER_MODULES) as engine:
        yield engine


def test_modules_of_many_kinds_give_what_cellprofiler_gives_without_the_engine(other_modules):
    given = images(seed=1)
    expected = plain_cellprofiler(OTHER_MODULES, given, skip="LoadData SaveImages ExportToSpreadsheet")

    measured = other_modules.measure(given)

    assert set(measured.objects) == {"Nuclei", "Cells", "Cytoplasm", "BigNuclei"}
    assert len(measured.objects["Nuclei"].values) > 5
    assert 0 < len(measured.objects["BigNuclei"].values) < len(measured.objects["Nuclei"].values)
    for name, objects in measured.objects.items():
        np.testing.assert_array_equal(measured.labels[name], expected[f"labels/{name}"])
        assert set(objects.features) == {key.split("/")[1] for key in expected if key.startswith(f"{name}/")}
        for feature in objects.features:
            np.testing.assert_array_equal(objects.column(feature), expected[f"{name}/{feature}"], err_msg=feature)
    numbers = {key.split("/")[1] for key in expected if key.startswith("Image/") and expected[key].dtype.kind != "U"}
    assert set(measured.image) == numbers - {"Group_Number", "Group_Index", "Group_Length"}
    for feature, value in measured.image.items():
        np.testing.assert_array_equal(value, expected[f"Image/{feature}"], err_msg=feature)


def test_what_is_measured_is_what_was_announced(other_modules):
    measured = other_modules.measure(images(seed=2))

    assert {name: objects.features for name, objects in measured.objects.items()} == other_modules.features


def test_a_site_does_not_depend_on_the_sites_before_it(other_modules):
    first, second = images(seed=3), images(seed=4)

    alone = other_modules.measure(first)
    other_modules.measure(second)
    again = other_modules.measure(first)

    for name, objects in alone.objects.items():
        assert objects.values.tobytes() == again.objects[name].values.tobytes()
        np.testing.assert_array_equal(alone.labels[name], again.labels[name])
    assert alone.image == again.image


def test_a_module_whose_image_is_only_saved_is_left_out_and_one_whose_image_is_measured_is_not(other_modules):
    assert set(other_modules.left_out) == {
        "1 LoadData",
        "19 OverlayOutlines",
        "20 SaveImages",
        "21 ExportToSpreadsheet",
    }
    assert other_modules.left_out["19 OverlayOutlines"] == "nothing reads Outlines"
    assert other_modules.inputs == ("DNA", "RNA")


def test_all_loaded_images_are_those_that_the_pipeline_reads():
    text = write(("LoadData", {}), ("MeasureImageQuality", {}), NUCLEI, CELLS)

    with open_engine("cellprofiler", text) as engine:
        measured = engine.measure(images(seed=5))

    assert {"ImageQuality_FocusScore_DNA", "ImageQuality_FocusScore_RNA"} <= set(measured.image)
    # The scale of the file's pixel type, which Costes' method in MeasureColocalization uses as well.
    assert measured.image["ImageQuality_Scaling_DNA"] == 65535


def test_all_loaded_images_are_those_that_names_and_types_names():
    text = write(("NamesAndTypes", {"Name to assign these images": ["ER", "ER"]}), ("MeasureImageQuality", {}), NUCLEI)

    with open_engine("cellprofiler", text) as engine:
        assert engine.inputs == ("DNA", "ER")


def test_settings_that_are_hidden_ask_for_no_image():
    no_second = (
        "ImageMath",
        {"Operation": "Invert", "Select the image": ["DNA", "Ghost"], "Name the output image": "Dark"},
    )
    text = write(no_second, ("MeasureImageIntensity", {"Select images to measure": "Dark"}))

    with open_engine("cellprofiler", text) as engine:
        assert engine.inputs == ("DNA",)


def test_an_old_file_is_upgraded_as_cellprofiler_upgrades_it():
    """Revision 4 of MeasureImageIntensity's predecessors and a renamed module are taken over."""
    text = write(
        (
            "MeasureColocalization",
            {"Select images to measure": "DNA, RNA", "Select where to measure correlation": "Across entire image"},
        )
    ).replace("MeasureColocalization:[", "MeasureCorrelation:[")

    with open_engine("cellprofiler", text) as engine:
        measured = engine.measure(images(seed=6))

    assert "Correlation_Correlation_DNA_RNA" in measured.image


def test_a_site_that_the_pipeline_flags_to_skip_is_said_by_name_and_the_process_goes_on():
    text = write(
        NUCLEI,
        (
            "FlagImage",
            {"Which measurement?": "Count_Nuclei", "Minimum value": "1000", "Skip image set if flagged?": "Yes"},
        ),
        CELLS,
    )

    with open_engine("cellprofiler", text) as engine:
        for _ in range(2):
            with pytest.raises(SiteFlagged, match=r"2 FlagImage.*skip") as caught:
                engine.measure(images(seed=7))
            process = engine._child
        assert engine._child is process is not None

    assert (caught.value.kind, caught.value.retry) == ("flagged", False)


def flagged_by_rules(skip: str, source: str = "Rules", size: Saved = SIZE) -> str:
    flag = {"Flag is based on": source, "Rules file name": "qc.txt", "Class number": "1"}
    return write(NUCLEI, CELLS, ("FlagImage", flag | {"Skip image set if flagged?": skip}), size)


MANY = "IF (Image_Count_Nuclei > 5, [0.75, -0.75], [-0.9, 0.9])\n"


def test_a_site_is_flagged_by_the_rules_that_are_given():
    given = images(seed=5)
    with open_engine("cellprofiler", flagged_by_rules("Yes"), rules={"qc.txt": MANY}) as engine:
        assert engine.notes == ()
        given = {name: given[name] for name in engine.inputs}
        assert engine.measure({name: np.zeros_like(one) for name, one in given.items()}).image["Metadata_QCFlag"] == 0
        with pytest.raises(SiteFlagged, match="3 FlagImage"):
            engine.measure(given)


@pytest.mark.slow
def test_both_engines_flag_by_the_same_rules():
    """Of several rules, of three classes, of measurements that no site has a number for."""
    rules = [
        MANY,
        MANY.replace(" > ", " <= ") + "IF (Image_Threshold_FinalThreshold_Nuclei >= 0.02, [1, -0.2], [0.1, 0.3])\n",
        "a heading\nIF (Image_Count_Cells<500, [0.1,0.7,0.3], [0.5,0.2,0.1])",
    ]
    given = images(seed=5)
    for text, number in ((rules[0], "1"), (rules[1], "1"), (rules[1], "2"), (rules[2], "1,3"), (rules[2], "2")):
        pipeline = flagged_by_rules("No").replace("Class number:1", f"Class number:{number}")
        with open_engine("native", pipeline, rules={"qc.txt": text}) as engine:
            ours = engine.measure({name: given[name] for name in engine.inputs}).image["Metadata_QCFlag"]
        with open_engine("cellprofiler", pipeline, rules={"qc.txt": text}) as engine:
            assert engine.measure({name: given[name] for name in engine.inputs}).image["Metadata_QCFlag"] == ours
    for text, why in (("nothing", "holds no rules of images"), (MANY.replace("Nuclei", "Mice"), "Count_Mice")):
        with pytest.raises(CppipeError, match=why):
            open_engine("native", flagged_by_rules("No"), rules={"qc.txt": text})


@pytest.mark.parametrize("kind", ["cellprofiler", "native"])
def test_a_flag_whose_rules_are_not_given_is_left_out_and_said_unless_it_skips_sites(kind):
    with open_engine(kind, flagged_by_rules("No")) as engine:
        assert "the rules file 'qc.txt', which is not given" in engine.left_out["3 FlagImage"]
        [note] = engine.notes
        assert note.startswith("Module 3 FlagImage is left out: it flags by the rules file 'qc.txt'")
    with pytest.raises(CppipeError, match=r"Module 3 FlagImage cannot be run: it skips sites by the rules .*qc.txt"):
        open_engine(kind, flagged_by_rules("Yes"))
    with pytest.raises(CppipeError, match=r"it skips sites by a classifier .*, which is a program"):
        open_engine(kind, flagged_by_rules("Yes", "Classifier"))
    with pytest.raises(CppipeError, match=r"no FlagImage .* reads rules named QC.txt; the names in its .* are qc.txt"):
        open_engine(kind, flagged_by_rules("No"), rules={"QC.txt": MANY})


def test_a_file_that_is_named_and_not_used_is_no_reason_to_refuse(tmp_path):
    flag = {"Which measurement?": "Count_Nuclei", "Rules file name": "qc.txt", "Skip image set if flagged?": "Yes"}

    assert refusals([write(NUCLEI, ("FlagImage", flag))], tmp_path) == [None]


def test_rules_that_cannot_be_followed_are_refused_by_name(tmp_path):
    expected = {"nothing": "No rules found", MANY.replace("Count_Nuclei", "Count_Mice"): "Count_Mice"}
    texts = [flagged_by_rules("No")] * 2

    answers = refusals(texts, tmp_path, *({"rules": {"qc.txt": rules}} for rules in expected))

    for answer, why in zip(answers, expected.values(), strict=True):
        assert re.match(f"Module 3 FlagImage: .*{why}", answer or "")


def test_a_file_of_cellprofiler_5_is_run_where_its_settings_are_those_of_4_2_8_and_else_refused_by_name(tmp_path):
    text = write(NUCLEI, CELLS, SIZE)
    changes = (
        ("GitHash:", "GitHash:", None),
        ("variable_revision_number:15", "variable_revision_number:16", "Module 1 .* of revision 16, and .* up to 15"),
        ("Discard objects touching", "Discard the objects at", "Module 1 .* has a setting 'Discard the objects at "),
        (":Propagation", ":Neural", "Module 2 .*: '.*: Neural' is no choice of CellProfiler 4.2.8"),
        ("    Select object sets", "    New:1\n    Select object sets", "Module 3 .* has a setting 'New'"),
    )

    answers = refusals(
        [text.replace(old, new, 1) for old, new, _ in changes], tmp_path, *[{"is_newer": True}] * len(changes)
    )

    assert answers[0] is None
    for answer, (_, _, why) in zip(answers[1:], changes[1:], strict=True):
        assert re.match(why, answer or "")


SEVERAL, FILE, PERSON = "it combines several sites", "it needs a file", "it needs a person at the screen"
ALONE: list[tuple[str, dict[str, str | list[str]], str]] = [
    ("TrackObjects", {"Select the objects to track": "Nuclei"}, SEVERAL),
    ("MakeProjection", {"Select the input image": "DNA"}, SEVERAL),
    ("Tile", {"Select an input image": "DNA", "Tile assembly method": "Across cycles"}, SEVERAL),
    ("RescaleIntensity", {"Method to calculate the minimum intensity": "Minimum of all images"}, SEVERAL),
    ("RunImageJMacro", {}, "it needs ImageJ"),
    ("UntangleWorms", {}, "it needs a training file"),
    ("FilterObjects", {"Select the filtering mode": "Rules"}, FILE),
    ("FilterObjects", {"Select the filtering mode": "Classifiers"}, FILE),
    ("ClassifyObjects", {"Make classification decision based on": "Classifier Model"}, FILE),
    ("MatchTemplate", {}, FILE),
    ("EditObjectsManually", {}, PERSON),
    ("IdentifyObjectsManually", {}, PERSON),
    ("Crop", {"Select the cropping method": "Mouse"}, PERSON),
    ("DefineGrid", {"Define a grid for which cycle?": "Once"}, "it takes over what it found in another site"),
    ("MeasureObjectOverlap", {"Calculate earth mover's distance?": "Yes"}, "it needs scikit-learn"),
]


def refusals(texts: list[str], folder: Path, *more: dict[str, object]) -> list[str | None]:
    """What the engine answers to pipelines that pass our reader; `more`: what it is told of each beside the modules."""
    return refused([cppipe.read(text).modules for text in texts], folder, *more)


def refused(pipelines: Sequence[Sequence[cppipe.Module]], folder: Path, *more: dict[str, object]) -> list[str | None]:
    """The same of modules that are read, asked in one process to be quick."""
    told = [
        {"saved": [asdict(module) for module in modules], **said}
        for modules, said in zip(pipelines, more or [{}] * len(pipelines), strict=True)
    ]
    (folder / "pipelines.json").write_text(json.dumps(told))
    ask_cellprofiler("refusals", folder / "pipelines.json", folder / "answers.json")
    return json.loads((folder / "answers.json").read_text())


def test_what_cannot_run_one_site_at_a_time_is_refused_by_name(tmp_path):
    answers = refusals([write(NUCLEI, CELLS, (name, settings)) for name, settings, _ in ALONE], tmp_path)

    for (name, _, reason), answer in zip(ALONE, answers, strict=True):
        assert answer is not None, name
        assert answer.startswith(f"Module 3 {name} cannot be run: {reason}"), answer
        assert "Disable it in the pipeline" in answer


def test_a_pipeline_that_does_not_hang_together_is_refused_with_the_reason(tmp_path):
    expected = {
        write(NUCLEI, CELLS).replace("IdentifySecondaryObjects:[", "RunCellpose:["): (
            r"Module 2 RunCellpose: .*Plug-ins cannot be used"
        ),
        write(NUCLEI, CELLS).replace("    Use advanced settings?:Yes\n", ""): (
            r"Module 1 IdentifyPrimaryObjects: CellProfiler 4\.2\.8 cannot take over its settings of revision 15"
        ),
        write(CELLS): r"Module 1 IdentifySecondaryObjects reads the objects 'Nuclei', and no enabled module before it",
        write(("Smooth", {"Select the input image": "DNA"}), SAVE): r"No module of this pipeline measures anything",
        write(("LoadData", {}), ("MeasureImageQuality", {})): (
            r"Module 2 MeasureImageQuality measures all loaded images, and nothing in the pipeline says which"
        ),
    }

    for answer, pattern in zip(refusals(list(expected), tmp_path), expected.values(), strict=True):
        assert re.match(pattern, answer or "")


def test_a_refusal_reaches_the_one_who_opens_the_engine_and_leaves_no_process():
    module: Saved = (
        "CorrectIlluminationCalculate",
        {
            "Select the input image": "DNA",
            "Calculate function for each image individually, or based on all images?": "All: Across cycles",
        },
    )
    before = set(psutil.Process().children())

    with pytest.raises(CppipeError) as caught:
        open_engine("cellprofiler", write(NUCLEI, module))

    assert str(caught.value) == (
        "Module 2 CorrectIlluminationCalculate cannot be run: it combines several sites, and each site is measured "
        "alone. Give the illumination function as an image, or have the module compute one for each image."
    )
    assert set(psutil.Process().children()) == before


def test_a_disabled_module_is_as_if_it_were_not_there():
    text = write(("TrackObjects", {}), NUCLEI).replace("enabled:True", "enabled:False", 1)

    with open_engine("cellprofiler", text) as engine:
        assert engine.left_out == {"1 TrackObjects": "disabled in the pipeline"}
        assert list(engine.measure({"DNA": images(seed=8)["DNA"]}).seconds) == ["2 IdentifyPrimaryObjects"]


def test_a_pipeline_that_measures_nothing_is_refused():
    with pytest.raises(CppipeError, match="No module of this pipeline measures anything"):
        open_engine("cellprofiler", write(("Smooth", {"Select the input image": "DNA"}), SAVE))


def test_what_filter_objects_relabels_is_declared_as_it_is_measured():
    """As in the pipelines of JUMP and of Nature Protocols 2023: a whole cell for each nucleus that stays."""
    names = {"Select the objects to filter": "Nuclei", "Name the output objects": "Inner"}
    additional = ["    Select additional object to relabel:Cells\n", "    Name the relabeled objects:InnerCells\n"]
    mode = {"Select the filtering mode": "Image or mask border", "Additional object count": "1"}
    text = write(NUCLEI, CELLS, ("FilterObjects", {**names, **mode}))
    last = "    Allow fuzzy feature matching?:No\n"
    text = text.replace(last, "".join(additional) + last)
    text += "\n" + module_text(
        4,
        "IdentifyTertiaryObjects",
        {
            "Select the larger identified objects": "InnerCells",
            "Select the smaller identified objects": "Inner",
            "Name the tertiary objects to be identified": "Cytoplasm",
        },
    )
    text = text.replace("ModuleCount:3", "ModuleCount:4")
    with open_engine("cellprofiler", text) as engine:
        site = engine.measure({name: image for name, image in images(3).items() if name in engine.inputs})
        for name, table in site.objects.items():
            assert set(table.features) == set(engine.features[name]), name
        schema = Schema.from_features(engine.features, ("Inner", "InnerCells", "Cytoplasm"), 64)
    cells = assemble_site(1, site, schema)
    assert cells.n_cells == site.image["Count_Inner"] > 0


def test_images_of_an_old_pipeline_keep_the_order_of_the_file():
    """CellProfiler's upgrade of revision 3 passes their names through a set, whose order hangs on the hash seed."""
    names = ["RNA", "DNA", "ER", "AGP", "Mito", "Brightfield"]
    settings = [("Hidden", str(len(names))), ("Hidden", "1"), *(("Select an image to measure", name) for name in names)]
    settings += [("Set threshold as percentage of maximum intensity for the images", "15.0")]
    settings += [("Select where to measure correlation", "Within objects"), ("Select an object to measure", "Nuclei")]
    settings += [(f"Calculate metric {number}?", "Yes") for number in range(6)]
    text = write(NUCLEI).rstrip("\n").replace("ModuleCount:1", "ModuleCount:2")
    text += "\n\n" + header(2, "MeasureColocalization", 3)
    text += "".join(f"    {label}:{value}\n" for label, value in settings)
    with open_engine("cellprofiler", text) as engine:
        pairs = [
            name.split("_")[2:] for name in engine.features["Nuclei"] if name.startswith("Correlation_Correlation_")
        ]
    assert sorted(pairs) == sorted([one, other] for at, one in enumerate(names) for other in names[at + 1 :])
