"""Before the first task: the plan, the claim on the results root, the store's metadata."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd

from pipeline import cells, illumination, images, measure
from pipeline.config import Config
from pipeline.engines import cppipe, open_engine
from pipeline.errors import AccessDenied, Away, ConfigError, NotFound, SettingsDiffer, StorageError
from pipeline.plan import Plan, findings_table, make_plan
from pipeline.plan.plan import PlateImages
from pipeline.progress import Progress
from pipeline.results import ledger
from pipeline.results.overlay import overlay
from pipeline.results.plan import read_plates, read_sites, read_wells, write_plan
from pipeline.results.run import RECORD, Run, find_root, make_record, refuse_other, write_record
from pipeline.scores import in_order
from pipeline.screen import Plate, plate_wells
from pipeline.screen.columns import COLUMN, PLATE_KEY, ROW, WELL_KEY
from pipeline.screen.findings import Finding
from pipeline.screen.model import Screen
from pipeline.screen.plates import plate_list, screen_plates
from pipeline.storage import IMPATIENT, Location, Storage, open_storage, patience


def start(
    config: Config,
    progress: Progress,
    *,
    new_measuring: bool = False,
    through: Callable[[Location], Storage] = open_storage,
) -> Run:
    """Bring the plan of a root up to date and claim the root, or attach to it.

    The plan holds what earlier calls asked for too: a root grows, and a call with a smaller subset takes nothing away.
    `through`: opens the root. Raises `SettingsDiffer` where the root belongs to another measuring, unless
    `new_measuring` asks for a root beside it.
    """
    opened = _open(config, progress, new_measuring=new_measuring, through=through)
    return _write(opened, _planned(opened, progress))


def plan_run(config: Config, progress: Progress, *, write: bool) -> Plan:
    """The plan of a run. With `write`, also writes all that workers need to find: plan, store, and last run.json.

    The pipeline file is opened first: what cannot run is refused before anything is listed.
    """
    opened = _open(config, progress, through=open_storage if write else overlay)
    plan = _planned(opened, progress)
    if write:
        _write(opened, plan)
    return plan


def rehearse(config: Config, plan: Plan, progress: Progress) -> Run:
    """A root at `config.results` that holds this plan, a part of the config's own, and nothing else."""
    return _write(_open(config, progress), plan)


@dataclass(frozen=True)
class _Opened:
    """A config whose pipeline an engine has opened, and the root that it goes to.

    `record`: what run.json is to say; `notes`: what the engine says of the pipeline file.
    """

    config: Config
    storage: Storage
    cppipe: str
    illumination_cppipe: str | None
    record: dict[str, Any]
    schema: cells.Schema
    notes: tuple[str, ...]

    def run(self, chosen: frozenset[tuple[str, str, str]] | None = None) -> Run:
        return Run(self.storage, self.config, self.cppipe, self.record, chosen, self.illumination_cppipe)


def _open(
    config: Config,
    progress: Progress,
    *,
    new_measuring: bool = False,
    through: Callable[[Location], Storage] = open_storage,
) -> _Opened:
    in_order(config.scores.tasks)
    text = cppipe.read_text(config.engine.cppipe)
    with open_engine(config.engine.kind, text, rules=config.engine.rules_texts) as engine:
        inputs, version, features, left_out = engine.inputs, engine.version, engine.features, engine.left_out
        notes = engine.notes
    for module, reason in left_out.items():
        progress.say(f"Module {module} is left out: {reason}")
    if not config.cells.compartments:
        found = cells.compartments_of(features, cppipe.secondary_objects(cppipe.read(text)))
        config = config.model_copy(update={"cells": config.cells.model_copy(update={"compartments": found})})
    schema = cells.Schema.from_features(features, config.cells.compartments, config.cells.capacity)
    notes += tuple(_tables_apart(schema))
    for note in notes:
        progress.say(note)
    with patience(IMPATIENT):  # a place that was never there is no outage
        _check_results(through(config.results))
        with suppress(AccessDenied):  # the listing says which right is lacking
            open_storage(config.images).stat(RECORD)
    record = make_record(config, engine=version, inputs=inputs, schema=schema.digest, reading=images.REVISION)
    root = find_root(config.results, record, new=new_measuring)
    if root != config.results:
        progress.say(f"The cells at {config.results} were measured otherwise; these results are at {root}")
        config = config.model_copy(update={"results": root})
    storage = through(root)
    refuse_other(storage, record)
    opened = _Opened(config, storage, text, _illumination_text(config, progress), record, schema, notes)
    illumination.how_made(opened.run())  # what is wrong with an illumination pipeline is said before anything is read
    return opened


def _illumination_text(config: Config, progress: Progress) -> str | None:
    if config.illumination_pipeline is None:
        return None
    text = cppipe.read_text(config.illumination_pipeline)
    for note in illumination.notes(text):
        progress.say(f"Illumination pipeline: {note}")
    return text


def _tables_apart(schema: cells.Schema) -> Iterator[str]:
    """Says which object sets make no cell, whoever chose the compartments."""
    apart = [name for name, count in schema.left_out.items() if count]
    if apart:
        yield (
            f"A cell is stored as {', '.join(schema.compartments)} (cells.compartments). "
            f"{', '.join(apart)} make no cell, and have a table of their own each (objects/)."
        )


def _check_results(storage: Storage) -> None:
    """Raises `ConfigError` where the place of the results cannot be reached, made or written to."""
    try:
        storage.prepare()
        storage.stat(RECORD)
    except StorageError as error:
        if isinstance(error, Away):
            raise
        raise ConfigError(f"results: {error}") from error


def _planned(opened: _Opened, progress: Progress) -> Plan:
    config, storage = opened.config, opened.storage
    earlier = _earlier(storage)
    progress.say(f"Listing {config.images}")
    copies = config.screen.copied_names
    needed = [name for name in opened.record["inputs"] if name not in copies]
    plan = make_plan(config, needed, earlier, partial(_kept, storage))
    plan = replace(plan, findings=_more(plan, [Finding("pipeline_file", "", "", note) for note in opened.notes]))
    plan = _with_unusable_plates(plan, storage, config.screen, earlier)
    if earlier is None:
        return plan
    run = opened.run()
    listed = ledger.listed_plates(storage, run.measuring12, plan.plate_list)
    return _with_replaced(_with_lost_wells(plan, earlier, listed), run, listed)


def _earlier(storage: Storage) -> pd.DataFrame | None:
    try:
        return read_wells(storage)
    except NotFound:
        return None


def _kept(storage: Storage, plate: Plate) -> PlateImages:
    """What was planned of a plate whose images are gone: they are often moved away once they are measured."""
    row = read_plates(storage).set_index(PLATE_KEY).loc[[plate]].iloc[0].dropna()
    return PlateImages(
        plate, read_sites(storage, plate), dict(zip(map(str, row.index), row, strict=True)), [_gone(plate)]
    )


def _gone(plate: Plate) -> Finding:
    what = (
        f"{plate} was planned before and cannot be now: its images or tables are gone. What was measured of it stays."
    )
    return Finding("images_gone", *plate, what)


def _with_unusable_plates(plan: Plan, storage: Storage, screen: Screen, earlier: pd.DataFrame | None) -> Plan:
    """The plan with the plates, as they were, that were planned before and whose tables cannot be read now.

    A plate that the plates table names no more is left out.
    """
    if earlier is None:
        return plan
    before, named = read_plates(storage), plate_list(screen_plates(screen))
    lost = [plate for plate in plate_list(before) if plate not in plan.plate_list]
    lost = [plate for plate in lost if screen.plates is None or plate in named]
    if not lost:
        return plan
    # The order of a plan, whichever plates were lost: sums over plates hang on it.
    order = {plate: place for place, plate in enumerate(named or sorted({*plan.plate_list, *lost}))}

    def joined(table: pd.DataFrame, old: pd.DataFrame) -> pd.DataFrame:
        rows = old[[plate in lost for plate in plate_list(old)]].reindex(columns=table.columns)
        if table is plan.wells:  # a column that is new says nothing of these
            rows = rows.fillna("")
        both = pd.concat([table, rows.astype(table.dtypes)], ignore_index=True)
        places = pd.Series([order[plate] for plate in plate_list(both)], dtype=int)
        return both.iloc[places.argsort(kind="stable")].reset_index(drop=True)

    return replace(
        plan,
        plates=joined(plan.plates, before),
        wells=joined(plan.wells, earlier),
        plate_sites=joined(plan.plate_sites, pd.concat([read_sites(storage, plate) for plate in lost])),
        findings=_more(plan, [_gone(plate) for plate in lost]),
    )


def _with_lost_wells(plan: Plan, earlier: pd.DataFrame, listed: Mapping[Plate, Container[str]]) -> Plan:
    """The plan with the wells that were measured and that neither a plate map nor an image names now."""
    now = set(plan.wells[WELL_KEY].itertuples(index=False, name=None))
    keys = earlier[WELL_KEY].itertuples(index=False, name=None)
    is_lost = [key not in now and key[2] in listed.get(Plate(*key[:2]), ()) for key in keys]
    if not any(is_lost):
        return plan
    lost = earlier[is_lost].reindex(columns=plan.wells.columns).assign(sites=0).fillna("").astype(plan.wells.dtypes)
    wells = pd.concat([plan.wells, lost], ignore_index=True)
    order = {plate: place for place, plate in enumerate(plan.plate_list)}
    wells["order"] = [order[plate] for plate in plate_list(wells)]
    wells = wells.sort_values(["order", ROW, COLUMN], ignore_index=True).drop(columns="order")
    what = "{}/{} {} is on no plate map and has no images now. What was measured of it stays."
    keys = lost[WELL_KEY].itertuples(index=False, name=None)
    found = [Finding("images_gone", batch, plate, what.format(batch, plate, well), well) for batch, plate, well in keys]
    return replace(plan, wells=wells, findings=_more(plan, found))


def _with_replaced(plan: Plan, run: Run, listed: Mapping[Plate, Mapping[str, ledger.Listed]]) -> Plan:
    """The plan with a finding for each well that was measured from other images than there are now."""
    found = [
        Finding("images_replaced", *plate, _REPLACED.format(plate=plate, well=well), well)
        for plate, own in listed.items()
        if own
        for well in measure.replaced_wells(run, plan.plate_sites, plate, own)
    ]
    return replace(plan, findings=_more(plan, found)) if found else plan


_REPLACED = (
    "{plate} {well} was measured from other images than there are now. Its result stays; `retry --replaced` has it "
    "measured again."
)


def _more(plan: Plan, found: list[Finding]) -> pd.DataFrame:
    return findings_table([*(Finding(*row) for row in plan.findings.itertuples(index=False, name=None)), *found])


def _write(opened: _Opened, plan: Plan) -> Run:
    storage = opened.storage
    run = opened.run(plan.chosen)
    _refuse_other_illumination(run, plan)
    write_plan(plan, storage)
    cells.write_schema(storage, opened.schema)
    for plate, size in zip(plan.plate_list, plan.plates["plate_size"], strict=True):
        cells.create_plate(storage, plate, plate_wells(size), opened.schema)
    # What the config asks of illumination is refused here or not at all: after this, the root is claimed.
    for plate in plan.plate_list:
        illumination.sources(run, plate)
    write_record(run)
    return run


def _refuse_other_illumination(run: Run, plan: Plan) -> None:
    """Raises `SettingsDiffer` where measured wells of a plate were corrected by another published function."""
    if run.config.illumination not in ("auto", "gallery"):  # they are of no use to this root
        return
    try:
        before = read_plates(run.storage).set_index(PLATE_KEY)
    except NotFound:
        return
    functions = [f"ETag_{function}" for function in illumination.wanted(run)]
    for row in plan.plates[[*PLATE_KEY, *functions]].fillna("").to_dict("records"):
        plate = Plate(row[PLATE_KEY[0]], row[PLATE_KEY[1]])
        if plate not in before.index:
            continue
        then = before.loc[[plate]].reindex(columns=functions).fillna("").iloc[0]
        changed = [name for name in functions if row[name] != then[name]]
        if changed and ledger.listed_wells(run.storage, run.measuring12, plate):
            name = changed[0]
            raise SettingsDiffer(
                f"Illumination function {name.removeprefix('ETag_')} of plate {plate} is another file than the one by "
                f"which its measured wells were corrected (ETag {row[name] or 'none'} now, {then[name] or 'none'} "
                "before). Nothing was changed. Put that file back, give `results` another place, or have the whole "
                f"plate measured again: `retry --plate {plate}`, then `run`."
            )
