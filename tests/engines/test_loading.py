"""What the input modules of a pipeline do to pixels is kept, or refused by name; never dropped in silence."""

from __future__ import annotations

import pytest

from pipeline.engines import cppipe, loading, open_engine
from pipeline.errors import CppipeError
from tests.engines.cppipes import HEAD, NUCLEI, header, module_text


def names_and_types(*images: dict[str, str], method: str = "Images matching rules", **head: str) -> str:
    """The module as CellProfiler 4.2 writes it (revision 8), with a group of settings for each image."""
    settings = {
        "Assign a name to": method,
        "Select the image type": "Grayscale image",
        "Name to assign these images": "DNA",
        "Match metadata": "[]",
        "Image set matching method": "Order",
        "Set intensity range from": "Image metadata",
        "Assignments count": str(len(images)),
        "Single images count": "0",
        "Maximum intensity": "255.0",
        "Process as 3D?": "No",
    } | {label.replace("_", " "): value for label, value in head.items()}
    if "Process as 3D" in settings:
        settings["Process as 3D?"] = settings.pop("Process as 3D")
    lines = [f"    {label}:{value}\n" for label, value in settings.items()]
    for image in images:
        group = {
            "Select the rule criteria": 'and (file does contain "-ch1")',
            "Name to assign these images": "DNA",
            "Name to assign these objects": "Cell",
            "Select the image type": "Grayscale image",
            "Set intensity range from": "Image metadata",
            "Maximum intensity": "255.0",
        } | image
        lines += [f"    {label}:{value}\n" for label, value in group.items()]
    return header(1, "NamesAndTypes", 8) + "".join(lines)


def load_data(rescale: str | None = "Yes", rows: str = "No", revision: int = 6) -> str:
    asked = "" if rescale is None else f"    Rescale intensities?:{rescale}\n"
    return (
        f"{header(1, 'LoadData', revision)}    Load images based on this data?:Yes\n"
        f"    Process just a range of rows?:{rows}\n    Rows to process:3457,6912\n{asked}"
    )


def pipeline_of(*modules: str) -> str:
    return f"{HEAD}ModuleCount:{len(modules)}\nHasImagePlaneDetails:False\n\n" + "\n".join(modules)


def scales(module: str, *names: str) -> dict[str, object]:
    return loading.full_scales(cppipe.read(pipeline_of(module)), names)


RANGE, MAXIMUM, KIND = "Set intensity range from", "Maximum intensity", "Select the image type"
NAME = "Name to assign these images"


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (load_data("Yes"), "metadata"),
        # CellProfiler's help: "ignore the image metadata and rescale by dividing by 255 or 65535"
        (load_data("No"), "bit depth"),
        (load_data(None, revision=4), "metadata"),
        (names_and_types({}), "metadata"),
        (names_and_types({RANGE: "Image bit-depth"}), "bit depth"),
        (names_and_types({RANGE: "Manual", MAXIMUM: "4095"}), 4095.0),
        (names_and_types({MAXIMUM: "4095"}), "metadata"),
        (names_and_types(method="All images", Set_intensity_range_from="Manual", Maximum_intensity="1023.0"), 1023.0),
    ],
)
def test_an_image_is_divided_by_what_its_input_module_says(module, expected):
    assert scales(module, "DNA") == {"DNA": expected}


def test_each_image_of_names_and_types_has_its_own_range():
    module = names_and_types(
        {NAME: "DNA", RANGE: "Manual", MAXIMUM: "4095.0"},
        {NAME: "RNA", RANGE: "Image bit-depth"},
        {NAME: "IllumDNA", KIND: "Illumination function", RANGE: "Manual", MAXIMUM: "3"},
    )
    assert scales(module, "DNA", "RNA", "AGP") == {"DNA": 4095.0, "RNA": "bit depth", "AGP": "metadata"}


def test_what_is_disabled_says_nothing():
    assert scales(load_data("No").replace("enabled:True", "enabled:False"), "DNA") == {"DNA": "metadata"}


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (names_and_types({RANGE: "Manual", MAXIMUM: "0"}), "DNA is to be divided by '0'"),
        (names_and_types({RANGE: "Manual", MAXIMUM: "many"}), "DNA is to be divided by 'many'"),
        (names_and_types({RANGE: "Camera"}), "Set intensity range from:Camera is not known"),
        (load_data("Perhaps"), r"Rescale intensities\?:Perhaps is not known"),
        (load_data("Yes") + "    Rescale intensities?:No\n", "answers Rescale intensities. differently"),
    ],
)
def test_a_range_that_is_not_understood_is_refused_by_module_and_setting(module, reason):
    with pytest.raises(CppipeError, match=rf"Module 1 (NamesAndTypes|LoadData).* {reason}|Module 1 .*{reason}"):
        scales(module, "DNA")


@pytest.mark.parametrize("kind", ["native", "cellprofiler"])
@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (names_and_types({KIND: "Color image"}), "loads DNA as 'Color image'"),
        (names_and_types({KIND: "Binary mask"}), "loads DNA as 'Binary mask'"),
        (names_and_types({}, Process_as_3D="Yes"), "images are flat here, not volumes"),
    ],
)
def test_both_engines_refuse_what_grey_planes_cannot_follow(kind, module, reason):
    with pytest.raises(CppipeError, match=f"Module 1 NamesAndTypes .*{reason}"):
        open_engine(kind, pipeline_of(module, module_text(2, *NUCLEI)))


def test_a_colour_image_that_nothing_reads_is_no_matter():
    module = names_and_types({}, {NAME: "Picture", KIND: "Color image"})
    assert open_engine("native", pipeline_of(module, module_text(2, *NUCLEI))).inputs == ("DNA",)


@pytest.mark.parametrize("kind", ["native", "cellprofiler"])
def test_both_engines_say_what_of_an_input_module_is_kept_and_what_is_not(kind):
    for module, said in {
        load_data("Yes"): "reads files; images are given in memory",
        load_data("No"): "as it says, pixels are divided by the maximum of their type, whatever a file names",
        load_data(rows="Yes"): "its range of rows (3457,6912) is not kept: all that is planned is measured",
        names_and_types({RANGE: "Manual", MAXIMUM: "4095.0"}): "as it says, DNA are divided by 4095",
    }.items():
        with open_engine(kind, pipeline_of(module, module_text(2, *NUCLEI))) as engine:
            (reason,) = engine.left_out.values()
            assert reason.startswith("reads files")
            assert reason.endswith(said)


def test_costes_thresholds_are_refused_where_the_cameras_range_is_not_known():
    costes = header(2, "MeasureColocalization", 6) + (
        "    Calculate the Manders coefficients using Costes auto threshold?:Yes\n"
    )
    manual = cppipe.read(pipeline_of(names_and_types({RANGE: "Manual", MAXIMUM: "4095"}), costes))
    with pytest.raises(CppipeError, match=r"Module 2 MeasureColocalization cannot be run: Costes.* \(DNA\)"):
        loading.check(manual, ["DNA"])
    usual = cppipe.read(pipeline_of(load_data("Yes"), costes))
    loading.check(usual, ["DNA"])
    assert loading.full_scales(usual, ["DNA"]) == {"DNA": "bit depth only"}
