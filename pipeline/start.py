"""Before the first task: the plan, the claim on the results root, the store's metadata."""

from __future__ import annotations

from pipeline import cells, illumination, measure
from pipeline.config import Config
from pipeline.engines import open_engine
from pipeline.errors import ConfigError
from pipeline.plan import Plan, make_plan, write_plan
from pipeline.progress import Progress
from pipeline.run_record import RECORD, Run, make_record, open_run, refuse_other, update_config, write_record
from pipeline.scores import in_order
from pipeline.screen import plate_wells
from pipeline.storage import open_storage


def start(config: Config, progress: Progress) -> Run:
    """Plan a new run and claim its root, or attach to the one that is there.

    Raises `SettingsDiffer` where the root belongs to a run with other settings.
    """
    storage = open_storage(config.results)
    refuse_other(storage, config.settings())
    if storage.stat(RECORD) is None:
        plan_run(config, progress, write=True)
    else:
        update_config(storage, config)
    run = open_run(config.results)
    measure.exclude_wells(run)
    return run


def plan_run(config: Config, progress: Progress, *, write: bool) -> Plan:
    """The plan of a run. With `write`, also writes all that workers need to find: plan, store, and last run.json.

    The pipeline file is opened first: what cannot run is refused before anything is listed.
    """
    in_order(config.scores.tasks)
    try:
        text = config.engine.cppipe.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"engine.cppipe: {config.engine.cppipe} cannot be read: {error.strerror}") from None
    with open_engine(config.engine.kind, text) as engine:
        inputs, version, features, left_out = engine.inputs, engine.version, engine.features, engine.left_out
        notes = engine.notes
    for module, reason in left_out.items():
        progress.say(f"Module {module} is left out: {reason}")
    for note in notes:
        progress.say(note)
    schema = cells.Schema.from_features(features, config.cells.compartments, config.cells.capacity)

    progress.say(f"Listing {config.images}")
    copies = config.screen.copied_names
    plan = make_plan(config, [name for name in inputs if name not in copies])
    if write:
        storage = open_storage(config.results)
        record = make_record(config, engine=version, inputs=inputs, schema=schema.digest, plates=plan.plate_list)
        refuse_other(storage, record["settings"])
        write_plan(plan, storage, is_new=storage.stat(RECORD) is None)
        cells.write_schema(storage, schema)
        for plate, size in zip(plan.plate_list, plan.plates["plate_size"], strict=True):
            cells.create_plate(storage, plate, plate_wells(size), schema)
        # What the config asks of illumination is refused here or not at all: after this, the root is claimed.
        for plate in plan.plate_list:
            illumination.sources(Run(storage, config, text, record), plate)
        write_record(storage, config, text, record)
    return plan
