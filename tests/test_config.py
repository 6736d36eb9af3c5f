from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.config import SCREENS, load_config, load_screen
from pipeline.config import docs as config_docs
from pipeline.errors import ConfigError
from tests.conftest import ROOT


@pytest.fixture
def write(tmp_path: Path):
    """Write a config with some keys changed, in a folder with the files it names; its path."""

    def write(**changes) -> Path:
        (tmp_path / "analysis.cppipe").write_text("CellProfiler Pipeline")
        (tmp_path / "compounds.tsv").write_text("broad_sample\n")
        values = {
            "screen": {"name": "mine", "channels": {1: "DNA"}, "perturbations": [{"table": "compounds.tsv"}]},
            "images": "images",
            "results": "results",
            "engine": {"cppipe": "analysis.cppipe"},
        }
        for key, value in changes.items():
            place = values
            *sections, last = key.split("__")
            for section in sections:
                place = place[int(section)] if isinstance(place, list) else place.setdefault(section, {})
            place[last] = value
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("reslts", "results"),
        ("engine__cpipe", "cppipe"),
        ("screen__chanels", "channels"),
        ("screen__perturbations__0__negcon", "negcon_name"),
        ("limits__site_second", "site_seconds"),
        ("execution__worker", "workers"),
        ("subset__plate", "plates"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_nearest_one_in_its_section(write, key, nearest):
    with pytest.raises(ConfigError, match=f"{key.replace('__', '.')}: unknown key. Did you mean '{nearest}'") as caught:
        load_config(write(**{key: "x"}))
    assert "config.yaml" in str(caught.value)


def test_a_key_like_no_other_is_refused_with_the_valid_ones(write):
    with pytest.raises(ConfigError, match=r"engine.zzzzzz: unknown key. Valid keys: kind, cppipe"):
        load_config(write(engine__zzzzzz=1))


def test_every_fault_of_a_file_is_named_at_once(write):
    with pytest.raises(ConfigError) as caught:
        load_config(write(engine__kind="natve", limits__attempts=0, resluts="x"))
    message = str(caught.value)
    assert "engine.kind" in message
    assert "natve" in message
    assert "limits.attempts" in message
    assert "resluts" in message


def test_a_missing_key_is_named(write):
    path = write()
    values = yaml.safe_load(path.read_text())
    del values["engine"]["cppipe"]
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=r"engine\.cppipe: Field required"):
        load_config(path)


def test_paths_are_relative_to_the_file_that_names_them(write, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    config = load_config(write())
    assert config.images.url == str(tmp_path / "images")
    assert config.results.url == str(tmp_path / "results")
    assert config.engine.cppipe == tmp_path / "analysis.cppipe"
    assert config.screen.perturbations[0].table == tmp_path / "compounds.tsv"


def test_a_path_may_begin_at_the_home_folder(write, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = load_config(write(results="~/results", engine__cppipe="~/mine.cppipe"))
    assert config.results.url == str(tmp_path / "home" / "results")
    assert config.engine.cppipe == tmp_path / "home" / "mine.cppipe"


def test_a_place_in_s3_with_one_slash_is_no_folder_here(write):
    with pytest.raises(ConfigError, match=r"'s3:/bucket/results' names no bucket; write s3://bucket/prefix"):
        load_config(write(results="s3:/bucket/results"))


def test_an_endpoint_that_is_left_empty_is_refused(write):
    with pytest.raises(ConfigError, match="endpoint: there is no address behind it"):
        load_config(write(results={"url": "s3://bucket/results", "endpoint": ""}))


def test_a_place_in_s3_stays_as_it_is_written(write):
    config = load_config(write(images="s3://bucket/prefix", results={"url": "s3://other/x", "endpoint": "http://h:1"}))
    assert config.images.url == "s3://bucket/prefix"
    assert (config.results.url, config.results.endpoint) == ("s3://other/x", "http://h:1")


def test_a_screen_may_name_its_images_as_a_url(write, tmp_path):
    path = write(screen__images="s3://bucket/published")
    values = yaml.safe_load(path.read_text())
    del values["images"]
    path.write_text(yaml.safe_dump(values))
    assert load_config(path).images.url == "s3://bucket/published"
    assert load_config(path, images=str(tmp_path / "copy")).images.url == str(tmp_path / "copy")


def test_a_config_is_frozen(write):
    config = load_config(write())
    with pytest.raises(ValueError, match="frozen"):
        config.illumination = "none"


def test_overrides_by_dotted_keys_win_over_the_file(write):
    config = load_config(write(), **{"engine.kind": "native", "subset.plates": ["P1"], "subset.wells": None})
    assert config.engine.kind == "native"
    assert config.subset.plates == ("P1",)


def test_an_override_of_a_place_written_as_text_keeps_the_rest_of_the_file(write):
    config = load_config(write(), **{"results.url": "/elsewhere", "images.profile": "lab"})
    assert config.results.url == "/elsewhere"
    assert (config.images.url.endswith("/images"), config.images.profile) == (True, "lab")
    with pytest.raises(ConfigError, match=r"engine: 'native' where keys are expected, e.g. engine: \{kind: ...\}"):
        load_config(write(engine="native"), **{"engine.kind": "native"})


def test_a_key_that_stands_twice_is_refused(write):
    path = write()
    path.write_text(path.read_text() + "subset: {wells: [A01]}\nsubset: {sites: [1]}\n")
    with pytest.raises(ConfigError, match="'subset' stands twice"):
        load_config(path)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("00123", "the number 123"),
        ("2020_11_04", "the number 20201104"),
        ("12:30", "the number 750"),
        ("1.0e+5", "the number 100000.0"),
        ("2020-11-04", "the date 2020-11-04"),
        ("on", "True"),
        ("No", "False"),
        ("null", "None"),
    ],
)
def test_a_name_that_yaml_reads_as_something_else_is_refused_with_the_way_to_write_it(write, tmp_path, written, read):
    path = write()
    text = path.read_text()
    remedy = f'YAML reads {written} as {read}; write it in quotes: "{written}"'
    path.write_text(text + f"subset: {{plates: [P1, {written}], exclude: {{{written}: {{A01: bad}}}}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert f"subset.plates.1: {remedy}" in str(caught.value)
    assert f".[key]: {remedy}" in str(caught.value)

    (tmp_path / "screen.yaml").write_text(
        f"name: mine\nchannels: {{1: DNA}}\nbatch: B1\ngroups: {{some: [{{plate: [{written}]}}]}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(write(screen="screen.yaml"))
    assert f"screen.groups.some.0.plate.0: {remedy}" in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        load_screen(str(tmp_path / "screen.yaml"))
    assert f"groups.some.0.plate.0: {remedy}" in str(caught.value)


def test_names_in_quotes_and_those_that_only_look_like_dates_are_what_they_are(write):
    path = write()
    path.write_text(path.read_text() + 'subset: {plates: ["00123", 1e5, 2020-13-45, "no"]}\n')
    assert load_config(path).subset.plates == ("00123", "1e5", "2020-13-45", "no")


def test_a_key_without_a_value_is_refused_as_that(write):
    path = write()
    path.write_text(path.read_text().replace("cppipe: analysis.cppipe", "cppipe:") + "subset:\n  wells:\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    for key in ("engine.cppipe", "subset.wells"):
        assert f"{key}: there is no value behind it. Write one, or delete the line." in str(caught.value)


def test_one_value_where_a_list_is_expected_is_refused_with_the_way_to_write_it(write):
    with pytest.raises(ConfigError) as caught:
        load_config(write(subset__plates="P1"))
    assert "subset.plates: a list is expected (found 'P1'); write plates: [P1]" in str(caught.value)


def test_numbers_with_leading_zeros_are_decimal(write):
    path = write()
    path.write_text(path.read_text().replace("1: DNA", "08: ER\n    010: DNA") + "subset: {sites: [010, 1_1]}\n")
    config = load_config(path)
    assert config.screen.channels == {8: "ER", 10: "DNA"}
    assert config.subset.sites == (10, 11)


def test_a_file_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text("screen: " + "[" * 5000 + "]" * 5000)
    with pytest.raises(ConfigError, match=r"deep.yaml is nested too deep to be a config"):
        load_config(tmp_path / "deep.yaml")


@pytest.mark.parametrize("batch", ["..", "a/b", "a\\b", " ", "a\nb", "x" * 256])
def test_a_batch_that_leads_out_of_its_folder_is_refused(write, batch):
    with pytest.raises(ConfigError, match=r"screen\.batch: .*a batch is the name of a folder"):
        load_config(write(screen__batch=batch))


def test_a_stain_that_leads_out_of_its_folder_is_refused(write):
    with pytest.raises(ConfigError, match=r"screen\.channels: .*'\.\./DNA' holds a slash"):
        load_config(write(screen__channels={1: "../DNA"}))


def test_plate_and_batch_are_no_conditions(write):
    with pytest.raises(ConfigError, match=r"screen\.condition: .*batch says which plate it is"):
        load_config(write(screen__condition=["batch"]))


def test_wells_of_the_report_are_read_by_any_spelling(write):
    assert load_config(write(report={"wells": ["a2"]})).report.wells == ("A02",)
    with pytest.raises(ConfigError, match=r"report.wells.*'Z' is no well name"):
        load_config(write(report={"wells": ["Z"]}))


def test_the_resolved_config_loads_again_and_has_the_same_digest(write, tmp_path):
    config = load_config(write(subset__wells=["A01"]))
    other = tmp_path / "elsewhere" / "resolved.yaml"
    other.parent.mkdir()
    other.write_text(config.to_yaml())
    assert load_config(other) == config
    assert load_config(other).digest == config.digest


@pytest.mark.parametrize(
    ("change", "changes_numbers"),
    [
        ({"illumination": "none"}, True),
        ({"screen__channels": {2: "DNA"}}, True),
        ({"screen__plane": 2}, True),
        ({"subset__sites": [1]}, True),
        ({"cells__capacity": 9}, True),
        ({"subset__wells": ["A01"]}, False),
        ({"profiles__aggregate": "mean"}, False),
        ({"scores__seed": 1}, False),
        ({"execution__workers": 9}, False),
        ({"limits__site_seconds": 5}, False),
        ({"results": "elsewhere"}, False),
    ],
)
def test_the_digest_changes_with_what_decides_a_cells_numbers_and_with_nothing_else(write, change, changes_numbers):
    before = load_config(write()).digest
    assert (load_config(write(**change)).digest != before) is changes_numbers


def test_the_digest_follows_the_content_of_the_pipeline_file_and_not_its_place(write, tmp_path):
    config = load_config(write())
    moved = tmp_path / "moved.cppipe"
    moved.write_bytes(config.engine.cppipe.read_bytes())
    assert load_config(write(engine__cppipe="moved.cppipe")).digest == config.digest
    moved.write_bytes(b"another")
    assert load_config(write(engine__cppipe="moved.cppipe")).digest != config.digest


def test_what_lies_in_the_folder_of_plate_maps_makes_no_other_measuring(write, tmp_path):
    (tmp_path / "maps").mkdir()
    before = load_config(write(screen__platemaps="maps")).digest
    for name in (".DS_Store", "one.txt"):
        (tmp_path / "maps" / name).write_text("well_position\n")
    assert load_config(write(screen__platemaps="maps")).digest == before


@pytest.mark.parametrize("channels", [{}, {1: "DNA", 2: "DNA"}])
def test_a_channel_map_needs_one_number_for_each_stain(write, channels):
    with pytest.raises(ConfigError, match="each stain needs one number"):
        load_config(write(screen__channels=channels))


def test_a_pattern_of_image_names_must_hold_the_stain(write):
    with pytest.raises(ConfigError, match=r"image_name.*must hold \{channel\}"):
        load_config(write(screen__image_name="Orig"))


def test_an_unknown_screen_is_refused_with_the_ones_there_are(write):
    with pytest.raises(ConfigError, match=r"'cpjump2' is neither a screen of this project \(.*cpjump1.*\) nor a file"):
        load_config(write(screen="cpjump2"))


def test_a_file_that_is_no_yaml_or_holds_no_keys_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    for text in (b"a: [", b"just words", b"\xff\xfe\x00"):
        path.write_bytes(text)
        with pytest.raises(ConfigError, match=r"config\.yaml"):
            load_config(path)
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_the_page_of_keys_is_current():
    page = (ROOT / "docs" / "config.md").read_text()
    assert page == config_docs.describe() + "\n", "run: python -m pipeline.config.docs > docs/config.md"


def test_every_key_says_what_it_means():
    assert "|  |\n" not in config_docs.describe()


@pytest.mark.parametrize("path", sorted(SCREENS.glob("*/screen.yaml")), ids=lambda path: path.parent.name)
def test_every_screen_of_the_project_loads(path):
    assert load_screen(path.parent.name).channels


@pytest.mark.parametrize("path", sorted(SCREENS.glob("*/screen.yaml")), ids=lambda path: path.parent.name)
def test_every_config_of_the_project_loads(path):
    config = load_config(path.with_name("config.yaml"))
    assert config.engine.cppipe.is_file()
    assert config.digest


def test_rules_files_lie_beside_the_config_and_are_part_of_the_measuring(write, tmp_path):
    (tmp_path / "qc.txt").write_text("IF (Image_Count_Nuclei > 5, [1, 0], [0, 1])")
    plain = load_config(write()).digest
    config = load_config(write(engine__rules={"rules.txt": "qc.txt"}))

    assert config.engine.rules_texts == {"rules.txt": "IF (Image_Count_Nuclei > 5, [1, 0], [0, 1])"}
    assert len({plain, config.digest}) == 2
    with pytest.raises(ConfigError, match=r"none.txt cannot be read"):
        _ = load_config(write(engine__rules={"rules.txt": "none.txt"})).digest
    assert load_config(write()).digest == plain
