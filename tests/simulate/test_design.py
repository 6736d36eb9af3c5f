from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd
import pytest

from pipeline.config import SCREENS, load_screen
from pipeline.screen.plates import screen_plates
from pipeline.screen.wells import screen_wells
from pipeline.simulate.design import (
    DESIGNS,
    MODALITIES,
    faults,
    image_plates,
    perturbations,
    platemap,
    samples,
    truth,
    well_sample,
)
from pipeline.simulate.screen import write_tables

DRY_RUN = DESIGNS["dry-run"]
AXES = list(truth(DRY_RUN).columns[7:])


@pytest.fixture(params=DESIGNS)
def design(request):
    return DESIGNS[request.param]


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_sample_on_a_plate_map_is_annotated_and_placed_equally_often(design, modality):
    wells = platemap(design, modality)
    table = perturbations(design, modality)
    placed = wells.broad_sample[wells.broad_sample != ""].value_counts()
    treated = table.broad_sample[table.control_type == ""]
    assert set(placed.index) <= set(table.broad_sample)
    assert set(placed[treated]) == {design.copies}
    assert wells.well_position.is_unique


@pytest.mark.parametrize("modality", MODALITIES)
def test_negative_controls_and_empty_wells_are_as_many_as_the_design_says(design, modality):
    wells = well_sample(design, modality).values()
    assert sum(one is not None and one.control_type == "negcon" for one in wells) == design.negcons
    # An empty sample is DMSO on a compound map and an empty well on the others, as in CPJUMP1.
    assert sum(one is None for one in wells) == (0 if modality == "compound" else 1)


def test_the_tables_have_the_columns_of_cpjump1(tmp_path):
    write_tables(tmp_path, DRY_RUN)
    real = SCREENS / "cpjump1"

    def columns(path) -> list[str]:
        return list(pd.read_csv(path, sep="," if path.suffix == ".csv" else "\t", nrows=0).columns)

    assert columns(tmp_path / "image_plates.csv") == columns(real / "image_plates.csv")
    for modality in MODALITIES:
        ours = columns(tmp_path / f"platemaps/Simulated_{modality}_platemap.txt")
        assert ours == columns(real / f"platemaps/JUMP-Target-1_{modality}_platemap.txt")
        name = f"perturbations/{modality}_metadata.tsv"
        assert set(columns(tmp_path / name)) <= set(columns(real / name))


def test_the_plan_reads_the_tables_and_finds_the_controls(tmp_path):
    screen = load_screen(str(write_tables(tmp_path, DRY_RUN)))
    plates = screen_plates(screen)
    wells, findings = screen_wells(screen, plates)
    assert not findings
    assert len(plates) == len(MODALITIES) * DRY_RUN.plates
    controls = wells[wells.Metadata_control_type == "negcon"].groupby("Metadata_Plate").size()
    assert set(controls) == {DRY_RUN.negcons}
    assert len(controls) == len(plates)


def test_faults_never_meet_a_sample_and_each_kind_is_there(design):
    treated = {
        (plate, well)
        for plate, modality in image_plates(design)[["plate", "perturbation"]].itertuples(index=False)
        for well, sample in well_sample(design, modality).items()
        if sample is not None and sample.control_type != "negcon"
    }
    assert not treated & {(fault.plate, fault.well) for fault in faults(design)}
    assert {fault.kind for fault in faults(design)} == {"no cells", "not imaged", "missing", "truncated"}


def test_guides_of_a_gene_look_alike_and_other_genes_differ(design):
    table = truth(design).query("modality == 'crispr' and expected == 'strong'").set_index("broad_sample")
    looks = table[AXES].to_numpy(float)
    cosine = looks @ looks.T / np.outer(*2 * [np.linalg.norm(looks, axis=1)])
    same = table.gene.to_numpy()[:, None] == table.gene.to_numpy()
    assert cosine[same].min() == pytest.approx(1)
    assert np.abs(cosine[~same]).max(initial=0) < 0.95
    assert list(table.sisters) == [name[:-1] + ("2" if name[-1] == "1" else "1") for name in table.index]


def test_mimics_point_with_their_genes_knock_out_and_opposites_against_it():
    table = truth(DRY_RUN)
    knock_out = table[table.modality == "crispr"].drop_duplicates("gene").set_index("gene")[AXES]
    relations = set()
    for row in table[table.relation != ""].to_dict("records"):
        look, gene = np.array([row[axis] for axis in AXES]), knock_out.loc[row["gene"]].to_numpy(float)
        cosine = look @ gene / np.linalg.norm(look) / np.linalg.norm(gene)
        assert cosine == pytest.approx({"mimic": 1, "oppose": -1}[row["relation"]])
        relations.add((row["modality"], row["relation"]))
    assert relations == {("compound", "mimic"), ("compound", "oppose"), ("orf", "oppose")}


def test_inert_samples_do_nothing():
    inert = truth(DRY_RUN).query("expected == 'inert'")
    assert len(inert) > 5
    assert not inert[AXES].to_numpy(float).any()


def test_the_dry_run_can_tell_a_strong_perturbation_from_chance():
    positives = DRY_RUN.plates * DRY_RUN.copies - 1
    smallest = 1 / comb(positives + DRY_RUN.negcons, positives)
    for modality in MODALITIES:
        queries = [one for one in samples(DRY_RUN) if one.modality == modality and one.control_type == ""]
        strong = sum(one.expected == "strong" for one in queries)
        assert smallest * len(queries) / strong < 0.05 / 5
