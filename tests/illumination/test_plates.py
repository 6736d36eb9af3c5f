"""A plate's functions from keys to arrays, on a plan made from a small gallery."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
import tifffile

from pipeline import illumination
from pipeline.config import Config
from pipeline.errors import ConfigError, CppipeError, ImageError, Incomplete
from pipeline.plan import make_plan
from pipeline.results.plan import write_plan
from pipeline.results.run import Run, make_record, open_run, write_record
from pipeline.screen import Plate
from pipeline.storage import Location, open_storage

PLATE = Plate("Batch1", "P1")
SHAPE = (30, 45)
WELLS = ["A01", "A02", "B01"]
CPPIPE = """CellProfiler Pipeline: http://www.cellprofiler.org
Version:5
DateRevision:406
GitHash:
ModuleCount:1
HasImagePlaneDetails:False

CorrectIlluminationApply:[module_num:1|svn_version:'Unknown'|variable_revision_number:5|show_window:False|notes:[]|\
batch_state:array([], dtype=uint8)|enabled:True|wants_pause:False]
"""


def apply(**ways: str) -> str:
    groups = "".join(
        f"    Select the input image:Orig{name}\n    Name the output image:{name}\n"
        f"    Select the illumination function:Illum{name}\n"
        f"    Select how the illumination function is applied:{way}\n"
        for name, way in ways.items()
    )
    return CPPIPE + groups


@dataclass
class Gallery:
    """Two channels of three wells with two sites each, as files; `pixels[channel, well, site]` says what is in them."""

    root: Path

    def __post_init__(self) -> None:
        random = np.random.default_rng(3)
        self.pixels = {
            (channel, well, site): random.integers(100, 60_000, SHAPE, np.uint16)
            for channel in ("DNA", "ER")
            for well in WELLS
            for site in (1, 2)
        }
        for (channel, well, site), pixels in self.pixels.items():
            path = self.path(channel, well, site)
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, pixels, compression="lzw")

    def path(self, channel: str, well: str, site: int) -> Path:
        number = {"DNA": 5, "ER": 4}[channel]
        name = f"r{'AB'.index(well[0]) + 1:02d}c{well[1:]}f{site:02d}p01-ch{number}sk1fk1fl1.tiff"
        return self.root / "images/Batch1/images/P1__2021-01-01T00_00_00-Measurement1/Images" / name

    def publish(self, function: str, array: np.ndarray) -> None:
        path = self.root / f"images/Batch1/illum/P1/P1_{function}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)

    def run(self, mode: str = "auto", cppipe: str | None = None, inputs: tuple[str, ...] | None = None) -> Run:
        results = Location(url=str(self.root / f"results-{len(list(self.root.iterdir()))}"))
        text = cppipe or apply(DNA="Divide", ER="Divide")
        (self.root / "analysis.cppipe").write_text(text)
        config = Config.model_validate(
            {
                "screen": {"name": "small", "channels": {5: "DNA", 4: "ER"}},
                "images": {"url": str(self.root / "images")},
                "results": results,
                "engine": {"cppipe": self.root / "analysis.cppipe"},
                "illumination": mode,
            }
        )
        plan = make_plan(config)
        storage = open_storage(results)
        write_plan(plan, storage)
        record = make_record(
            config,
            engine="none",
            inputs=inputs or ("IllumDNA", "IllumER", "OrigDNA", "OrigER"),
            schema="",
        )
        write_record(Run(storage, config, text, record))
        return open_run(results)

    def expected(self, channel: str, without: set[tuple[str, int]] = frozenset()) -> np.ndarray:
        method = illumination.methods(None, ((f"Illum{channel}", "Orig"),))[f"Illum{channel}"]
        sites = [
            method.of_site({"Orig": pixels})
            for (name, well, site), pixels in self.pixels.items()
            if name == channel and (well, site) not in without
        ]
        return method.finish(reduce(add, sites), SHAPE)


@pytest.fixture
def gallery(tmp_path) -> Gallery:
    return Gallery(tmp_path)


def compute(run: Run, size: int = 2) -> dict:
    wells = [well for group in illumination.groups(run, PLATE) for well in group]
    for start in range(0, len(wells), size):
        illumination.sum_wells(run.storage.location, *PLATE, wells[start], wells[start : start + size])
    return illumination.finish_plate(run.storage.location, *PLATE)


def record_of(run: Run) -> dict:
    return json.loads(run.storage.get("illumination/Batch1/P1/P1.json"))


def test_a_plates_functions_are_computed_from_all_its_sites(gallery):
    run = gallery.run()
    assert compute(run) == {"functions": 2, "images": 12, "left_out": 0}
    functions = illumination.functions(run, PLATE)
    assert list(functions) == ["IllumDNA", "IllumER"]
    for channel in ("DNA", "ER"):
        np.testing.assert_array_equal(functions[f"Illum{channel}"], gallery.expected(channel))
    record = record_of(run)
    assert (record["images"], record["left_out"]) == ({"IllumDNA": 6, "IllumER": 6}, [])
    for function, md5 in record["functions"].items():
        assert run.storage.stat(f"illumination/Batch1/P1/P1_{function}.npy").etag == md5
    assert "illumination/Batch1/P1/P1_IllumDNA.npy" in {entry.key for entry in run.storage.entries("illumination/")}


@pytest.mark.parametrize("size", [1, 3])
def test_the_same_bytes_come_from_any_grouping_and_a_second_run_changes_nothing(gallery, size):
    def functions(run: Run) -> dict[str, bytes]:
        keys = [entry.key for entry in run.storage.entries("illumination/Batch1/P1/P1")]
        return {key: run.storage.get(key) for key in keys}

    def everything(run: Run) -> dict:
        return {entry.key: (run.storage.get(entry.key), entry.modified) for entry in run.storage.entries()}

    one, other = gallery.run(), gallery.run()
    compute(one, size=2)
    compute(other, size=size)
    assert functions(one) == functions(other)
    assert len(functions(one)) == 3
    before = everything(one)
    for start in (0, 2):
        illumination.sum_wells(one.storage.location, *PLATE, WELLS[start], WELLS[start : start + 2])
    illumination.finish_plate(one.storage.location, *PLATE)
    assert everything(one) == before
    assert illumination.groups(one, PLATE) == []  # what is finished is not asked for again


def test_bad_images_are_left_out_and_listed_and_their_sites_other_channels_used(gallery):
    damaged = gallery.path("DNA", "A02", 1)
    damaged.write_bytes(damaged.read_bytes()[:200])
    gallery.path("ER", "B01", 2).unlink()
    run = gallery.run()
    gallery.path("ER", "A01", 1).unlink()  # after the plan
    assert compute(run) == {"functions": 2, "images": 9, "left_out": 3}
    functions = illumination.functions(run, PLATE)
    np.testing.assert_array_equal(functions["IllumDNA"], gallery.expected("DNA", without={("A02", 1)}))
    np.testing.assert_array_equal(functions["IllumER"], gallery.expected("ER", without={("B01", 2), ("A01", 1)}))
    assert record_of(run)["images"] == {"IllumDNA": 5, "IllumER": 4}
    found = [(image["well"], image["site"], image["function"]) for image in record_of(run)["left_out"]]
    assert found == [("A01", 1, "IllumER"), ("A02", 1, "IllumDNA"), ("B01", 2, "IllumER")]
    assert "is missing" in record_of(run)["left_out"][0]["reason"]


def test_an_image_that_cannot_be_averaged_is_left_out_and_listed(gallery):
    for (channel, well, site), pixels in gallery.pixels.items():
        bright = 1.5 if (channel, well, site) == ("ER", "A02", 2) else 1
        tifffile.imwrite(gallery.path(channel, well, site), (pixels / np.float32(65535) * bright).astype(np.float32))
    run = gallery.run()
    assert compute(run)["images"] == 11
    np.testing.assert_array_equal(
        illumination.functions(run, PLATE)["IllumER"], gallery.expected("ER", without={("A02", 2)})
    )
    (left_out,) = record_of(run)["left_out"]
    assert (left_out["well"], left_out["site"], left_out["function"]) == ("A02", 2, "IllumER")
    assert "0 to 1 can be averaged" in left_out["reason"]


def test_a_channel_without_one_usable_image_has_no_function_and_says_so(gallery):
    for well in WELLS:
        for site in (1, 2):
            gallery.path("ER", well, site).write_bytes(b"<html>")
    run = gallery.run()
    assert compute(run)["functions"] == 1
    with pytest.raises(ImageError, match=r"IllumER of plate Batch1/P1 .* does not exist; no image could be used"):
        illumination.functions(run, PLATE)


def test_a_part_that_is_missing_stops_the_plate(gallery):
    run = gallery.run()
    illumination.sum_wells(run.storage.location, *PLATE, "A01", ["A01", "A02"])
    with pytest.raises(Incomplete, match=r"1 wells are in no part \(B01\)"):
        illumination.finish_plate(run.storage.location, *PLATE)


def test_a_well_in_two_parts_stops_the_plate(gallery):
    run = gallery.run()
    illumination.sum_wells(run.storage.location, *PLATE, "A01", ["A01", "A02"])
    illumination.sum_wells(run.storage.location, *PLATE, "A02", ["A02", "B01"])
    with pytest.raises(Incomplete, match=r"1 wells are in several parts \(A02\)"):
        illumination.finish_plate(run.storage.location, *PLATE)


def test_published_functions_are_used_as_float32_and_nothing_is_computed(gallery):
    published = np.linspace(1, 3, SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    gallery.publish("IllumDNA", published)
    gallery.publish("IllumER", published * 2)
    run = gallery.run()
    assert illumination.groups(run, PLATE) == []
    functions = illumination.functions(run, PLATE)
    assert functions["IllumER"].dtype == np.float32
    np.testing.assert_array_equal(functions["IllumER"], (published * 2).astype(np.float32))


def test_auto_computes_only_what_is_not_published(gallery):
    gallery.publish("IllumDNA", np.full(SHAPE, 2.0))
    run = gallery.run()
    assert illumination.sources(run, PLATE) == {"IllumDNA": "gallery", "IllumER": "compute"}
    assert compute(run)["functions"] == 1
    functions = illumination.functions(run, PLATE)
    np.testing.assert_array_equal(functions["IllumDNA"], 2)
    np.testing.assert_array_equal(functions["IllumER"], gallery.expected("ER"))


def test_compute_ignores_what_is_published(gallery):
    gallery.publish("IllumDNA", np.full(SHAPE, 2.0))
    run = gallery.run("compute")
    assert compute(run)["functions"] == 2
    np.testing.assert_array_equal(illumination.functions(run, PLATE)["IllumDNA"], gallery.expected("DNA"))


def test_gallery_without_a_published_function_is_refused_by_name(gallery):
    gallery.publish("IllumDNA", np.full(SHAPE, 2.0))
    with pytest.raises(ConfigError, match=r"Plate Batch1/P1 has no published illumination function for IllumER"):
        illumination.groups(gallery.run("gallery"), PLATE)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.ones((45, 30)), r"shape \(45, 30\) where the images are 30 x 45"),
        (np.full(SHAPE, np.nan), "NaN or infinite"),
        (np.zeros(SHAPE), "0 or less"),
        (np.full(SHAPE, "x"), "not numbers"),
        (np.full(SHAPE, {}), "cannot be read"),
    ],
)
def test_a_published_function_that_cannot_be_one_is_refused_by_name(gallery, array, reason):
    gallery.publish("IllumDNA", array)
    gallery.publish("IllumER", np.ones(SHAPE))
    with pytest.raises(ImageError, match=f"IllumDNA of plate Batch1/P1 .*{reason}"):
        illumination.functions(gallery.run(), PLATE)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is an empty file"),
        (b"<html><body>Not found</body></html>", "is a page of HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a git-lfs pointer"),
        (b"\x93NUMPY\x01\x00", "cannot be read as a .npy file"),
        (b"II*\x00" + bytes(99), "cannot be read as a .npy file"),
    ],
)
def test_what_is_no_array_is_refused_by_name(gallery, data, reason):
    for function in ("IllumDNA", "IllumER"):
        gallery.publish(function, np.ones(SHAPE))
    next(gallery.root.rglob("P1_IllumDNA.npy")).write_bytes(data)
    with pytest.raises(ImageError, match=rf"IllumDNA of plate Batch1/P1 \(.*P1_IllumDNA.npy\) {reason}"):
        illumination.functions(gallery.run(), PLATE)


def test_an_archive_of_arrays_is_refused_by_name(gallery):
    for function in ("IllumDNA", "IllumER"):
        gallery.publish(function, np.ones(SHAPE))
    with next(gallery.root.rglob("P1_IllumDNA.npy")).open("wb") as file:
        np.savez(file, np.ones(SHAPE))
    with pytest.raises(ImageError, match=r"P1_IllumDNA.npy\) is an archive of arrays"):
        illumination.functions(gallery.run(), PLATE)


def test_a_function_whose_header_claims_more_than_memory_holds_is_refused(gallery):
    for function in ("IllumDNA", "IllumER"):
        gallery.publish(function, np.ones(SHAPE))
    path = next(gallery.root.rglob("P1_IllumDNA.npy"))
    path.write_bytes(path.read_bytes().replace(b"(30, 45), ", b"(10**9,)  ").replace(b"10**9,", b"9" * 14 + b","))
    with pytest.raises(ImageError, match=r"P1_IllumDNA.npy\) (cannot be read|has shape)"):
        illumination.functions(gallery.run(), PLATE)


def test_a_function_in_columns_first_order_and_float64_is_taken_as_it_is(gallery):
    pixels = np.arange(1.0, 1 + 30 * 45).reshape(SHAPE)
    gallery.publish("IllumDNA", np.asfortranarray(pixels))
    gallery.publish("IllumER", pixels.astype(">f8"))
    for function in illumination.functions(gallery.run(), PLATE).values():
        assert function.flags.c_contiguous
        assert function.dtype == np.float32
        np.testing.assert_array_equal(function, pixels)


def test_a_published_function_that_changed_since_the_plan_is_refused(gallery):
    for function in ("IllumDNA", "IllumER"):
        gallery.publish(function, np.ones(SHAPE))
    run = gallery.run()
    gallery.publish("IllumDNA", np.full(SHAPE, 2.0))
    with pytest.raises(ImageError, match=r"IllumDNA .* is not the file that was planned"):
        illumination.functions(run, PLATE)


def test_none_is_one_where_images_are_divided_and_zero_where_it_is_subtracted(gallery):
    run = gallery.run("none", apply(DNA="Divide", ER="Subtract"))
    assert illumination.groups(run, PLATE) == []
    functions = illumination.functions(run, PLATE)
    np.testing.assert_array_equal(functions["IllumDNA"], np.ones(SHAPE, np.float32))
    np.testing.assert_array_equal(functions["IllumER"], np.zeros(SHAPE, np.float32))


def test_none_is_refused_where_nothing_is_neutral(gallery):
    twice = apply(DNA="Divide", ER="Divide") + apply(DNA="Subtract").partition("wants_pause:False]\n")[2]
    with pytest.raises(CppipeError, match="no neutral value for IllumDNA"):
        illumination.groups(gallery.run("none", twice), PLATE)


def test_a_pipeline_that_takes_no_function_is_given_none(gallery):
    run = gallery.run(inputs=("OrigDNA", "OrigER"))
    assert illumination.groups(run, PLATE) == []
    assert illumination.functions(run, PLATE) == {}


def test_a_plate_of_which_nothing_can_be_read_has_nothing_to_sum(gallery):
    for channel, well, site in gallery.pixels:
        gallery.path(channel, well, site).write_bytes(b"")
    run = gallery.run()
    assert illumination.groups(run, PLATE) == []
    with pytest.raises(ImageError, match="no image that can be read"):
        illumination.functions(run, PLATE)


def test_groups_hold_every_well_once_in_order(gallery, monkeypatch):
    run = gallery.run()
    monkeypatch.setattr(illumination.compute, "WELLS_PER_TASK", 2)
    assert illumination.groups(run, PLATE) == [["A01", "A02"], ["B01"]]


def test_functions_cannot_be_written_to(gallery):
    function = illumination.functions(gallery.run("none"), PLATE)["IllumDNA"]
    with pytest.raises(ValueError, match="read-only"):
        function[0, 0] = 5


def test_the_stored_function_is_a_plain_npy_of_float32(gallery):
    run = gallery.run()
    compute(run)
    stored = np.load(io.BytesIO(run.storage.get("illumination/Batch1/P1/P1_IllumER.npy")))
    assert (stored.dtype, stored.shape) == (np.float32, SHAPE)


def test_a_function_that_is_put_right_at_the_same_place_is_read_anew_by_a_worker_that_lives_on(gallery):
    run = gallery.run()
    compute(run)
    before = illumination.functions(run, PLATE)["IllumDNA"]
    for (channel, well, site), pixels in gallery.pixels.items():
        tifffile.imwrite(gallery.path(channel, well, site), pixels[::-1], compression="lzw")
    shutil.rmtree(run.storage.root)
    again = open_storage(run.storage.location)
    plan = make_plan(run.config)
    write_plan(plan, again)
    write_record(replace(run, storage=again))
    run = open_run(run.storage.location)
    compute(run)
    after = illumination.functions(run, PLATE)["IllumDNA"]
    np.testing.assert_allclose(after, before[::-1], rtol=1e-5)
    assert not np.array_equal(after, before)


def test_a_published_function_that_is_replaced_at_the_same_place_is_read_anew(gallery):
    gallery.publish("IllumDNA", np.full(SHAPE, 2.0))
    run = gallery.run(inputs=("IllumDNA", "OrigDNA"))
    assert illumination.functions(run, PLATE)["IllumDNA"][0, 0] == 2
    gallery.publish("IllumDNA", np.full(SHAPE, 4.0))
    write_plan(make_plan(run.config), run.storage)
    assert illumination.functions(open_run(run.storage.location), PLATE)["IllumDNA"][0, 0] == 4
    assert illumination.digest_of(run, PLATE) != ""
