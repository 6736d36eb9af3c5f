"""Reading `.cppipe` files: the same settings as CellProfiler reads, and never a line of them run."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engines import cppipe, open_engine
from pipeline.errors import CppipeError
from tests.engines.cppipes import CELLS, HEAD, NUCLEI, ask_cellprofiler, header, write


def one_module(attributes: str, settings: str = "    Operation:Add\n") -> str:
    return f"{HEAD}ModuleCount:1\n\nImageMath:[{attributes}]\n{settings}"


PLAIN = "variable_revision_number:5|enabled:True"


def test_a_pipeline_keeps_the_order_the_numbers_and_the_repeated_settings_of_the_file():
    text = write(("ImageMath", {"Select the image": ["First", "Second"], "Operation": "Subtract"}), NUCLEI, CELLS)

    pipeline = cppipe.read(text)

    assert (pipeline.version, pipeline.date_revision) == (5, 428)
    assert [str(module) for module in pipeline.modules] == [
        "1 ImageMath",
        "2 IdentifyPrimaryObjects",
        "3 IdentifySecondaryObjects",
    ]
    assert pipeline.modules[0].variable_revision == 5
    assert pipeline.modules[0].values("Select the image") == ("First", "Second")
    assert pipeline.modules[0].value("Select the image") == "First"
    assert pipeline.modules[0].settings[0] == ("Operation", "Subtract")


def test_a_disabled_module_is_there_but_not_among_the_enabled():
    pipeline = cppipe.read(write(NUCLEI, CELLS).replace("enabled:True", "enabled:False", 1))

    assert [module.name for module in pipeline.modules] == ["IdentifyPrimaryObjects", "IdentifySecondaryObjects"]
    assert [module.name for module in pipeline.enabled] == ["IdentifySecondaryObjects"]


def test_a_setting_that_is_not_there_is_an_error_that_names_the_module():
    module = cppipe.read(write(NUCLEI)).modules[0]

    with pytest.raises(CppipeError, match="1 IdentifyPrimaryObjects has no setting 'Colour'"):
        module.value("Colour")


@pytest.mark.real_data
def test_the_pipelines_of_cpjump1_are_read_whole(shared_data):
    folder = shared_data / "gallery/cpg0000-jump-pilot/source_4/workspace/pipelines/2020_11_04_CPJUMP1"

    analysis = cppipe.read((folder / "CPJUMP1_analysis_without_batchfile_406.cppipe").read_text())
    illumination = cppipe.read((folder / "illum_without_batchfile.cppipe").read_text())

    assert len(analysis.modules) == 33
    assert len([module for module in analysis.modules if not module.enabled]) == 4
    assert analysis.modules[1].values("Select the illumination function")[:2] == ("IllumDNA", "IllumER")
    assert len(analysis.modules[1].values("Select the input image")) == 8
    assert len(illumination.modules) == 34


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("CellProfiler Pipeline", "Some Pipeline", "no CellProfiler pipeline"),
        ("ModuleCount:2", "ModuleCount:two", "ModuleCount:two, which is no whole number"),
        ("Version:5", "Version:7", "file version 7"),
        ("IdentifyPrimaryObjects:[", "os.system('x'):[", "no module header"),
        ("|variable_revision_number:15", "", "1 IdentifyPrimaryObjects: the header needs variable_revision_number"),
        ("enabled:True", "enabled:1", "1 IdentifyPrimaryObjects: the header needs .*enabled, True or False"),
        ("    Fill holes in identified objects?:", "    Fill holes", "is no setting"),
    ],
)
def test_what_is_no_whole_pipeline_is_refused_with_the_reason(old, new, what):
    text = write(NUCLEI, CELLS)
    assert old in text

    with pytest.raises(CppipeError, match=what):
        cppipe.read(text.replace(old, new, 1))


def names_and_notes(text: str) -> tuple[list[str], list[str]]:
    pipeline = cppipe.read(text)
    return [module.name for module in pipeline.modules], list(pipeline.notes)


def test_a_count_that_differs_from_the_modules_is_read_as_cellprofiler_does_and_said(tmp_path):
    text = write(NUCLEI, CELLS)
    both = ["IdentifyPrimaryObjects", "IdentifySecondaryObjects"]
    assert names_and_notes(text) == (both, [])

    names, [note] = names_and_notes(text.replace("ModuleCount:2", "ModuleCount:24"))
    assert names == both
    assert "says ModuleCount:24, and the file holds 2 modules" in note
    names, [note] = names_and_notes(text.replace("ModuleCount:2", "ModuleCount:1"))
    assert names == both[:1]
    assert "2 IdentifySecondaryObjects stands in the pipeline file after its 1 modules (ModuleCount:1)" in note
    names, [note] = names_and_notes(text + "\n\nSaved by hand: by me\nand you\n")
    assert names == both
    assert "'Saved by hand: by me' stands in the pipeline file after its 2 modules" in note
    assert names_and_notes(text.replace("ModuleCount:2\n", "")) == (both, [])
    with pytest.raises(CppipeError, match="holds no modules: the file is cut short"):
        cppipe.read(text.partition("\n\n")[0])


def test_a_list_of_image_files_after_the_modules_is_nothing_odd():
    text = write(NUCLEI).replace("HasImagePlaneDetails:False", "HasImagePlaneDetails:True")

    assert cppipe.read(text + '\n"Version":"1","PlaneCount":"1"\n"file:/a.tif"\n').notes == ()


def test_a_file_of_a_newer_cellprofiler_is_read_and_said():
    text = write(NUCLEI).replace("DateRevision:428", "DateRevision:500")

    [note] = cppipe.read(text).notes
    assert "newer CellProfiler (DateRevision:500) than 4.2.8" in note
    for older in ("428", "318", "20160503102415"):
        assert cppipe.read(text.replace("DateRevision:500", f"DateRevision:{older}")).notes == ()


def test_a_first_line_that_a_mail_server_has_rewritten_and_a_name_with_an_underscore_are_read():
    line = "CellProfiler Pipeline: https://urldefense.proofpoint.com/v2/url?u=http-3A__www.cellprofiler.org&d=DwI&c=x"
    text = write(NUCLEI).replace(cppipe.COOKIE, line).replace("IdentifyPrimaryObjects:[", "Filter_StringMatch:[")

    assert names_and_notes(text) == (["Filter_StringMatch"], [])


@pytest.mark.parametrize("text", ["", '{"has_image_plane_details": false}', "\x89HDF"])
def test_other_files_are_refused(text):
    with pytest.raises(CppipeError, match="no CellProfiler pipeline"):
        cppipe.read(text)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "an empty file"),
        (b"\n \n", "an empty file"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a page of HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a git-lfs pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), r"an HDF5 file, such as a project \(.cpproj\)"),
        (b"PK\x03\x04" + bytes(50), "it should begin with"),
        (b"one line", "it should begin with .* and begins with 'one line'"),
    ],
)
def test_a_file_that_is_no_pipeline_is_refused_by_its_name(tmp_path, data, what):
    path = tmp_path / "analysis.cppipe"
    path.write_bytes(data)

    for place in (path, str(path)):
        with pytest.raises(CppipeError, match=rf"{path} is no CellProfiler pipeline: {what}"):
            open_engine("native", place)
    with pytest.raises(CppipeError, match=f"This is no CellProfiler pipeline: {what}"):
        open_engine("native", data.decode("latin-1"))


def test_a_file_that_cannot_be_opened_is_refused_by_its_name(tmp_path):
    (tmp_path / "folder.cppipe").mkdir()
    for path, why in ((tmp_path / "folder.cppipe", "Is a directory"), (tmp_path / "none.cppipe", "No such file")):
        with pytest.raises(CppipeError, match=f"{path} cannot be read: {why}"):
            open_engine("native", path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_is_read_as_meant_whatever_it_is_written_in(tmp_path, encoding, end):
    text = write(NUCLEI).replace("Name the primary objects to be identified:Nuclei", "Name the primary objects:Kärnå")
    path = tmp_path / "analysis.cppipe"
    path.write_bytes(text.replace("\n", end).encode(encoding))

    assert cppipe.read(cppipe.read_text(path)).modules[0].value("Name the primary objects") == "Kärnå"


@pytest.mark.parametrize("attribute", cppipe.ATTRIBUTES)
@pytest.mark.parametrize(
    "value",
    [
        "__import__('os').system('touch {path}')",
        "[__import__('os').system('touch {path}')]",
        "open('{path}', 'w')",
        "[x for x in [open('{path}', 'w')]]",
        "(lambda: open('{path}', 'w'))()",
        "array(open('{path}', 'w'), dtype=uint8)",
        "array([], dtype=open('{path}', 'w'))",
        "array.__class__",
        "[].__class__.__base__.__subclasses__()",
        "f'{{open(chr(47))}}'",
        "[*open('/etc/hosts')]",
        "self",
        "9 ** 9 ** 9",
        "[1] * 10 ** 12",
        # escapes are undone before CellProfiler evaluates
        r"\x5f\x5fimport\x5f\x5f(\x27os\x27)",
        r"[\x6fpen('{path}', 'w')]",
    ],
)
def test_a_header_that_carries_more_than_plain_values_is_refused_by_name_and_nothing_of_it_runs(
    attribute, value, tmp_path
):
    path = tmp_path / "traces"
    attributes = {"variable_revision_number": "5", "enabled": "True"} | {attribute: value.format(path=path)}
    text = one_module("|".join(f"{name}:{some}" for name, some in attributes.items()))

    with pytest.raises(CppipeError, match=rf"1 ImageMath: the attribute {attribute} holds .* no plain value"):
        cppipe.read(text)

    assert not path.exists()


@pytest.mark.parametrize("name", ["run", "__class__", "settings", "enabled "])
def test_an_attribute_that_cellprofiler_does_not_write_is_refused(name):
    with pytest.raises(CppipeError, match=r"1 ImageMath: .* is no attribute that CellProfiler writes"):
        cppipe.read(one_module(f"{PLAIN}|{name}:1"))


def test_an_attribute_given_twice_is_refused():
    with pytest.raises(CppipeError, match="stands there twice"):
        cppipe.read(one_module(f"{PLAIN}|enabled:False"))


@pytest.mark.parametrize(
    "notes",
    ["['']", "['a|b', 'c']", "[u'old']", "['It's an apostrophe']", r"['two\nlines']", "['µm']", '["a", "b"]'],
)
def test_notes_of_any_wording_are_let_through(notes):
    module = cppipe.read(one_module(f"variable_revision_number:5|notes:{notes}|enabled:True")).modules[0]

    assert (module.name, module.enabled) == ("ImageMath", True)


@given(st.sampled_from(cppipe.ATTRIBUTES), st.text(max_size=60))
def test_whatever_stands_in_a_header_is_read_or_refused_and_never_anything_else(attribute, value):
    attributes = {"variable_revision_number": "5", "enabled": "True"} | {attribute: value}
    with suppress(CppipeError):
        cppipe.read(one_module("|".join(f"{name}:{some}" for name, some in attributes.items())))


@given(st.text(max_size=400))
def test_any_text_after_the_first_line_is_read_or_refused(text):
    with suppress(CppipeError):
        cppipe.read(HEAD + text)


@given(st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])))
def test_what_is_hidden_in_a_setting_stays_a_setting(value):
    """Other ends of line than CellProfiler's, colons, brackets and headers in a value open no second module."""
    pipeline = cppipe.read(one_module(PLAIN, f"    Operation:{value}\n    Add to result:0.0\n"))

    assert len(pipeline.modules) == 1
    assert [label for label, _ in pipeline.modules[0].settings] == ["Operation", "Add to result"]


def test_settings_are_what_cellprofiler_itself_reads(tmp_path):
    """200 pipelines of odd values, escapes, headers, counts and ends, against CellProfiler's own reader."""
    rng = random.Random(7)
    odd = [
        "\\x7C",
        "\\x5B",
        "\\x00",
        "\\\\g<Plate>",
        "\\\\\\\\g<Plate>",
        "\\x7C\\\\\\\\g<Well>",
        "ÿþ",
        ":",
        "|",
        "[",
        "]",
    ]
    odd += [
        "'",
        '"',
        "a",
        "Plate",
        "\\",
        "\\d+",
        "µ",
        "\\xff\\xfeN\\x00o\\x00",
        " ",
        "\\t",
        "\t",
        "0.5,1",
        "\u2028",
        "\x0b",
    ]
    texts = []
    for case in range(200):
        count = rng.randint(1, 3)
        said = rng.choice([count, count, count + 1, max(1, count - 1)])
        end = rng.choice(["", "", "\nNot a module", "\n\n\n"])
        blocks = []
        for number in range(1, count + 1):
            notes = rng.choice(["[]", "['']", "['a|b']", "['It's']", r"[\'x\']", "\\x5B\\x5D", "['µ']", "['a', 'b']"])
            state = rng.choice(["array([], dtype=uint8)", "array(b'', dtype='|S1')", "array(\\x5B\\x5D, dtype=uint8)"])
            enabled = rng.choice(["True", "False"])
            block = header(number, "ImageMath", rng.randint(1, 9), notes=notes, batch_state=state, enabled=enabled)
            for setting in range(rng.randint(0, 4)):
                block += f"    Setting {setting}:{''.join(rng.choices(odd, k=rng.randint(0, 5)))}\n"
            blocks.append(block)
        text = f"{HEAD}ModuleCount:{said}\nHasImagePlaneDetails:False\n\n" + "\n".join(blocks) + end
        texts.append(text.replace("\n", "\r\n") if case % 5 == 0 else text)
    assert equal_to_cellprofilers_reading(texts, tmp_path) > 150


@pytest.mark.real_data
def test_public_pipelines_of_all_versions_are_read_as_cellprofiler_reads_them(shared_data, tmp_path):
    texts = [cppipe.read_text(path) for path in sorted((shared_data / "pipelines").glob("*/*.cppipe"))]

    assert len(texts) == 74
    assert equal_to_cellprofilers_reading(texts, tmp_path) == 74


def equal_to_cellprofilers_reading(texts: list[str], tmp_path: Path) -> int:
    """How many of the texts CellProfiler reads; all of these have to be read the same."""
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    ask_cellprofiler("read", tmp_path / "texts.json", tmp_path / "answers.json")
    answers = json.loads((tmp_path / "answers.json").read_text())

    compared = 0
    for text, answer in zip(texts, answers, strict=True):
        if answer is None:  # CellProfiler cannot read it
            continue
        ours = [
            [module.name, module.variable_revision, module.enabled, [value for _, value in module.settings]]
            for module in cppipe.read(text).modules
        ]
        assert ours == answer
        compared += 1
    return compared
