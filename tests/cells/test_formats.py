"""Cells in the field's formats, opened by the programs that read them, without this project."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from pipeline import profiles
from pipeline.tables import about_table


def test_cells_are_anndata_written_part_by_part_and_read_by_anndata_alone(ds, tmp_path):
    adata = ds.cp.anndata()
    assert "dask" in type(adata.X).__module__
    table = ds.cp.frame()
    assert adata.obs_names[:2].tolist() == ["batch 1/BR0001/A01/1/1", "batch 1/BR0001/A01/1/2"]
    assert adata.obs_names.is_unique
    adata.write_zarr(tmp_path / "cells.zarr")
    np.savez(tmp_path / "expected.npz", values=table[list(adata.var_names)].to_numpy())
    script = """
import sys, anndata, numpy as np
adata = anndata.read_zarr(sys.argv[1] + "/cells.zarr")
assert not any(name.split(".")[0] == "pipeline" for name in sys.modules)
np.testing.assert_array_equal(adata.X, np.load(sys.argv[1] + "/expected.npz")["values"])
assert adata.obs["gene"].tolist() == (["BRD4"] * 8 + ["TP53"] * 3) * 2
assert {"batch", "plate", "well", "site", "object_number_Cells", "cell_type"} <= set(adata.obs)
assert list(adata.var) == ["compartment", "family", "feature", "channel", "channel2", "scale", "angle"]
assert adata.var.loc["Cells_Texture_Contrast_ER_10_02_256"].tolist()[:4] == ["Cells", "Texture", "Contrast", "ER"]
assert adata.uns["cellpainting"]["level"] == "cell"
assert adata.uns["cellpainting"]["operations"] == "[]"
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=tmp_path, env=_plain())


def test_wells_are_anndata_of_medians_and_say_so(ds):
    adata = ds.cp.anndata(level="well").to_memory()
    assert adata.obs_names.tolist()[:2] == ["batch 1/BR0001/A01", "batch 1/BR0001/B03"]
    medians = ds.cp.frame().groupby(["Metadata_Plate", "Metadata_Well"])["Nuclei_AreaShape_Area"].median()
    np.testing.assert_array_equal(adata[:, "Nuclei_AreaShape_Area"].X.ravel(), medians.to_numpy())
    assert json.loads(adata.uns["cellpainting"]["operations"])[0]["aggregate"] == "median"
    with pytest.raises(ValueError, match="level is 'cell' or 'well'"):
        ds.cp.anndata(level="site")


def test_scanpy_opens_them_and_finds_neighbours(ds, tmp_path):
    import scanpy

    finite = ds.sel(family=["Texture", "Intensity"])
    finite.cp.anndata().write_zarr(tmp_path / "cells.zarr")
    import anndata

    adata = anndata.read_zarr(tmp_path / "cells.zarr")
    scanpy.pp.scale(adata)
    scanpy.pp.pca(adata, n_comps=5)
    scanpy.pp.neighbors(adata, n_neighbors=5)
    assert adata.obsp["connectivities"].shape == (22, 22)
    lazy = finite.cp.anndata(level="well").to_memory()
    scanpy.pp.pca(lazy, n_comps=2)
    assert lazy.obsm["X_pca"].shape == (4, 2)


def test_profiles_and_scores_are_anndata(tmp_path):
    table = pd.DataFrame(
        {
            "Metadata_Batch": "B",
            "Metadata_Plate": "P",
            "Metadata_Well": ["A01", "A02"],
            "Metadata_gene": ["BRD4", None],
            "Cells_AreaShape_Area": [1.0, 2.0],
            "Nuclei_Texture_Contrast_ER_10_02_256": [0.5, np.nan],
        }
    )
    table.attrs["cellpainting"] = {"level": "well", "operations": [{"normalize": "mad_robustize"}]}
    adata = profiles.as_anndata(table)
    assert adata.obs_names.tolist() == ["B/P/A01", "B/P/A02"]
    assert adata.obs["gene"].tolist() == ["BRD4", ""]
    np.testing.assert_array_equal(adata.X, [[1, 0.5], [2, np.nan]])
    assert adata.var.loc["Nuclei_Texture_Contrast_ER_10_02_256"].tolist() == [
        "Nuclei", "Texture", "Contrast", "ER", "", 10, 2,
    ]  # fmt: skip
    assert "mad_robustize" in adata.uns["cellpainting"]["operations"]
    adata.write_h5ad(tmp_path / "profiles.h5ad")
    scores = pd.DataFrame(
        {"label": ["BRD4", "BRD4"], "n_queries": [4, 4], "q": [0.01, 0.5], "retrieved": [True, False]}
    )
    of_scores = profiles.as_anndata(scores)
    assert of_scores.var_names.tolist() == ["q"]
    assert of_scores.obs_names.tolist() == ["BRD4", "BRD4-1"]


def test_parquet_opens_in_duckdb_and_polars_by_one_line_and_says_what_it_is(ds, tmp_path):
    import duckdb
    import polars

    keys = ds.cp.parquet(tmp_path / "out")
    assert keys[0] == "batch 1/BR0001/A01.parquet"
    assert len(keys) == 4
    expected = ds.cp.frame().groupby("Metadata_gene")["Nuclei_AreaShape_Area"].mean()
    by_duck = duckdb.sql(
        f"SELECT Metadata_gene, avg(Nuclei_AreaShape_Area) FROM '{tmp_path}/out/**/*.parquet' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    by_polars = polars.scan_parquet(f"{tmp_path}/out/**/*.parquet").group_by("Metadata_gene").agg(
        polars.mean("Nuclei_AreaShape_Area")
    ).sort("Metadata_gene").collect().rows()  # fmt: skip
    for found in (by_duck, by_polars):
        assert [gene for gene, _ in found] == expected.index.tolist()
        np.testing.assert_allclose([value for _, value in found], expected, rtol=1e-5)
    about = about_table((tmp_path / "out" / keys[0]).read_bytes())
    assert about["level"] == "cell"
    assert about["operations"] == []
    assert about["schema"] == ds.attrs["schema"]


def test_the_store_opens_in_plain_xarray_and_zarr_without_this_project(results, ds, tmp_path):
    folder = results.root / "cells" / "batch 1" / "BR0001"
    area = ds["name"].values.tolist().index("Nuclei_AreaShape_Area")
    np.save(tmp_path / "expected.npy", ds.isel(well=[0, 14], feature=area).features.values)
    script = """
import sys, numpy as np, xarray, zarr
plate, features, expected, area = sys.argv[1:]
ds = xarray.open_zarr(plate, consolidated=False, chunks=None)
names = zarr.open_array(features + "/name", mode="r")[:]
column = int(np.flatnonzero(names == area)[0]) + zarr.open_group(features, mode="r").attrs["first_column"]
# unmatched objects come after the cells
is_cell = xarray.DataArray(np.arange(ds.sizes["cell"]), dims="cell") < ds.cell_count
values = ds.features.isel(feature=column).where(is_cell).isel(well=[0, 14])[:, : int(ds.cell_count.max())]
np.testing.assert_array_equal(values, np.load(expected))
assert ds.cell_count.sel(well="A01") == 8
assert not any(name.split(".")[0] == "pipeline" for name in sys.modules)
try:
    import pipeline
except ImportError:
    pass
else:
    raise SystemExit("the project is on the path")
"""
    paths = map(str, (folder, results.root / "features.zarr", tmp_path / "expected.npy", "Nuclei_AreaShape_Area"))
    # The project is installed in development mode, by a hook of `site`: without it, this is another environment.
    site_packages = next(path for path in sys.path if path.endswith("site-packages"))
    isolated = f"import sys; sys.path.append({site_packages!r})\n" + script
    subprocess.run([sys.executable, "-S", "-c", isolated, *paths], check=True, cwd=tmp_path, env=_plain())
    assert area >= 0


def _plain() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
