"""What every engine promises. Those that are named in `ENGINES` are tried."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from pipeline.engines import ENGINES, Engine, SiteMeasurements, open_engine
from pipeline.errors import CppipeError, EngineError

KINDS = list(ENGINES)

ANALYSIS = Path(__file__).parents[2] / "pipeline/screens/cpjump1/analysis.cppipe"
CHANNELS = ("DNA", "ER", "RNA", "AGP", "Mito", "Brightfield", "LowZBF", "HighZBF")
SITE_A = "cpg0016-jump/source_4/images/2021_04_26_Batch1/images/BR00117035__2021-05-02T16_02_51-Measurement1"
SITE_P = "pediatric_cancer_atlas/BR00143976__2024-07-04T16_04_45-Measurement 2"
#: reference run -> folder of its images, their first letters, and the file number of each of `CHANNELS`
REFERENCE = {
    "BR00117035_A01_s1_crop540": (SITE_A, "r01c01f01p01", (5, 4, 3, 2, 1, 8, 7, 6)),
    "BR00117035_A01_s1_crop540_illum": (SITE_A, "r01c01f01p01", (5, 4, 3, 2, 1, 8, 7, 6)),
    "BR00117035_A01_s1": (SITE_A, "r01c01f01p01", (5, 4, 3, 2, 1, 8, 7, 6)),
    "BR00117035_A01_s1_flipped": (SITE_A, "r01c01f01p01", (5, 4, 3, 2, 1, 8, 7, 6)),
    "BR00143976_C03_s3": (SITE_P, "r03c03f03p01", (5, 2, 6, 3, 4, 1, 1, 1)),
}
FULL = list(REFERENCE)[2:]


@pytest.fixture(scope="module", params=KINDS)
def engine(request):
    with open_engine(request.param, ANALYSIS) as engine:
        yield engine


def reference_images(shared_data: Path, run: str) -> dict[str, np.ndarray]:
    folder, stem, numbers = REFERENCE[run]
    images = {}
    for number_of_channel, (channel, number) in enumerate(zip(CHANNELS, numbers, strict=True)):
        pixels = tifffile.imread(shared_data / "gallery" / folder / "Images" / f"{stem}-ch{number}sk1fk1fl1.tiff")
        illumination = np.ones(pixels.shape)
        if "crop540" in run:
            pixels = pixels[270:810, 270:810]
            y, x = np.mgrid[:540, :540]
            bowl = ((y - 270) ** 2 + (x - 270) ** 2) / (2 * 270**2)
            illumination = 1 + 0.1 * (number_of_channel + 1) * bowl * run.endswith("illum")
        if run.endswith("flipped"):
            pixels = pixels[:, ::-1]
        images[f"Orig{channel}"] = pixels
        images[f"Illum{channel}"] = illumination.astype(np.float32)
    return images


def assert_equals_reference(measured: SiteMeasurements, reference: Path) -> None:
    with np.load(reference) as stored:
        expected = dict(stored)
    for name in ("Nuclei", "Cells", "Cytoplasm"):
        np.testing.assert_array_equal(measured.labels[name], expected[f"{name}__labels"], err_msg=name)
        objects = measured.objects[name]
        features = expected[f"{name}__features"].tolist()
        assert sorted(objects.features) == sorted(features)
        assert objects.values.dtype == np.float64
        for feature, values in zip(features, expected[f"{name}__values"], strict=True):
            limits = {"rtol": 0, "atol": 1e-6} if feature.startswith("Granularity") else {"rtol": 1e-6, "atol": 1e-9}
            np.testing.assert_allclose(objects.column(feature), values, **limits, err_msg=f"{name} {feature}")
    image = dict(zip(expected["Image__features"].tolist(), expected["Image__values"], strict=True))
    assert set(measured.image) == set(image)
    for feature, value in image.items():
        np.testing.assert_allclose(measured.image[feature], value, rtol=1e-6, atol=1e-6, err_msg=feature)


@pytest.mark.real_data
@pytest.mark.parametrize(
    "run", [run if run not in FULL else pytest.param(run, marks=pytest.mark.slow) for run in REFERENCE]
)
def test_a_real_site_has_cellprofilers_numbers_and_label_images(engine: Engine, shared_data, run):
    measured = engine.measure(reference_images(shared_data, run))

    assert_equals_reference(measured, shared_data / "reference" / f"{run}.npz")
    assert {name: objects.features for name, objects in measured.objects.items()} == engine.features


def test_the_pipeline_says_which_images_to_give(engine: Engine):
    assert engine.inputs == tuple(sorted(f"{kind}{channel}" for kind in ("Orig", "Illum") for channel in CHANNELS))


def test_the_features_of_each_object_set_are_known_before_the_first_site(engine: Engine):
    assert {name: len(features) for name, features in engine.features.items()} == {
        "Nuclei": 1932,
        "Cells": 1939,
        "Cytoplasm": 1924,
    }
    assert {"AreaShape_Area", "Texture_Contrast_RNA_10_03_256"} <= set(engine.features["Cells"])


def test_modules_that_read_or_write_disk_or_draw_are_left_out_by_name(engine: Engine):
    left_out = {title.split()[0] for title in engine.left_out}

    assert left_out == {"1", "11", "12", "13", "28", "29", "30", "31", "32", "33"}
    assert {"1 LoadData", "13 FlagImage", "28 OverlayOutlines"} <= set(engine.left_out)
    assert all(engine.left_out.values())


def test_it_says_what_computes_the_numbers(engine: Engine):
    assert any(character.isdigit() for character in engine.version)


def blank(engine: Engine, size: int = 48) -> dict[str, np.ndarray]:
    return {
        name: np.ones((size, size), np.float32) if name.startswith("Illum") else np.full((size, size), 9, np.uint16)
        for name in engine.inputs
    }


def test_a_site_without_cells_is_measured_with_no_rows_and_all_columns(engine: Engine):
    measured = engine.measure(blank(engine))

    for name, features in engine.features.items():
        assert measured.objects[name].features == features
        assert measured.objects[name].values.shape == (0, len(features))
        assert measured.labels[name].shape == (48, 48)
        assert not measured.labels[name].any()
    assert measured.image["Count_Nuclei"] == 0


def test_seconds_are_given_for_each_module_that_ran_with_its_number_in_the_file(engine: Engine):
    seconds = engine.measure(blank(engine)).seconds

    assert list(seconds)[:2] == ["2 CorrectIlluminationApply", "3 ImageMath"]
    assert list(seconds)[-1] == "27 MeasureTexture"
    assert len(seconds) == 23
    assert all(value >= 0 for value in seconds.values())


def test_a_missing_and_an_unknown_image_are_named(engine: Engine):
    images = blank(engine)
    images["OrigGFP"] = images.pop("OrigDNA")

    with pytest.raises(EngineError, match=r"OrigDNA.*OrigGFP") as caught:
        engine.measure(images)

    assert caught.value.retry is False


@pytest.mark.parametrize(
    "pixels", [np.zeros((48, 48, 3), np.uint16), np.zeros((48, 48), np.int32), np.zeros((0, 48), np.uint16)]
)
def test_an_image_that_is_not_flat_or_not_of_a_known_type_is_named(engine: Engine, pixels):
    with pytest.raises(EngineError, match="OrigRNA"):
        engine.measure(blank(engine) | {"OrigRNA": pixels})


def test_an_illumination_function_of_another_shape_is_an_error_that_names_both_shapes(engine: Engine):
    images = blank(engine) | {"IllumDNA": np.ones((24, 24), np.float32)}

    with pytest.raises(EngineError) as caught:
        engine.measure(images)

    assert caught.value.module == "2 CorrectIlluminationApply"
    assert re.search(r"48\D+48", str(caught.value))
    assert re.search(r"24\D+24", str(caught.value))
    assert caught.value.retry is False
    assert engine.measure(blank(engine)).image["Count_Nuclei"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_that_carries_code_is_refused_by_every_engine(kind, tmp_path):
    path = tmp_path / "traces"
    text = ANALYSIS.read_text().replace("svn_version:'Unknown'", f"svn_version:open({str(path)!r}, 'w')", 1)

    with pytest.raises(CppipeError, match="1 LoadData: the attribute svn_version"):
        open_engine(kind, text)

    assert not path.exists()
