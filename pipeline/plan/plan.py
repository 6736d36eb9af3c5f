"""From a config to the plan of its run: every site with its images, every well with what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.config import Config, Subset
from pipeline.errors import ConfigError
from pipeline.plan.checks import check_files, check_plates, check_sites, check_wells, findings_table, most_serious
from pipeline.plan.layout import Layout, find_layout
from pipeline.plan.listing import REQUESTS, site_table
from pipeline.plan.probe import probe
from pipeline.plan.subset import choose_plates, choose_sites, choose_wells, excluded_wells, name_wells
from pipeline.screen import Plate, name_fault, plate_size, well_position
from pipeline.screen.columns import BATCH, COLUMN, IMAGE_FOLDER, PLATE, PLATE_KEY, ROW, SITE, WELL, WELL_KEY
from pipeline.screen.findings import Finding
from pipeline.screen.model import Screen
from pipeline.screen.plates import plate_list, plates_table
from pipeline.screen.wells import screen_wells
from pipeline.storage import Storage, open_storage
from pipeline.tables import TEXT


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    `sites`: one row a site that is to be measured: Metadata_Batch, Metadata_Plate, Metadata_Well, Metadata_Site (int),
    and for each image of the channel map `Key_<image>` (below config.images; NaN where missing), `Size_<image>`
    (Int64), `ETag_<image>` (the MD5 of the file, where the store has it).
    `wells`: one row a well, on the plate map or imaged: see `screen_wells`; `sites`, how many of it have images; and
    `excluded`, why it is not to be measured (empty: it is). The sites of an excluded well are not among `sites`.
    `plate_sites`: the same as `sites` for all wells of these plates that have images.
    `plates`: one row a plate that has images: its row of the plates table; `image_folder`, `plate_size` (96, 384 or
    1536), `image_height`, `image_width`, `image_dtype` and `Dtype_<image>` (see `probe`); for every published
    illumination function `Key_<function>`, `Size_<function>`, `ETag_<function>`.
    `findings`: see `findings_table`.
    `chosen`: the wells that this call is about, as (batch, plate, well); None: all that are planned.
    """

    sites: pd.DataFrame
    wells: pd.DataFrame
    plates: pd.DataFrame
    findings: pd.DataFrame
    plate_sites: pd.DataFrame
    chosen: frozenset[tuple[str, str, str]] | None = None

    @property
    def plate_list(self) -> list[Plate]:
        return plate_list(self.plates)

    def plate_wells(self, plate: Plate) -> list[str]:
        """All wells of a plate, imaged or not, row by row."""
        return list(of_plate(self.wells, plate)[WELL])


class PlateImages(NamedTuple):
    """One plate as listed. `about`: what its images add to its row of the plates table."""

    plate: Plate
    sites: pd.DataFrame
    about: dict[str, object]
    findings: list[Finding]


def make_plan(
    config: Config,
    needed: Iterable[str] | None = None,
    earlier: pd.DataFrame | None = None,
    kept: Callable[[Plate], PlateImages] | None = None,
) -> Plan:
    """List the images, join the metadata, check one against the other.

    `needed`: an engine's inputs, without which a site cannot be measured; default: all images of the channel map.
    `earlier`: wells (Metadata_Batch, _Plate, _Well) that were asked for before; they stay in the plan beside the
    config's subset. `kept`: what was planned of a plate before, for one of `earlier` that has no images now: what map,
    annotations and config say of its wells is as new as for any other.
    What is missing is a finding and stops nothing. A plate whose table, names or folders leave open what is meant is
    one too (`plate_unusable`), and is not planned. Raises `ConfigError` where no plate is left, where the screen's own
    tables leave open what is meant, and where an input is no image of the channel map.
    """
    needed = _needed_images(config.screen, needed)
    layout = find_layout(config.screen.sources)
    before = set() if earlier is None else set(earlier[WELL_KEY].itertuples(index=False, name=None))
    table, listed, findings, known, chosen, excluded = _look(config, layout, before, kept)

    plates = _plates(table, listed, config.screen)
    on_map, about_maps = screen_wells(config.screen, plates[table.columns])
    unusable = {Plate(finding.batch, finding.plate) for finding in about_maps if finding.kind == "plate_unusable"}
    plates = plates[[plate not in unusable for plate in plate_list(plates)]].reset_index(drop=True)
    sites = pd.concat([one.sites for one in listed if one.plate not in unusable], ignore_index=True)
    plates["plate_size"] = _plate_sizes(plates, on_map, sites)
    left_out = _by_well(excluded, pd.concat([on_map[WELL_KEY], sites[WELL_KEY]]))
    if config.subset.sites:
        sites = sites[sites[SITE].isin(choose_sites(config.subset.sites, sites[SITE]))]
    plate_sites = sites.reset_index(drop=True)
    asked = _Asked.by(config.subset, chosen, pd.concat([on_map[WELL_KEY], sites[WELL_KEY]]), before)
    on_map, sites = (rows[asked.stays(rows)].reset_index(drop=True) for rows in (on_map, plate_sites))
    wells, sites = _without(left_out, _with_imaged(on_map, sites, plates[table.columns]), sites)

    findings += about_maps
    if layout.can_share:
        findings += check_files(plates, sites, known)
    findings += _check_plates(config, wells, sites, needed)
    plates = plates.drop(columns=IMAGE_FOLDER, errors="ignore")  # image_folder is the one that was taken
    wells = wells.drop(columns="on_map")
    return Plan(sites, wells, plates, findings_table(findings), plate_sites, asked.among(wells))


class _Looked(NamedTuple):
    """The plates that are planned: `table`, their rows of the plates table; `listed`, what there is of each. `known`:
    all plates there are; `chosen`: those that the subset names, None for all; `excluded`: see `excluded_wells`.
    """

    table: pd.DataFrame
    listed: list[PlateImages]
    findings: list[Finding]
    known: set[Plate]
    chosen: set[Plate] | None
    excluded: dict[Plate, dict[str, str]]


def _look(
    config: Config,
    layout: Layout,
    before: set[tuple[str, str, str]],
    kept: Callable[[Plate], PlateImages] | None,
) -> _Looked:
    screen = config.screen
    (table, findings), found = plates_table(screen), layout.find(open_storage(config.images), screen)
    planned_before = {Plate(*key[:2]) for key in before} if kept else set()
    if not found and not planned_before:
        raise ConfigError(
            f"There is no {layout.looked_for} below {config.images}. Check `images`; `sources` in the screen says "
            "whether image folders or load_data tables are looked for."
        )
    known = {*found, *planned_before, *plate_list(table)}
    excluded = excluded_wells(config.subset.exclude, screen, table, known)
    chosen = choose_plates(config.subset.plates, screen, table, known)
    if chosen is not None:
        planned = chosen | {Plate(*key[:2]) for key in before}
        table = table[np.array([plate in planned for plate in plate_list(table)], dtype=bool)]
        found = {plate: place for plate, place in found.items() if plate in planned}
        findings = [finding for finding in findings if (finding.batch, finding.plate) in planned]
    if screen.plates is not None:
        named = plate_list(table)
        refused = [Plate(finding.batch, finding.plate) for finding in findings if finding.batch and finding.plate]
        findings += check_plates([*named, *refused], found)
        found = {plate: place for plate, place in found.items() if plate in set(named)}
    else:
        table = _bare_table(table, {*found, *planned_before})

    everything = _list_all(config, table, found, planned_before, kept)
    findings += [finding for one in everything for finding in one.findings]
    if config.illumination not in ("auto", "gallery"):  # published functions are of no use to this run
        findings = [finding for finding in findings if not finding.kind.startswith("illumination_")]
    listed = [one for one in everything if len(one.sites)]
    if not listed:
        reasons = " ".join(finding.what for finding in most_serious(findings)[:3])
        raise ConfigError(f"There is nothing to measure below {config.images}. {reasons}".strip())
    return _Looked(table, listed, findings, known, chosen, excluded)


def _list_all(
    config: Config,
    table: pd.DataFrame,
    found: Mapping[Plate, Any],
    before: set[Plate],
    kept: Callable[[Plate], PlateImages] | None,
) -> list[PlateImages]:
    """Every plate that was found, as listed; those planned `before` that have no images now, as they were `kept`."""
    storage, screen = open_storage(config.images), config.screen
    folders = dict(zip(plate_list(table), table.get(IMAGE_FOLDER, [""] * len(table)), strict=True))
    with ThreadPoolExecutor(REQUESTS) as pool:
        listed = list(
            pool.map(lambda plate: _list(storage, screen, plate, found[plate], folders[plate]), sorted(found))
        )
    lost = (before & set(plate_list(table))) - {one.plate for one in listed if len(one.sites)}
    return [*listed, *(kept(plate) for plate in sorted(lost) if kept)]


def _check_plates(config: Config, wells: pd.DataFrame, sites: pd.DataFrame, needed: Iterable[str]) -> Iterator[Finding]:
    sites_of = dict(list(sites.groupby(PLATE_KEY, sort=False)))
    for key, own in wells.groupby(PLATE_KEY, sort=False):
        plate = Plate(*map(str, key))
        yield from check_wells(plate, own, by_mad=config.profiles.normalize == "mad_robustize")
        yield from check_sites(plate, sites_of.get(key, sites.iloc[:0]), needed)


def _needed_images(screen: Screen, inputs: Iterable[str] | None) -> list[str]:
    names, functions = list(screen.image_names.values()), set(screen.illumination_names.values())
    needed = names if inputs is None else [name for name in inputs if name not in functions]
    if unknown := sorted(set(needed) - set(names)):
        raise ConfigError(
            f"The pipeline file needs {', '.join(unknown)}; by the channel map the images are {', '.join(names)}. "
            "Complete `channels` in the screen, or set `image_name` and `illumination_name` to the way the file "
            "names them."
        )
    return needed


def of_plate(table: pd.DataFrame, plate: Plate) -> pd.DataFrame:
    return table[(table[BATCH] == plate.batch) & (table[PLATE] == plate.plate)]


def _bare_table(table: pd.DataFrame, found: Iterable[Plate]) -> pd.DataFrame:
    """Where a screen has no plates table, the plates are those there are images of, and nothing else is known."""
    return pd.DataFrame(sorted(found), columns=PLATE_KEY).reindex(columns=table.columns, fill_value="")


def _list(storage: Storage, screen: Screen, plate: Plate, place: Any, wanted: str) -> PlateImages:
    """`place`: where the source found the plate; `wanted`: its image folder by the plates table. No sites, and a
    finding, where tables, names or folders of this plate leave open what is meant.
    """
    try:
        for name in plate:
            if name and (fault := name_fault(name)):
                raise ConfigError(f"{name!r} cannot be the name of a batch or plate: it {fault}.")
        listed = find_layout(screen.sources).images(storage, screen, plate, place, wanted)
    except ConfigError as error:
        what = str(error) if str(error).startswith(f"{plate} ") else f"{plate} cannot be planned: {error}"
        return PlateImages(plate, pd.DataFrame(), {}, [Finding("plate_unusable", *plate, what)])
    folder, images, illumination, findings = listed
    sites = site_table(plate, images, screen.image_names.values())
    if sites.empty and not any(finding.kind == "plate_not_imaged" for finding in findings):
        findings = [*findings, Finding("plate_not_imaged", *plate, f"{plate}: there are no images in {folder.prefix}.")]
    about, unreadable = probe(storage, plate, images)
    about |= {"image_folder": folder.prefix, **illumination}
    return PlateImages(plate, sites, about, [*findings, *unreadable])


def _plates(table: pd.DataFrame, listed: list[PlateImages], screen: Screen) -> pd.DataFrame:
    """The rows of the plates that have images, in the order of the table, with what the images add."""
    names = [f"{part}_{name}" for name in screen.illumination_names.values() for part in ("Key", "Size", "ETag")]
    sizes = [f"Size_{name}" for name in screen.illumination_names.values()]
    dtypes = [f"Dtype_{name}" for name in screen.image_names.values()]
    columns = [*PLATE_KEY, "image_folder", "image_height", "image_width", "image_dtype", *dtypes, *names]
    about = pd.DataFrame([dict(zip(PLATE_KEY, one.plate, strict=True)) | one.about for one in listed]).reindex(
        columns=columns
    )
    about = about.astype(
        {name: "Int64" if name in ("image_height", "image_width", *sizes) else TEXT for name in columns}
    )
    return table.merge(about, on=PLATE_KEY)


def _plate_sizes(plates: pd.DataFrame, on_map: pd.DataFrame, sites: pd.DataFrame) -> list[int]:
    wells = pd.concat([on_map[WELL_KEY], sites[WELL_KEY]]).drop_duplicates()
    sizes = wells.groupby(PLATE_KEY)[WELL].agg(lambda names: plate_size(list(names)))
    return [int(sizes[plate]) for plate in plate_list(plates)]


class _Asked(NamedTuple):
    """The wells that a call asks for. `plates`, `wells`: None means all; `before`: what earlier calls asked for."""

    plates: set[Plate] | None
    wells: set[str] | None
    before: set[tuple[str, str, str]]

    @classmethod
    def by(
        cls, subset: Subset, plates: set[Plate] | None, there: pd.DataFrame, before: set[tuple[str, str, str]]
    ) -> _Asked:
        own = there if plates is None else there[[plate in plates for plate in plate_list(there)]]
        return cls(plates, choose_wells(subset.wells, own[WELL]) if subset.wells else None, before)

    def is_now(self, key: tuple[str, str, str]) -> bool:
        return (self.plates is None or key[:2] in self.plates) and (self.wells is None or key[2] in self.wells)

    def stays(self, rows: pd.DataFrame) -> np.ndarray:
        """Which rows of a table of wells or sites belong to what is or was asked for."""
        keys = rows[WELL_KEY].itertuples(index=False, name=None)
        return np.array([self.is_now(key) or key in self.before for key in keys], dtype=bool)

    def among(self, wells: pd.DataFrame) -> frozenset[tuple[str, str, str]] | None:
        if self.plates is None and self.wells is None:
            return None
        return frozenset(key for key in wells[WELL_KEY].itertuples(index=False, name=None) if self.is_now(key))


def _by_well(excluded: Mapping[Plate, Mapping[str, str]], wells: pd.DataFrame) -> dict[tuple[str, ...], str]:
    """(batch, plate, well) -> why it is not to be measured. `wells`: all of the planned plates."""
    return {
        (*plate, well): reason
        for plate, own in excluded.items()
        for well, reason in name_wells(plate, own, of_plate(wells, plate)[WELL]).items()
    }


def _without(
    reasons: Mapping[tuple[str, ...], str], wells: pd.DataFrame, sites: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The wells with `excluded`, and the sites of those that are not."""
    wells["excluded"] = [reasons.get(well, "") for well in wells[WELL_KEY].itertuples(index=False, name=None)]
    wells.loc[wells["excluded"] != "", "sites"] = 0
    stay = [well not in reasons for well in sites[WELL_KEY].itertuples(index=False, name=None)]
    return wells, sites[stay].reset_index(drop=True)


def _with_imaged(on_map: pd.DataFrame, sites: pd.DataFrame, plates: pd.DataFrame) -> pd.DataFrame:
    """The wells of the maps and those that only have images, of which nothing is known; with `sites` and `on_map`."""
    counts = sites.groupby(WELL_KEY, sort=False).size().rename("sites").reset_index()
    wells = on_map.merge(counts, on=WELL_KEY, how="left").assign(on_map=True)
    others = counts.merge(on_map[WELL_KEY], on=WELL_KEY, how="left", indicator=True)
    others = others[others.pop("_merge") == "left_only"].assign(on_map=False)
    others = plates.drop(columns=IMAGE_FOLDER, errors="ignore").merge(others, on=PLATE_KEY)
    positions = [well_position(name) for name in others[WELL]]
    others[ROW], others[COLUMN] = zip(*positions, strict=True) if positions else ([], [])
    both = pd.concat([wells, others], ignore_index=True)
    numbers = [ROW, COLUMN, "sites"]
    both[numbers] = both[numbers].fillna(0).astype("int64")
    texts = [name for name in both.columns if name not in (*numbers, "on_map")]
    both[texts] = both[texts].astype(TEXT).fillna("")
    both["on_map"] = both["on_map"].astype(bool)
    order = {plate: place for place, plate in enumerate(plate_list(plates))}
    both["order"] = [order[plate] for plate in plate_list(both)]
    return both.sort_values(["order", ROW, COLUMN], ignore_index=True).drop(columns="order")
