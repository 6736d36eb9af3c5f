"""Everything -> one page: what ran, what failed and why, plates, wells as pictures, scores, links to the tables."""

from __future__ import annotations

import base64
import html
import json
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from pipeline import __version__, cells, scores
from pipeline.config import digest
from pipeline.costs.shown import cost_table
from pipeline.errors import NotFound
from pipeline.measure.preview import decode_preview
from pipeline.profiles import profile_notes
from pipeline.report.certificate import read_certificate
from pipeline.report.pictures import common_scale, composite, plate_heat_map
from pipeline.results import ledger
from pipeline.results.plan import read_findings
from pipeline.results.records import Standing, begin, compare, finish, read_record
from pipeline.results.run import Run
from pipeline.scores.drawing import as_svg, draw
from pipeline.scores.stage import read_score
from pipeline.screen import Plate, plate_size
from pipeline.screen.columns import GENE, PLATE, PREFIX, SAMPLE, SAMPLE_NAME, WELL
from pipeline.screen.spelling import is_negcon
from pipeline.status import STATES, by_plate, well_states
from pipeline.storage import Storage

PAGE, SUMMARY = "report/index.html", "report/summary.json"

#: wells shown as pictures in each condition when the config names none: so many with the strongest phenotypes
STRONGEST = 3


@dataclass(frozen=True)
class Summary:
    """What a run came to. `wells`: state -> count; `failures`: task -> reason; `version`: the project's;
    `partial`: "3 of 10 plates", while the run goes on; `stopped`: why tasks were left for another call."""

    results: str
    wells: dict[str, int]
    cells: int
    failed_sites: int
    failures: dict[str, str] = field(default_factory=dict)
    flagged_sites: int = 0
    version: str = ""
    partial: str = ""
    stopped: str = ""

    @property
    def is_complete(self) -> bool:
        left = self.partial or self.stopped
        return not (left or self.failures or self.failed_sites or self.wells.get("failed"))

    @property
    def report(self) -> str:
        return f"{self.results}/{PAGE}"

    @property
    def text(self) -> str:
        found = [state for state in STATES if state in self.wells]
        wells = ", ".join(f"{self.wells[state]:,} {state.replace('_', ' ')}" for state in found)
        lines = [f"Wells: {wells}. {self.cells:,} cells."]
        if self.failed_sites:
            lines.append(f"{self.failed_sites} sites could not be used; `status` and the report say why.")
        if self.flagged_sites:
            lines.append(f"{self.flagged_sites} sites were skipped, as the pipeline itself says (FlagImage).")
        lines += [self.stopped] if self.stopped else []
        lines += [f"Failed: {key}: {reason}" for key, reason in self.failures.items()]
        return "\n".join([*lines, f"Report: {self.report}", f"Single cells: {self.results}/cells"])


def standing(run: Run) -> Standing:
    """Whether the page shows what there is, and every task that it tells of ended well."""
    record = read_record(run.storage, SUMMARY)
    if record is not None and record.get("failures"):
        return Standing("stale", "tasks had failed")
    if record is not None and record.get("stopped"):
        return Standing("stale", "the run was stopped")
    return compare(record, _inputs(run))


def _inputs(run: Run) -> dict[str, Any]:
    """All that the page shows, by the records of its parts."""
    keys = [f"plates/{plate.key}.json" for plate in run.plates]
    keys += [f"profiles/{plate.key}/{plate.plate}.json" for plate in run.plates]
    keys += [f"profiles/{batch}/selection.json" for batch in dict.fromkeys(plate.batch for plate in run.plates)]
    keys += [f"scores/records/{score}.json" for score in [*scores.in_order(run.config.scores.tasks), scores.COMPARISON]]
    with ThreadPoolExecutor(16) as pool:
        records = pool.map(lambda key: read_record(run.storage, key), keys)
        found = {key: digest(record) for key, record in zip(keys, records, strict=True) if record is not None}
    findings = read_findings(run.storage).astype(str).to_numpy().tolist()
    return {
        **found,
        "wells": digest(run.wells.astype(str).to_numpy().tolist()),
        "findings": digest(findings),
        "condition": list(run.config.screen.condition),
        "highlighted": run.config.screen.model_dump(mode="json")["highlighted"],
        "images": run.config.images.url,
        "certificate": digest(_certificate(run)),
        "settings": run.config.report.model_dump(mode="json"),
    }


def read_summary(storage: Storage) -> Summary:
    """How the run ended. The results may have been copied since: they are where they are read from."""
    known = {name.name for name in fields(Summary)}
    record = {name: value for name, value in json.loads(storage.get(SUMMARY)).items() if name in known}
    return Summary(**record | {"results": str(storage.location)})


def write_report(
    run: Run, failures: Mapping[str, str] | None = None, partial: str = "", stopped: str | None = None
) -> Summary:
    """Write the page; it shows what there is. `failures`: tasks that failed, `stopped`: why others were not begun;
    default: as the last run ended. `partial`: "3 of 10 plates", of a run that goes on; the page says so."""
    before = read_record(run.storage, SUMMARY) or {}
    failures = before.get("failures", {}) if failures is None else failures
    stopped = before.get("stopped", "") if stopped is None else stopped
    begin(run.storage, SUMMARY)
    wells = well_states(run)
    found = wells["state"].value_counts()
    summary = Summary(
        results=str(run.storage.location),
        wells={state: int(found[state]) for state in STATES if state in found},
        cells=int(wells["n_cells"].sum()),
        failed_sites=int(
            (wells["sites"] - wells["sites_used"] - wells["sites_flagged"])[wells["state"] != "waiting"]
            .clip(lower=0)
            .sum()
        ),
        flagged_sites=int(wells["sites_flagged"].sum()),
        failures=dict(failures),
        version=__version__,
        partial=partial,
        stopped=stopped,
    )
    tables = scores.run_tables(run)
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    templates.filters["png"] = _png_element
    page = templates.get_template("page.html").render(
        run=run,
        summary=summary,
        states=STATES,
        plates=list(_plates(run, wells)),
        conditions=_conditions(run, wells),
        troubles=wells[wells["why"] != ""].to_dict("records"),
        findings=read_findings(run.storage).to_dict("records"),
        profile_notes=profile_notes(run),
        attempts=_attempts(run),
        costs=cost_table(run.storage),
        scored=_scored(tables),
        lacking=scores.lacking(run),
        figures=list(_figures(tables, run.config.screen.highlighted)),
        differences=_differences(run),
        certificate=_certificate(run),
        files=_files(run),
        score=next(iter(tables), ""),
    )
    run.storage.put(PAGE, page.encode())
    finish(run.storage, SUMMARY, _inputs(run) | ({"partial": partial} if partial else {}), **asdict(summary))
    return summary


def _plates(run: Run, wells: pd.DataFrame) -> Iterator[dict[str, Any]]:
    names = [f"{PREFIX}{name}" for name in run.config.screen.condition if f"{PREFIX}{name}" in wells]
    largest = float(wells["n_cells"].max())
    for plate, own in by_plate(wells):
        yield {
            "name": plate.key,
            "condition": " ".join(str(own[name].iloc[0]) for name in names).strip(),
            "counts": Counter(own["state"]),
            "cells": int(own["n_cells"].sum()),
            "published": cells.is_published(run.storage, plate),
            "map": plate_heat_map(own, plate_size(list(own[WELL])), largest),
        }


def _conditions(run: Run, wells: pd.DataFrame) -> list[dict[str, Any]]:
    """Chosen wells of each condition as pictures, on one scale per stain and condition."""
    names = [f"{PREFIX}{name}" for name in run.config.screen.condition if f"{PREFIX}{name}" in wells]
    measured = wells[wells["state"] == "measured"]
    groups = measured.groupby(names, sort=False) if names else [((), measured)]
    detection = _detection(run)
    shown = []
    for key, own in groups:
        previews = []
        for well, caption in _chosen(run, own, detection):
            try:
                data = run.storage.get(f"previews/{well.Metadata_Batch}/{well.Metadata_Plate}/{well.Metadata_Well}.npz")
            except NotFound:
                continue
            images, outlines = decode_preview(data)
            previews.append((well, caption, _by_stain(run, images), outlines))
        if previews:
            scale = common_scale([images for _, _, images, _ in previews])
            colours = run.config.report.colours
            pictures = [
                {
                    "title": f"{well.Metadata_Plate} {well.Metadata_Well}",
                    "caption": f"{caption}; {well.n_cells:,} cells",
                    "picture": composite(images, outlines, colours, scale, run.config.cells.compartments[:2]),
                }
                for well, caption, images, outlines in previews
            ]
            shown.append({"name": " ".join(map(str, key)) or "All wells", "pictures": pictures})
    return shown


def _chosen(run: Run, wells: pd.DataFrame, detection: pd.DataFrame | None) -> Iterator[tuple[Any, str]]:
    """Wells of one condition to show: those the config names, or a negative control and the strongest phenotypes."""
    if run.config.report.wells:
        for well in wells[wells[WELL].isin(run.config.report.wells)].itertuples():
            yield well, _called(well)
        return
    plate = wells[wells[PLATE] == wells[PLATE].iloc[0]]
    control = is_negcon(plate)
    for well in plate[control].head(1).itertuples():
        yield well, "negative control"
    rest = plate[~control]
    if detection is not None and SAMPLE in rest:
        names = [name for name in run.config.screen.condition if name in detection]
        own = detection
        for name in names:
            own = own[own[name] == wells[f"{PREFIX}{name}"].iloc[0]]
        best = own.sort_values("mean_average_precision", ascending=False).head(STRONGEST)
        for label, precision in best[["label", "mean_average_precision"]].itertuples(index=False):
            for well in rest[rest[SAMPLE] == label].head(1).itertuples():
                yield well, f"{_called(well)}, mAP {precision:.2f}"
    else:
        for well in rest.head(STRONGEST).itertuples():
            yield well, _called(well)


def _called(well: Any) -> str:
    names = (SAMPLE_NAME, GENE, SAMPLE)
    return next((str(name) for name in (getattr(well, column, "") for column in names) if name), "sample not named")


def _by_stain(run: Run, images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    screen = run.config.screen
    stains = {screen.image_names[channel]: stain for channel, stain in screen.channels.items()}
    return {stains[name]: pixels for name, pixels in images.items() if name in stains}


def _detection(run: Run) -> pd.DataFrame | None:
    try:
        return read_score(run.storage, "detection")
    except NotFound:
        return None


def _scored(tables: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """Score -> what it asks, and one row a condition: how many are retrieved and left out, their mAP, the smallest p of
    the design.
    """
    table = scores.overview(tables)
    names = [name for name in table if name != "task"][: list(table).index("n_classes") - 1] if len(table) else []
    table["condition"] = _conditions_in_words(table, names)
    found = {}
    for task, rows in table.groupby("task", sort=False):
        score = scores.find(str(task))
        about = {
            "question": score.question,
            "row": score.rows[str(task)],
            "left_out": score.rows.get(f"{task}_left_out"),
        }
        found[str(task)] = {**about, "rows": rows.to_dict("records")}
    return found


def _figures(tables: Mapping[str, pd.DataFrame], highlighted: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    """The figures of the scores there are, as SVG, and the tables that hold their numbers."""
    for name, drawing in draw(tables, highlighted).items():
        svg = as_svg(drawing.figure).decode()
        yield {"name": name, "svg": svg[svg.index("<svg") :], "tables": drawing.tables}


def _differences(run: Run) -> list[dict[Hashable, Any]]:
    """What the other mode would have said, condition by condition; see `mode_differences`."""
    try:
        table = read_score(run.storage, "mode_differences")
    except NotFound:
        return []
    counted = table.columns[list(table.columns).index("n_classes") :]
    named = [name for name in table.columns if name not in counted and name != "task"]
    table["condition"] = _conditions_in_words(table, named)
    return table.to_dict("records")


def _conditions_in_words(table: pd.DataFrame, names: Sequence[Hashable]) -> list[str]:
    """One text a row: "crispr A549 compound long reagent short"."""
    said = {"compound_timepoint": "compound ", "gene_timepoint": "reagent ", "position": "position "}
    parts = table[[*names]].fillna("").astype(str).to_dict("records")
    return [" ".join(f"{said.get(str(name), '')}{part}" for name, part in row.items() if part) for row in parts]


def _certificate(run: Run) -> dict[str, Any] | None:
    """For a run of the native engine, the certificate that covers it, or None."""
    return read_certificate(run.storage, run.cppipe, str(run.record["measuring"]["engine_version"]))


def _attempts(run: Run) -> dict[str, Any] | None:
    attempts = pd.DataFrame(ledger.read_attempts(run.storage, run.measuring12, run.plates))
    if attempts.empty:
        return None
    return {
        "number": len(attempts),
        "raised": int((attempts["outcome"] == "raised").sum()),
        "hours": attempts["seconds"].sum() / 3600,
        "median": attempts["seconds"].median(),
        "memory": attempts["peak_memory_mb"].max(),
        "workers": attempts["worker"].nunique(),
    }


def _files(run: Run) -> list[dict[str, str]]:
    """Tables beside the page, with links that work wherever the results are copied. Those of single wells and of single
    units of a score are left out; the whole ones hold them. So are those of plates that are in the plan no more."""
    folders = ("scores/", "profiles/", "plan/", "image_measurements/", "verify/")
    found = [entry for folder in folders for entry in run.storage.entries(folder)]
    plates = set(run.plates)
    return [
        {"key": entry.key, "link": f"../{entry.key}", "size": f"{entry.size / 1e6:.1f} MB"}
        for entry in found
        if entry.key.endswith((".parquet", ".csv"))
        and not entry.key.startswith("scores/parts/")
        and not (entry.key.startswith("image_measurements/") and entry.key.count("/") == 3)
        and ((plate := _plate_of(entry.key)) is None or plate in plates)
    ]


def _plate_of(key: str) -> Plate | None:
    """The plate that a stored table is of, or None."""
    match = re.match(r"(?:profiles|plan/sites|image_measurements)/([^/]+)/([^/]+?)(?:\.parquet)?(?:/|$)", key)
    return Plate(*match.groups()) if match else None


def _png_element(data: bytes, title: str) -> Any:
    source = base64.b64encode(data).decode()
    return jinja2.filters.Markup(f'<img alt="{html.escape(title)}" src="data:image/png;base64,{source}">')
