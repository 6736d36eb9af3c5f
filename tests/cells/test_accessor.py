"""`ds.cp`, held against the same done by hand with the plain arrays, pandas and scipy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline import cells
from pipeline.errors import UnknownLabel
from tests.cells.conftest import places
from tests.cells.synthetic import PLATE, assembled, entry, fill_plate, schema


def test_wells_are_a_table_of_their_coordinates(ds):
    wells = ds.cp.wells()
    assert len(wells) == 192
    assert wells[wells["cell_count"] > 0][["plate", "well", "gene"]].to_numpy().tolist() == [
        ["BR0001", "A01", "BRD4"], ["BR0001", "B03", "TP53"], ["BR0002", "A01", "BRD4"], ["BR0002", "B03", "TP53"],
    ]  # fmt: skip
    assert len(ds.sel(plate="BR0001", well="A01").cp.wells()) == 1


def test_wells_are_asked_in_the_language_of_pandas(ds):
    found = ds.cp.query("gene == 'BRD4' and timepoint == 'short' and cell_count > 3")
    assert places(found) == [("BR0001", "A01"), ("BR0002", "A01")]
    assert found.sel(feature="Nuclei_AreaShape_Area").features.dims == ("well", "cell")
    assert places(ds.cp.query("gene.str.startswith('TP') and plate == 'BR0002'")) == [("BR0002", "B03")]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("gene == 'BRD5'", "no gene 'BRD5' here. Nearest: 'BRD4'"),
        ("gene in ['BRD4', 'TP54']", "no gene 'TP54' here. Nearest: 'TP53'"),
        ("genes == 'BRD4'", "no 'genes' of wells here. Nearest: 'gene'"),
        ("cell_count > 1000", "Of 192 wells none has cell_count > 1000"),
    ],
)
def test_a_question_about_what_is_not_there_names_the_nearest(ds, expression, message):
    with pytest.raises(UnknownLabel, match=message):
        ds.cp.query(expression)


def test_what_is_no_question_is_refused(ds):
    with pytest.raises(ValueError, match="does not say of each well"):
        ds.cp.query("cell_count + 1")


def test_a_sample_is_of_cells_that_are_there_each_once_and_hangs_on_the_seed_alone(ds):
    everything = ds.cp.frame("Nuclei_AreaShape_Area")
    keys = [f"Metadata_{name}" for name in ("Batch", "Plate", "Well", "Site", "ObjectNumber", "gene")]
    whole = set(everything[[*keys, "Nuclei_AreaShape_Area"]].itertuples(index=False, name=None))
    for source in (ds, ds.load()):  # lazy, and in memory
        found = source.cp.sample(7, by="gene", seed=3).cp.frame("Nuclei_AreaShape_Area")
        assert found.groupby("Metadata_gene").size().to_dict() == {"BRD4": 7, "TP53": 6}  # 16 and 6 there
        rows = set(found[[*keys, "Nuclei_AreaShape_Area"]].itertuples(index=False, name=None))
        assert len(rows) == 13
        assert rows <= whole
        # neither the order of the wells nor other genes beside it change the sample of a gene
        shuffled = source.isel(well=np.random.default_rng(0).permutation(192)).sel(gene="BRD4")
        again = shuffled.cp.sample(7, by="gene", seed=3).cp.frame("Nuclei_AreaShape_Area")
        assert set(again[[*keys, "Nuclei_AreaShape_Area"]].itertuples(index=False, name=None)) <= rows
    other = ds.cp.sample(7, by="gene", seed=4).cp.frame("Nuclei_AreaShape_Area")
    assert set(other["Nuclei_AreaShape_Area"]) != set(found["Nuclei_AreaShape_Area"])
    assert len(ds.cp.sample(5).cp.frame("Nuclei_AreaShape_Area")) == 5
    with pytest.raises(UnknownLabel, match="Nearest: 'gene'"):
        ds.cp.sample(5, by="genes")


def test_the_cells_of_one_site_and_those_above_a_value_are_kept_together(ds):
    two = ds.sel(plate="BR0001", well=["A01", "B03"])
    one_site = two.cp.keep(two.site == 2)
    assert one_site.sizes["cell"] == 3
    assert one_site.object_number_Nuclei.values[0].tolist() == [1, 2, 4]
    assert np.isnan(one_site.features.isel(well=1)).all()
    areas = two.features.sel(feature="Nuclei_AreaShape_Area")
    found = two.cp.keep(areas > 0).features.sel(feature="Nuclei_AreaShape_Area").values
    np.testing.assert_array_equal(np.sort(found[~np.isnan(found)]), np.sort(areas.values[areas.values > 0]))
    # a selection of a selection, along every dimension
    chosen = two.cp.keep(areas > 0).isel(well=[0], cell=slice(0, 1)).sel(feature=["Nuclei_AreaShape_Area"])
    assert chosen.features.values.ravel().tolist() == [areas.values[0][areas.values[0] > 0][0]]


def test_values_are_a_table_with_everything_that_is_known_of_them(ds):
    medians = ds.features.sel(feature="Nuclei_AreaShape_Area").median("cell")
    table = medians.cp.frame()
    assert table[["plate", "well", "gene"]].to_numpy().tolist()[0] == ["BR0001", "A01", "BRD4"]
    assert set(table["name"]) == {"Nuclei_AreaShape_Area"}
    assert table["features"].tolist() == medians.values[~np.isnan(medians.values)].tolist()


def test_two_groups_of_wells_are_compared_by_their_medians(tmp_path):
    from pipeline.storage import open_storage

    storage, table = open_storage(str(tmp_path)), schema()
    fill_plate(storage)
    names = [f"{row}{column:02}" for row in "EF" for column in range(1, 6)]
    entries, counts = [], [4, 7, 5, 9, 6, 3, 5, 8, 7, 4]
    for seed, (well, count) in enumerate(zip(names, counts, strict=True)):
        encoded = cells.encode_well(table, [assembled(100 + seed, count)])
        cells.put_well(storage, PLATE, well, encoded)
        cells.put_image_measurements(storage, PLATE, well, [{"Metadata_Site": 1}])
        entries.append(entry(well, encoded))
    cells.publish_plate(storage, PLATE, entries)
    opened = cells.open_cells(str(tmp_path))
    one, other = opened.sel(well=names[:5]), opened.sel(well=names[5:])
    found = one.cp.compare(other).set_index("name")
    assert found.index[0] == "cell_count"
    assert len(found) == 186
    medians = [group.cp.frame().groupby("Metadata_Well")[list(found.index[1:])].median() for group in (one, other)]
    for name in found.index[1:6]:
        a, b = (group[name].to_numpy(np.float64) for group in medians)
        row = found.loc[name]
        assert row["p"] == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-6)
        pooled = np.sqrt((4 * a.var(ddof=1) + 4 * b.var(ddof=1)) / 8)
        assert row["effect"] == pytest.approx((a.mean() - b.mean()) / pooled * (1 - 3 / 31), rel=1e-6)
        assert row["low"] < row["effect"] < row["high"]
        both = stats.spearmanr(counts, [*a, *b])
        assert row["count_correlation"] == pytest.approx(both.statistic)
    known = found["p"].iloc[1:].notna()
    np.testing.assert_allclose(
        found["q"].iloc[1:][known], stats.false_discovery_control(found["p"].iloc[1:][known]), rtol=1e-12
    )
    count = found.loc["cell_count"]
    assert (count["median"], count["median_other"]) == (6, 5)
    assert pd.isna(count["q"])
    with pytest.raises(ValueError, match="5 wells are in both groups"):
        one.cp.compare(opened.sel(well=names))
    with pytest.raises(ValueError, match="two wells with cells or more"):
        one.cp.compare(opened.sel(well=names[5:6]))
