"""CellProfiler's own numbers for a real site, through the store and back."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import cells
from pipeline.engines.base import ObjectMeasurements, SiteMeasurements
from pipeline.storage import open_storage
from tests.cells.synthetic import PLATE, entry

pytestmark = pytest.mark.real_data

SETS = ("Nuclei", "Cytoplasm", "Cells")


@pytest.fixture(scope="module", params=["BR00117035_A01_s1", "BR00117035_A01_s1_crop540", "BR00143976_C03_s3"])
def measured(request, shared_data):
    with np.load(shared_data / "reference" / f"{request.param}.npz") as file:
        objects = {
            name: ObjectMeasurements(tuple(map(str, file[f"{name}__features"])), file[f"{name}__values"].T)
            for name in SETS
        }
        image = dict(zip(map(str, file["Image__features"]), file["Image__values"].tolist(), strict=True))
    return SiteMeasurements(objects, {}, image)


@pytest.fixture(scope="module")
def table(measured):
    features = {name: found.features for name, found in measured.objects.items()}
    return cells.Schema.from_features(features, ("Nuclei", "Cells", "Cytoplasm"), 16_384)


def test_every_name_of_the_pipeline_has_a_meaning(table):
    meaning = table.meaning
    assert len(meaning) == 5_795
    assert meaning["name"].is_unique
    stains = {"DNA", "ER", "RNA", "AGP", "Mito", "HighZBF", "LowZBF", "Brightfield"}
    assert set(meaning["channel"]) == {"", *stains}
    counts = meaning[meaning["compartment"] == "Cells"].groupby("family").size()
    assert counts[
        ["AreaShape", "Correlation", "Granularity", "Intensity", "RadialDistribution", "Texture"]
    ].tolist() == [*(55, 224, 128, 120, 96, 1248)]
    texture = meaning[meaning["family"] == "Texture"]
    assert (texture.groupby(["compartment", "channel", "scale", "angle"]).size() == 13).all()
    pairs = meaning[(meaning["family"] == "Correlation") & (meaning["compartment"] == "Nuclei")]
    assert pairs.groupby("feature").size().to_dict() == {"Correlation": 28, "Overlap": 28} | dict.fromkeys(
        ("K", "Manders", "RWC"), 56
    )


def test_a_real_site_comes_back_number_for_number(measured, table, tmp_path):
    site = cells.assemble_site(1, measured, table)
    count = len(measured.objects["Nuclei"].values)
    assert (site.n_cells, site.n_unmatched, site.n_infinite) == (count, 0, 0)
    encoded = cells.encode_well(table, [site])
    storage = open_storage(str(tmp_path))
    cells.write_schema(storage, table)
    cells.create_plate(storage, PLATE, ["P24"], table)
    cells.put_well(storage, PLATE, "A01", encoded)
    cells.put_image_measurements(storage, PLATE, "A01", [{"Metadata_Site": 1, **measured.image}])
    cells.publish_plate(storage, PLATE, [entry("A01", encoded)])

    frame = cells.cells_frame(str(tmp_path), wells=["A01"])
    assert frame["Metadata_ObjectNumber"].tolist() == list(range(1, count + 1))
    for name, objects in measured.objects.items():
        for feature, values in zip(objects.features, objects.values.T, strict=True):
            np.testing.assert_array_equal(frame[f"{name}_{feature}"], values.astype(np.float32))
    image = cells.open_image_measurements(str(tmp_path))
    assert image["Count_Nuclei"].tolist() == [count]
    np.testing.assert_array_equal(image.loc[0, list(measured.image)].to_numpy(float), list(measured.image.values()))
