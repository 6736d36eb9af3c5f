"""What the metadata names and the images lack, and the reverse: a sentence each, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from pipeline.screen import Plate
from pipeline.screen.columns import BATCH, PLATE, PLATE_KEY, SITE, WELL
from pipeline.screen.findings import Finding
from pipeline.screen.spelling import is_negcon

#: kinds of findings -> what to call them in a listing; the most serious first
KINDS = {
    "plate_unusable": "Plates of which no site can be measured",
    "pipeline_file": "What is read in the pipeline file otherwise than it stands there",
    "plate_not_imaged": "Plates in the plates table without images",
    "same_file": "Images and illumination functions that stand for several things",
    "of_another_plate": "Plates that are given files with another plate's name",
    "plate_not_in_table": "Plates with images, but not in the plates table: left out",
    "plate_without_map": "Plates without a plate map",
    "no_negative_controls": "Plates without negative controls",
    "few_negative_controls": "Plates with too few negative controls to normalise by",
    "unreadable": "Images that cannot be read",
    "unlike_others": "Images of another size or type than others of their plate",
    "illumination_missing": "Illumination functions that load_data names and that are not there",
    "illumination_unused": "Illumination functions that are there and are not used",
    "image_missing": "Sites with images missing",
    "empty_file": "Image files without content",
    "site_missing": "Wells with sites missing",
    "images_gone": "Plates that were planned before and cannot be now",
    "images_replaced": "Wells measured from other images than there are now",
    "well_excluded": "Wells left out by subset.exclude",
    "well_not_imaged": "Wells that are named and have no images",
    "well_not_on_map": "Wells with images, but not on the plate map",
    "sample_unknown": "Samples on a plate map without annotation",
    "table_of_another_name": "Plates whose load_data table has another name",
    "not_in_load_data": "Images that load_data does not name: left out",
    "unknown_channel": "Channels that the channel map does not name: left out",
    "extra_file": "Files that are no image of a well: left out",
}


#: Negative controls below which their MAD says little of how far wells scatter. Of three normal values it is less than
#: a tenth of what it estimates in 11 % of features, of two in 8 %, of four in 2 %, of eight in 0.06 %; such a feature
#: comes out ten times too large. Of one value it is 0.
FEWEST_CONTROLS = 4
#: Wells below which a plate is a first look, of which that is not worth a word before the run; a single control is.
FIRST_LOOK = 8


def findings_table(findings: Iterable[Finding]) -> pd.DataFrame:
    """One row a finding: kind, batch, plate, what, well, site (Int64), file. Most serious kinds first."""
    return pd.DataFrame(most_serious(findings), columns=list(Finding._fields)).astype({"site": "Int64"})


def most_serious(findings: Iterable[Finding]) -> list[Finding]:
    """In order of their kinds, the most serious first."""
    order = list(KINDS)
    return sorted(findings, key=lambda finding: order.index(finding.kind))


def check_plates(named: Iterable[Plate], imaged: Iterable[Plate]) -> Iterator[Finding]:
    """Plates that only the plates table, or only the listing, knows."""
    named, imaged = list(named), list(imaged)
    for plate in sorted(set(named) - set(imaged)):
        elsewhere = sorted(other.batch or "no batch folder" for other in imaged if other.plate == plate.plate)
        alike = sorted(str(other) for other in imaged if _plain(other) == _plain(plate))
        hint = f"; there are images of a plate of this name in {', '.join(elsewhere)}" if elsewhere else ""
        hint = hint or (f"; there are images of {', '.join(alike)}" if alike else "")
        what = f"The plates table names {plate}, of which there are no images{hint}."
        yield Finding("plate_not_imaged", *plate, what)
    for plate in sorted(set(imaged) - set(named)):
        what = f"There are images of {plate}, which the plates table does not name: the plate is left out."
        if not plate.batch:
            what = (
                f"There are images of {plate.plate} in no batch folder: the plate is left out. Set `batch` in the "
                "screen, or point `images` one folder higher."
            )
        yield Finding("plate_not_in_table", *plate, what)


def _plain(plate: Plate) -> tuple[str, ...]:
    """Batch and plate without what spreadsheets take from names: leading zeros, and the case."""
    return tuple(name.lower().lstrip("0") for name in plate)


def check_files(plates: pd.DataFrame, sites: pd.DataFrame, known: Iterable[Plate]) -> Iterator[Finding]:
    """Files that stand for several things, and files of one plate that carry the name of another.

    `plates` and `sites` as in `Plan`; `known`: all plates there are. A load_data table can name anything.
    """
    of_images = [name for name in sites.columns if name.startswith("Key_")]
    keys = pd.concat([sites[name] for name in of_images]).dropna()
    shared = set(keys[keys.duplicated()])
    images = sites[sites[of_images].isin(shared).any(axis=1)]
    images = _keys(images, [BATCH, PLATE, WELL, SITE])
    yield from _shared_images(images[images["key"].isin(shared)])
    functions = _keys(plates, PLATE_KEY)
    for (batch, plate, key), own in functions.groupby([BATCH, PLATE, "key"], sort=False):
        if len(own) > 1:
            what = f"{batch}/{plate}: {key} is named as {' and '.join(own['name'])}."
            yield Finding("same_file", str(batch), str(plate), what, file=str(key))
    for (key, name), own in functions.groupby(["key", "name"], sort=False):
        if len(own) > 1:
            owners = _plates(own)
            what = f"{key} is the {name} of {_several(owners)}."
            yield Finding("same_file", *owners[0], what, file=str(key))

    names = {plate: {other.plate for other in known if other.batch == plate.batch} for plate in _plates(plates)}
    folders = plates["image_folder"].str.rstrip("/").str.removesuffix("/Images")
    given = [*zip(_plates(functions), functions["key"], strict=True), *zip(_plates(plates), folders, strict=True)]
    for plate, path in given:
        folder, file = ["", *path.split("/")][-2:]
        other = _named_after(file, plate, names[plate]) or _named_after(folder, plate, names[plate])
        if other not in (None, plate.plate):
            what = f"{plate} is given {path}, which carries the name of plate {other}."
            yield Finding("of_another_plate", *plate, what, file=path)


def _keys(table: pd.DataFrame, place: list[str]) -> pd.DataFrame:
    """One row a file of the table: the columns `place`, name (of the image or function) and key."""
    names = [name for name in table.columns if name.startswith("Key_")]
    long = table.melt(place, names, "name", "key").dropna(subset="key")
    return long.assign(name=long["name"].str.removeprefix("Key_"))


def _shared_images(images: pd.DataFrame) -> Iterator[Finding]:
    """`images`: those whose file others have too. One finding for all that are shared in the same way."""
    ways: dict[tuple[Plate, str], list[str]] = {}
    for key, own in images.groupby("key", sort=False):
        plates, example = list(dict.fromkeys(_plates(own))), str(key)
        wells = list(dict.fromkeys(zip(own[WELL], own[SITE], strict=True)))
        if len(plates) > 1:
            way = f"by {_several(plates)}"
        elif len(wells) > 1:
            way = "for several sites"
            example += f" for {' and '.join(f'{well} site {site}' for well, site in wells[:2])}"
        else:
            way = f"as both {' and '.join(own['name'])}"
        ways.setdefault((plates[0], way), []).append(example)
    for (plate, way), keys in sorted(ways.items()):
        where = "" if way.startswith("by") else f"{plate}: "
        what = f"{where}{len(keys):,} image{'s are' if len(keys) > 1 else ' is'} named {way}, such as {keys[0]}."
        yield Finding("same_file", *plate, what, file=keys[0].partition(" for ")[0])


def _plates(table: pd.DataFrame) -> list[Plate]:
    """The plate of each row."""
    return [Plate(*row) for row in table[PLATE_KEY].itertuples(index=False)]


def _several(plates: list[Plate], most: int = 3) -> str:
    names = ", ".join(map(str, plates[:most])) + (f" and {len(plates) - most} more" if len(plates) > most else "")
    return f"{'two' if len(plates) == 2 else len(plates)} plates, {names}"


def _named_after(part: str, plate: Plate, others: Iterable[str]) -> str | None:
    """The plate that a part of a path is named after (<plate>, <plate>__<time>..., <plate>_...), its own first."""
    names = (plate.plate, *sorted(others))
    return next((name for name in names if part == name or part.startswith(f"{name}_")), None)


def check_wells(plate: Plate, wells: pd.DataFrame, *, by_mad: bool = False) -> Iterator[Finding]:
    """`wells`: the rows of this plate. Wells that only its map, or only the listing, knows; too few negative controls.

    `by_mad`: profiles are normalised by the MAD of the controls, for which a few are too few.
    """
    for well, reason in wells.loc[wells["excluded"] != "", [WELL, "excluded"]].itertuples(index=False):
        yield Finding("well_excluded", *plate, f"{plate} {well} is not to be measured: {reason}", well)
    wells = wells[wells["excluded"] == ""]
    on_map = wells["on_map"]
    if not on_map.any():
        return  # the plate has no map
    for well in wells.loc[on_map & (wells["sites"] == 0), WELL]:
        yield Finding("well_not_imaged", *plate, f"{plate} {well} is on the plate map and has no images.", well)
    for well in wells.loc[~on_map, WELL]:
        what = f"{plate} {well} has images and is not on the plate map: nobody knows what is in it."
        yield Finding("well_not_on_map", *plate, what, well)
    controls = int(is_negcon(wells[on_map]).sum())
    if by_mad and (controls == 1 or (0 < controls < FEWEST_CONTROLS and len(wells) >= FIRST_LOOK)):
        yield Finding("few_negative_controls", *plate, f"{plate} has {few_controls(controls)}.")
    if not controls:
        what = (
            f"{plate} has no negative control (control_type negcon) among the planned wells: its profiles cannot be "
            "compared with any. Plan such wells too; or give the annotation table a control_type, or a negcon_name "
            "where an empty sample means one."
        )
        yield Finding("no_negative_controls", *plate, what)


def few_controls(count: int) -> str:
    """What is wrong with so few negative controls, after "has"."""
    return (
        f"{count} negative control{'s' if count > 1 else ''} (control_type negcon): too few for a MAD, which takes "
        f"{FEWEST_CONTROLS}. Profiles relative to them can be many times too large; those relative to all wells of the "
        "plate (level normalized) do not rest on them"
    )


def check_sites(plate: Plate, sites: pd.DataFrame, needed: Iterable[str]) -> Iterator[Finding]:
    """Sites and images that are missing on this plate.

    A site is missing where another well of the plate has it: how many there should be is written nowhere.
    `needed`: names of the images without which a site cannot be measured.
    """
    if sites.empty:
        return
    usual = set(sites[SITE])
    for well, have in sites.groupby(WELL, sort=False)[SITE]:
        if lacking := sorted(usual - set(have)):
            what = f"{plate} {well} lacks {_sites(lacking)}, which other wells of the plate have."
            yield Finding("site_missing", *plate, what, str(well), lacking[0] if len(lacking) == 1 else None)

    needed = list(needed)
    missing = sites[[f"Key_{name}" for name in needed]].isna().set_axis(needed, axis="columns")
    if missing.any(axis=1).all():
        never = [name for name in needed if missing[name].all()]
        why = f"{', '.join(never)} missing everywhere" if never else "each site lacks one or another"
        what = f"{plate}: no site has all images the pipeline needs ({why}). None of its wells can be measured."
        yield Finding("plate_unusable", *plate, what)
    incomplete = missing.any(axis=1)
    for row, lacks in zip(
        sites[incomplete].itertuples(index=False), missing[incomplete].itertuples(index=False), strict=True
    ):
        names = ", ".join(name for name, lack in zip(needed, lacks, strict=True) if lack)
        where = f"{plate} {row.Metadata_Well} site {row.Metadata_Site}"
        yield Finding(
            "image_missing", *plate, f"{where} lacks {names}.", str(row.Metadata_Well), int(str(row.Metadata_Site))
        )

    for name in needed:
        for row in sites.loc[sites[f"Size_{name}"] == 0, [WELL, SITE, f"Key_{name}"]].itertuples(index=False):
            well, site, key = row
            what = f"{plate} {well} site {site}: the file of {name} has no content."
            yield Finding("empty_file", *plate, what, str(well), int(str(site)), str(key))


def _sites(numbers: list[int]) -> str:
    return f"site{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
