"""What a simulated screen holds: genes with phenotypes, perturbations of known strength, plates, wells and faults.

A design is small and decides everything: the same design gives the same tables and the same pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.screen import well_name
from pipeline.screen.columns import NEGCON
from pipeline.simulate.render import CHANNELS, Microscope, Phenotype

BATCH = "2026_01_05_Simulated"

#: modality -> first plate number and hours of treatment
MODALITIES = {"compound": (100, 24), "crispr": (200, 96), "orf": (300, 48)}

#: What the two compounds of a gene do, gene after gene: 1 acts like its knock-out, -1 the opposite, 0 nothing.
COMPOUND_EFFECTS = ((1, 1), (1, -1), (-1, -1), (1, 0))


@dataclass(frozen=True)
class ScreenDesign:
    """A screen's size. Each gene has two compounds, two guides and one ORF.

    `plates`: replicate plates of each modality; `copies`: wells of a sample on a plate; `rows`: rows of a plate that
    are used, as many columns as it takes; `image_size`: pixels a side, a multiple of 5, so that illumination
    functions computed at a fifth of the size fit their images.
    """

    strong_genes: int
    weak_genes: int
    inert_genes: int
    plates: int
    copies: int
    negcons: int
    sites: int
    rows: int
    image_size: int = 280
    seed: int = 1

    def __post_init__(self) -> None:
        if self.image_size % 5:
            raise ValueError(f"image_size {self.image_size} is no multiple of 5")


#: With 2 plates x 2 wells a perfect average precision among 16 negative controls has p = 1/969, which stays below
#: 0.05 after correction for the two dozen queries or so of a condition.
DESIGNS = {
    "tiny": ScreenDesign(1, 0, 1, plates=2, copies=1, negcons=3, sites=1, rows=2),
    "small": ScreenDesign(2, 0, 1, plates=2, copies=2, negcons=16, sites=1, rows=4),
    "dry-run": ScreenDesign(4, 0, 2, plates=2, copies=2, negcons=16, sites=2, rows=4),
    "native": ScreenDesign(10, 2, 4, plates=3, copies=2, negcons=24, sites=2, rows=8),
}


class Sample(NamedTuple):
    """One perturbation. `strength` carries the sign: a compound of -1 does the opposite of its gene's knock-out."""

    modality: str
    name: str
    gene: str
    control_type: str
    strength: float
    phenotype: Phenotype

    @property
    def expected(self) -> str:
        if self.control_type == NEGCON:
            return NEGCON
        return "inert" if self.strength == 0 else "weak" if abs(self.strength) < 0.6 else "strong"

    @property
    def relation(self) -> str:
        """Whether a compound or an ORF looks like the knock-out of its gene."""
        if self.modality == "crispr" or self.strength == 0:
            return ""
        return "mimic" if self.strength > 0 else "oppose"


def generator(design: ScreenDesign, *key: object) -> np.random.Generator:
    """The random numbers of one thing and of nothing else, so that any subset comes out the same in any order."""
    digest = hashlib.blake2b("/".join(map(str, (design.seed, BATCH, *key))).encode(), digest_size=16)
    return np.random.default_rng(int.from_bytes(digest.digest(), "little"))


@lru_cache
def samples(design: ScreenDesign) -> tuple[Sample, ...]:
    """All perturbations, negative controls included, modality by modality."""
    found: list[Sample] = []
    genes = design.strong_genes + design.weak_genes + design.inert_genes
    for number in range(genes):
        gene = f"GENE{number + 1:02d}"
        signature = _signature(design, number)
        scale = 1.0 if number < design.strong_genes else 0.35 if number < genes - design.inert_genes else 0.0

        def add(modality: str, name: str, strength: float, signature=signature, gene=gene, scale=scale) -> None:
            strength = strength * scale + 0.0  # adding 0 makes -0 a plain 0
            look = Phenotype(*(float(strength * axis) + 0.0 for axis in signature))
            found.append(Sample(modality, name, gene, "", strength, look))

        for copy, effect in enumerate(COMPOUND_EFFECTS[number % len(COMPOUND_EFFECTS)], 1):
            add("compound", f"CPD-{number + 1:02d}-{copy}", effect)
        add("crispr", f"GUIDE-{number + 1:02d}-1", 1.0)
        add("crispr", f"GUIDE-{number + 1:02d}-2", 0.85)
        add("orf", f"ORF-{number + 1:02d}", -0.85)
    found.append(Sample("compound", "DMSO", "", NEGCON, 0.0, Phenotype()))
    for modality, name in (("crispr", "NO-SITE"), ("orf", "ORF-CONTROL")):
        for number in range((design.negcons + 3) // 4):
            found.append(Sample(modality, f"{name}-{number + 1:02d}", "", NEGCON, 0.0, Phenotype()))
    return tuple(sorted(found, key=lambda sample: list(MODALITIES).index(sample.modality)))


def _signature(design: ScreenDesign, number: int) -> np.ndarray:
    """A gene's phenotype: three axes, which no other of four neighbouring genes has. float (axes,)"""
    axes = [axis for axis in Phenotype._fields if axis != "cell_count"]
    order = generator(design, "axes", number // 4).permutation(len(axes))
    rng = generator(design, "signature", number)
    signature = np.zeros(len(Phenotype._fields))
    for one in order[3 * (number % 4) :][:3]:
        signature[Phenotype._fields.index(axes[one])] = rng.choice((-1, 1)) * rng.uniform(1.0, 1.3)
    return signature


# --- plates ---


def plate_names(design: ScreenDesign, modality: str) -> list[str]:
    first, _ = MODALITIES[modality]
    return [f"SIM{first + number:05d}" for number in range(1, design.plates + 1)]


def platemap_name(modality: str) -> str:
    return f"Simulated_{modality}_platemap"


def image_folder(plate: str) -> str:
    return f"{plate}__2026-01-05T09_00_00-Measurement1"


def platemap(design: ScreenDesign, modality: str) -> pd.DataFrame:
    """plate_map_name, well_position, broad_sample (and solvent). An empty sample is DMSO on the compound map and an
    empty well, one a map, on the others."""
    here = [sample for sample in samples(design) if sample.modality == modality]
    treated = [sample.name for sample in here if sample.control_type != NEGCON]
    controls = [sample.name for sample in here if sample.control_type == NEGCON]
    names = treated * design.copies + [controls[one % len(controls)] for one in range(design.negcons)]
    if modality == "compound":
        names = ["" if name == "DMSO" else name for name in names]
    else:
        names.append("")
    names = list(generator(design, "platemap", modality).permutation(names))
    columns = -(-len(names) // design.rows)
    wells = [well_name(1 + one // columns, 1 + one % columns) for one in range(len(names))]
    frame = pd.DataFrame({"plate_map_name": platemap_name(modality), "well_position": wells, "broad_sample": names})
    return frame.assign(solvent="DMSO") if modality == "compound" else frame


@lru_cache
def well_sample(design: ScreenDesign, modality: str) -> dict[str, Sample | None]:
    """Well -> what is in it; None is an empty well."""
    by_name: dict[str, Sample | None] = {one.name: one for one in samples(design) if one.modality == modality}
    by_name[""] = by_name.get("DMSO")
    wells = platemap(design, modality)
    return {well: by_name[name] for well, name in zip(wells.well_position, wells.broad_sample, strict=True)}


class Fault(NamedTuple):
    """`kind`: no cells, not imaged (wells); missing, truncated (one image)."""

    plate: str
    well: str
    site: int | None
    channel: int | None
    kind: str


@lru_cache
def faults(design: ScreenDesign) -> tuple[Fault, ...]:
    """What is wrong with the screen, as something always is. Samples lose nothing by it: it meets controls."""
    found = []
    wells = {modality: well_sample(design, modality) for modality in MODALITIES}
    for modality in ("crispr", "orf"):
        empty = next(well for well, sample in wells[modality].items() if sample is None)
        found += [Fault(plate, empty, None, None, "no cells") for plate in plate_names(design, modality)]
    controls = {
        modality: [well for well, sample in placed.items() if sample is not None and sample.control_type == NEGCON]
        for modality, placed in wells.items()
    }
    last = {modality: plate_names(design, modality)[-1] for modality in MODALITIES}
    found.append(Fault(last["compound"], controls["compound"][0], design.sites, 3, "missing"))
    found.append(Fault(last["crispr"], controls["crispr"][1], design.sites, 4, "truncated"))
    found.append(Fault(last["orf"], controls["orf"][-1], None, None, "not imaged"))
    return tuple(found)


def microscope(design: ScreenDesign, plate: str) -> Microscope:
    """Staining and illumination of one plate's imaging."""
    rng = generator(design, plate, "microscope")
    falloff = np.concatenate([rng.uniform(0.08, 0.14, 5), rng.uniform(0.005, 0.015, 3)])
    return Microscope(np.exp(rng.normal(0, 0.06, 8)), rng.normal(0, 0.15, (8, 2)), falloff)


def phenotype(design: ScreenDesign, plate: str, well: str, sample: Sample) -> Phenotype:
    """How the cells of one well look: the sample's phenotype, and what differs from plate to plate and well to well."""
    shift = generator(design, plate, "cells").normal(0, 0.1, len(Phenotype._fields))
    shift += generator(design, plate, well, "cells").normal(0, 0.1, len(Phenotype._fields))
    return Phenotype(*(float(axis) for axis in np.add(sample.phenotype, shift)))


# --- tables, as those of CPJUMP1 ---


def image_plates(design: ScreenDesign) -> pd.DataFrame:
    """One row a plate, with the columns of CPJUMP1's manifest."""
    rows = []
    gone = pd.DataFrame(faults(design), columns=Fault._fields)
    for modality, (_, hours) in MODALITIES.items():
        nominal = len(platemap(design, modality)) * design.sites * len(CHANNELS)
        for number, plate in enumerate(plate_names(design, modality), 1):
            kinds = gone.loc[gone.plate == plate, "kind"]
            missing = int((kinds == "missing").sum())
            missing += int((kinds == "not imaged").sum()) * design.sites * len(CHANNELS)
            rows.append(
                {
                    "batch": BATCH,
                    "plate": plate,
                    "physical_plate": plate,
                    "plate_map_name": platemap_name(modality),
                    "description": f"Simulated {modality} plate {number}",
                    "perturbation": modality,
                    "cell_type": "U2OS",
                    "time_h": hours,
                    "timepoint": "short",
                    "density_pct": 100,
                    "antibiotics": "absent",
                    "cell_line": "Parental",
                    "time_delay": "Day0",
                    "times_imaged": 1,
                    "anomaly": "none",
                    "number_of_images": nominal - missing,
                    "nominal_sites_per_well": design.sites,
                    "missing_images": missing,
                    "group": "primary",
                    "image_folder": image_folder(plate),
                }
            )
    return pd.DataFrame(rows)


def truth(design: ScreenDesign) -> pd.DataFrame:
    """The planted answer, one row a sample.

    `expected`: strong, weak, inert or negcon; `relation`: a compound or ORF that looks like the knock-out of its gene
    (mimic) or like its opposite (oppose); `sisters`: the samples of the modality that look alike, joined by `|`;
    then the phenotype, axis by axis.
    """
    everything = samples(design)
    rows = []
    for one in everything:
        alike = [
            other.name
            for other in everything
            if (other.modality, other.gene) == (one.modality, one.gene) and one.strength * other.strength > 0
        ]
        rows.append(
            {
                "modality": one.modality,
                "broad_sample": one.name,
                "gene": one.gene,
                "strength": one.strength,
                "expected": one.expected,
                "relation": one.relation,
                "sisters": "|".join(name for name in alike if name != one.name),
                **one.phenotype._asdict(),
            }
        )
    return pd.DataFrame(rows)


def perturbations(design: ScreenDesign, modality: str) -> pd.DataFrame:
    """The annotation table of a modality, with the columns of CPJUMP1's."""
    rows = []
    for one in (sample for sample in samples(design) if sample.modality == modality):
        control = one.control_type == NEGCON
        row = {"broad_sample": one.name, "gene": one.gene}
        if modality == "compound":
            does = {"mimic": "inhibitor", "oppose": "activator", "": "inert compound"}[one.relation]
            row = {
                "row_kind": "DMSO" if control else "compound",
                "broad_sample": one.name,
                "pert_iname": "" if control else f"{does} of {one.gene} {one.name[-1]}",
                "primary_target": one.gene,
                "target_list_benchmark": one.gene,
                "target_list": one.gene,
            }
        rows.append({**row, "pert_type": "control" if control else "trt", "control_type": one.control_type})
    return pd.DataFrame(rows)
