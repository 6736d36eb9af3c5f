"""Commands about profiles and scores alone, ours or published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.shared import Endpoint, ProfileName, app, listed, location_of, note
from pipeline.tasks import names

SCORES = f"Of: {', '.join(names())}."
#: for the help of `scores`, which is not to import them; a test holds them against the table of steps
STEPS = "Of: clip, centre_positions, sphere."


@app.command()
def scores(
    profiles: Annotated[
        list[str],
        typer.Argument(
            help="Folder or URL with profiles in the gallery's layout; with --replicates: files, folders or patterns "
            "of any tables of well profiles.",
            show_default=False,
        ),
    ],
    out: Annotated[str, typer.Option(help="Folder or URL for the tables, one parquet a task.")],
    screen: Annotated[str | None, typer.Option(help="Screen whose tables annotate them, e.g. cpjump1.")] = None,
    mode: Annotated[str, typer.Option(help="correct, published, or copairs.")] = "correct",
    task: Annotated[list[str] | None, typer.Option(help=f"Only this score; give it again for more. {SCORES}")] = None,
    secondary: Annotated[
        bool, typer.Option("--secondary", help="Also the screen's plates outside its primary group.")
    ] = False,
    step: Annotated[list[str] | None, typer.Option(help=f"Do this to the profiles first; repeatable. {STEPS}")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the null distributions.")] = 0,
    replicates: Annotated[
        str | None,
        typer.Option(help="Of any table: replicates agree in these columns, e.g. cell_line,dose."),
    ] = None,
    negcon: Annotated[
        str | None, typer.Option(help="Of any table: what is true of negative controls, e.g. 'genotype == \"WT\"'.")
    ] = None,
    condition: Annotated[
        str | None, typer.Option(help="Of any table: compare wells only where they agree in these columns.")
    ] = None,
    plate: Annotated[str | None, typer.Option(help="Of any table: the column that names the plate.")] = None,
    well: Annotated[str | None, typer.Option(help="Of any table: the column that names the well.")] = None,
    profile: ProfileName = None,
    endpoint: Endpoint = None,
) -> None:
    """Compute scores from well profiles alone: ours, published ones, or any table (--replicates and --negcon)."""
    from pipeline.config import load_screen
    from pipeline.scores import Grouping, overview, score_any_table, scores_command

    more: dict[str, Any] = {"seed": seed, "steps": step or (), "tell": note}
    target = location_of(out, profile, endpoint)
    if replicates is None:
        if len(profiles) > 1 or negcon or condition or plate or well:
            raise typer.BadParameter("several tables, --negcon, --condition, --plate and --well go with --replicates")
        source = location_of(profiles[0], profile, endpoint)
        annotated = None if screen is None else load_screen(screen)
        tables = scores_command(source, annotated, mode, target, task or (), secondary=secondary, **more)
    else:
        if negcon is None or screen is not None or secondary:
            raise typer.BadParameter("--replicates needs --negcon, and no --screen or --secondary")
        chosen = (tuple(listed(text) or ()) for text in (replicates, condition))
        asked, held = chosen
        grouping = Grouping(asked, negcon, held, plate or "", well or "")
        more |= {"profile": profile, "endpoint": endpoint}
        tables = score_any_table(profiles, grouping, mode, target, task or (), **more)
    if len(summary := overview(tables)):
        note(summary.to_string(index=False, float_format="%.3g"))
    note(f"{', '.join(sorted(tables))}: written to {out}, drawn in {out}/figures")


@app.command("paper-check")
def paper_check(
    profiles: Annotated[str, typer.Argument(help="Folder or URL with profiles in the gallery's layout.")],
    screen: Annotated[str, typer.Option(help="Screen with published numbers.")] = "cpjump1",
    seed: Annotated[int, typer.Option(help="Seed of the null distributions.")] = 0,
    profile: ProfileName = None,
    endpoint: Endpoint = None,
) -> None:
    """Every published number beside ours, with the tolerance and the defect that moves it. Ends with 3 if one that can
    be computed disagrees.
    """
    from pipeline.config import load_screen
    from pipeline.paper.paper_check import as_text, verdict
    from pipeline.paper.paper_check import paper_check as compare_with_paper

    table = compare_with_paper(location_of(profiles, profile, endpoint), load_screen(screen), seed=seed)
    note(as_text(table))
    raise typer.Exit(0 if verdict(table)[1] else 3)


@app.command()
def splits(
    out: Annotated[Path, typer.Argument(help="Folder for the files.")],
    screen: Annotated[str, typer.Option(help="Screen whose plates and perturbations are split.")] = "cpjump1",
) -> None:
    """Write the paper's recommended train, validation and test splits, one CSV each."""
    from pipeline.config import load_screen
    from pipeline.paper.splits import write_splits

    for path in write_splits(load_screen(screen), out):
        note(f"{path}: {sum(1 for _ in path.open()) - 1:,} rows")


@app.command("check-split")
def check_split(
    split: Annotated[Path, typer.Argument(help="CSV, TSV or parquet: part, and wells or samples (docs/scores.md).")],
    screen: Annotated[str, typer.Option(help="Screen whose tables say what is in the wells.")] = "cpjump1",
    profiles: Annotated[str | None, typer.Option(help="Annotated profiles that say it instead: folder or URL.")] = None,
    task: Annotated[str, typer.Option(help="gene-compound, or representation: no look at targets.")] = "gene-compound",
    profile: ProfileName = None,
    endpoint: Endpoint = None,
) -> None:
    """What a split of your own tears apart or leaks: wells, replicates, guides, identifiers, targets. Ends with 3 if
    anything.
    """
    from pipeline.config import load_screen
    from pipeline.paper.splits import as_text, check_split_file
    from pipeline.scores.load import load_profiles
    from pipeline.screen.variants import well_annotations

    if profiles is None:
        wells = well_annotations(load_screen(screen))
    else:
        wells = load_profiles(location_of(profiles, profile, endpoint))
    found = check_split_file(split, wells, task)
    note(as_text(found, task))
    raise typer.Exit(3 if len(found) else 0)
