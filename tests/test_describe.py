"""What a file says of itself, what the root around it says, and what can only be inferred."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.describe import describe
from pipeline.errors import ConfigError, NotFound
from pipeline.storage import Location, open_storage
from pipeline.tables import encode_table

PROFILES = pd.DataFrame(
    {
        **{"Metadata_Batch": "B", "Metadata_Plate": "P1", "Metadata_Well": ["A01", "A02"]},
        **{"Cells_AreaShape_Area": [0.5, -0.5], "Nuclei_AreaShape_Area": [0.1, 0.2]},
    }
)
ABOUT = {"level": "normalized", "operations": [{"aggregate": "median"}, {"normalize": "mad_robustize"}], "version": "9"}


def of(path) -> dict:
    return describe(Location(url=str(path)))


def test_a_file_of_ours_says_its_operations_in_order(tmp_path):
    (tmp_path / "P1_normalized.parquet").write_bytes(encode_table(PROFILES, about=ABOUT))
    found = of(tmp_path / "P1_normalized.parquet")
    assert found["the table"] == {"rows": 2, "features": 2, "a row is": "a well", "plates": 1}
    assert found["recorded in the file"] == ABOUT
    assert len(found) == 2


@pytest.mark.parametrize("ending", ["parquet", "csv", "csv.gz"])
def test_of_a_published_file_only_the_name_speaks_and_that_is_said(tmp_path, ending):
    path = tmp_path / f"P1_normalized_feature_select_negcon_batch.{ending}"
    if ending == "parquet":
        PROFILES.to_parquet(path)
    else:
        PROFILES.to_csv(path, index=False)
    found = of(path)
    (heading,) = (name for name in found if name.startswith("inferred"))
    assert found[heading]["operations"] == ["normalised by the negative controls of the plate", "features selected"]
    assert found[heading]["parameters"] == "unknown"


def test_the_record_beside_a_file_is_found_in_its_root(tmp_path):
    storage = open_storage(str(tmp_path))
    storage.put("run.json", json.dumps({"digest": "d" * 64, "version": "1"}).encode())
    storage.put("scores/detection.parquet", encode_table(pd.DataFrame({"label": ["a"], "q": [0.5]})))
    storage.put("scores/records/detection.json", json.dumps({"inputs": {"seed": 7}}).encode())
    found = of(tmp_path / "scores" / "detection.parquet")
    assert found["recorded beside it (scores/records/detection.json)"] == {"inputs": {"seed": 7}}
    assert found["recorded beside it (run.json)"]["version"] == "1"
    assert of(tmp_path)["recorded in the root (run.json)"]["digest"] == "d" * 64


def test_stores_say_what_they_are(tmp_path):
    import anndata

    from pipeline.profiles import as_anndata

    table = PROFILES.copy()
    table.attrs["cellpainting"] = ABOUT
    as_anndata(table).write_zarr(tmp_path / "profiles.zarr")
    found = of(tmp_path / "profiles.zarr")["recorded in the store (uns/cellpainting)"]
    assert json.loads(found["operations"]) == ABOUT["operations"]
    assert found["version"] == "9"
    assert anndata.read_zarr(tmp_path / "profiles.zarr").shape == (2, 2)


def test_nothing_and_no_table_are_refused(tmp_path):
    with pytest.raises(NotFound):
        of(tmp_path / "nowhere.parquet")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="no table"):
        of(tmp_path / "folder")


def test_the_command_prints_it(tmp_path):
    (tmp_path / "P1_normalized.parquet").write_bytes(encode_table(PROFILES, about=ABOUT))
    said = CliRunner().invoke(app, ["describe", str(tmp_path / "P1_normalized.parquet")])
    assert said.exit_code == 0
    assert yaml.safe_load(said.output.split("recorded in the file")[1]) == ABOUT
