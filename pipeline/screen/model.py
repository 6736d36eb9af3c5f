"""What a screen is, as a file says it: its channels, plates, plate maps and annotations."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from pipeline.screen.columns import CONDITION, VARIANT, short
from pipeline.screen.names import name_fault
from pipeline.section import Section
from pipeline.storage import Location


class PerturbationTable(Section):
    """One annotation table: what each sample on a plate map is."""

    table: Path = Field(description="TSV or CSV with one row per sample; see docs/inputs.md.")
    modality: str | None = Field(None, description="Plates this table belongs to (their `modality`); none: all plates.")
    key: str = Field("broad_sample", description="Column that names the sample, here and on the plate map.")
    negcon_name: str | None = Field(
        None,
        description="Name given to wells whose sample is empty on the plate map, where that means a negative control "
        "(DMSO on compound maps). None: an empty sample is an empty well.",
    )
    columns: dict[str, str] = Field(
        {}, description="Other names of its columns: {target_list: targets} reads target_list from targets."
    )
    missing: tuple[str, ...] = Field(("NA",), description="Texts that mean no value, besides the empty one.")


class Screen(Section):
    """What a screen is, apart from where it is run: its channels, plates, plate maps and annotations."""

    name: str = Field(description="Short name, used in the report.")
    images: Location | None = Field(None, description="Where the screen's images are published.")
    channels: dict[int, str] = Field(description="Channel number in the file names -> stain, e.g. {5: DNA}.")
    copies: dict[str, str] = Field(
        {},
        description="Stains without images of their own that are given another's, e.g. {HighZBF: Brightfield} "
        "for a pipeline that measures three brightfield planes where one was taken.",
    )
    image_name: str = Field("Orig{channel}", description="How the pipeline file calls the image of a stain.")
    illumination_name: str = Field("Illum{channel}", description="How it calls its illumination function.")
    sources: str = Field(
        "images",
        description="Input layout, where the sites come from: `images`: image folders named "
        "<plate>__<time>-Measurement<n>; `load_data`: workspace/load_data_csv/<batch>/<plate>/load_data.csv, for any "
        "other naming, and for illumination functions in other places. docs/inputs.md says more, docs/extending.md how "
        "to add one.",
    )
    plane: int | None = Field(None, ge=1, description="Plane to measure, where the images have several (p01, p02...).")
    batch: str | None = Field(None, description="Batch of plates whose image folder lies in no batch folder.")
    plates: Path | None = Field(
        None,
        description="CSV or TSV with one row per imaging of a plate: batch, plate, plate_map_name and conditions. "
        "image_folder, where a plate has several: the one to take, by its name or path.",
    )
    platemaps: Path | None = Field(
        None,
        description="Folder with the plate maps, <plate_map_name>.txt, .tsv or .csv. Files with other endings count "
        "for nothing.",
    )
    perturbations: tuple[PerturbationTable, ...] = Field((), description="Annotation tables of the samples.")
    condition: tuple[str, ...] = Field(
        CONDITION,
        description="Columns of `plates` that make a condition, any number of them: wells are compared where they "
        "agree in all, and every table of scores starts with them.",
    )
    variant: tuple[str, ...] = Field(
        ("batch", "imaging"),
        description="Columns of `plates` that tell plates outside the group `primary` apart from those in it; "
        "`imaging` is what the plate's name adds to its physical_plate.",
    )
    columns: dict[str, str] = Field(
        {}, description="Other names of columns of `plates`: {modality: perturbation} reads modality from perturbation."
    )
    groups: dict[str, tuple[dict[str, tuple[str, ...]], ...]] = Field(
        {},
        description="Named groups of plates, e.g. primary. A plate belongs if it fits one of the group's rules; a rule "
        "gives for columns of `plates` the values that fit, e.g. {batch: [B1], density: ['100']}.",
    )
    highlighted: dict[str, tuple[str, ...]] = Field(
        {},
        description="Score -> genes that its figures show by name, e.g. {umap: [PLK1], directionality: [BRD4]}.",
    )
    published: Path | None = Field(None, description="Folder with the published scores, for `paper-check`.")

    @field_validator("channels")
    @classmethod
    def _one_number_a_stain(cls, channels: dict[int, str]) -> dict[int, str]:
        twice = {stain for stain in channels.values() if list(channels.values()).count(stain) > 1}
        if twice or not channels:
            raise ValueError(f"each stain needs one number of its own: {', '.join(sorted(twice)) or 'there is none'}")
        for stain in channels.values():
            if fault := name_fault(stain):
                raise ValueError(f"a stain is part of file names, and {stain!r} {fault}")
        return channels

    @model_validator(mode="after")
    def _copies_are_of_channels(self) -> Self:
        for copy, stain in self.copies.items():
            if stain not in self.channels.values() or copy in self.channels.values():
                raise ValueError(f"copies: {copy}: {stain}: the first must be no channel, and the second must be one")
        return self

    @field_validator("image_name", "illumination_name")
    @classmethod
    def _holds_the_stain(cls, pattern: str) -> str:
        if "{channel}" not in pattern:
            raise ValueError("must hold {channel}, in whose place the stain is put, as in Orig{channel}")
        return pattern

    @field_validator("sources")
    @classmethod
    def _is_a_layout(cls, sources: str) -> str:
        there = import_module("pipeline.layouts").names()  # a room above this one
        if sources not in there:
            raise ValueError(f"must be an input layout: {', '.join(there)}")
        return sources

    @field_validator("condition")
    @classmethod
    def _are_not_the_plate(cls, condition: tuple[str, ...]) -> tuple[str, ...]:
        if alone := {"batch", "plate"} & set(condition):
            raise ValueError(f"{alone.pop()} says which plate it is; name columns that several plates share")
        if short(VARIANT) in condition:
            raise ValueError(f"{short(VARIANT)} is what tells plates of one condition apart; rename the column")
        return condition

    @field_validator("batch")
    @classmethod
    def _can_be_a_folder(cls, batch: str | None) -> str | None:
        if batch is not None and (fault := name_fault(batch)):
            raise ValueError(f"a batch is the name of a folder, and this one {fault}")
        return batch

    @property
    def image_names(self) -> dict[int, str]:
        """Channel number -> what the pipeline file calls its image, e.g. {5: "OrigDNA"}."""
        return {number: self.image_name.format(channel=stain) for number, stain in self.channels.items()}

    @property
    def illumination_names(self) -> dict[int, str]:
        """Channel number -> what the pipeline file calls its illumination function, e.g. {5: "IllumDNA"}."""
        return {number: self.illumination_name.format(channel=stain) for number, stain in self.channels.items()}

    @property
    def copied_names(self) -> dict[str, str]:
        """Image or illumination function that is a copy -> the one it is a copy of."""
        patterns = (self.image_name, self.illumination_name)
        return {
            pattern.format(channel=copy): pattern.format(channel=stain)
            for copy, stain in self.copies.items()
            for pattern in patterns
        }
