"""The paper's train, validation and test splits, and a check of anyone's own split for leaks.

The paper's rules: replicates of a perturbation stay together (within a condition), so do all cells of a well, both
guides of a gene, and the identifiers of one compound. Its gene-compound split goes by a compound's primary target; a
compound that also lists a gene of another part leaks in any task that uses the whole list, and the check says so.
Negative controls may lie in every part, but for the cells of one well.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.errors import ConfigError
from pipeline.profiles.read import PARQUET, decode, named_once, text_table, usual_well
from pipeline.scores.genes import genes_of
from pipeline.screen.annotations import read_annotation
from pipeline.screen.columns import (
    BATCH,
    CONDITION,
    CONTROL_TYPE,
    GENE,
    NEGCON,
    PLATE,
    PLATE_KEY,
    SAMPLE,
    SAMPLE_NAME,
    TARGETS,
    WELL,
    column_of,
    short,
)
from pipeline.screen.groups import primary_plates
from pipeline.screen.model import Screen
from pipeline.screen.spelling import NO_VALUE, number_of, text_of
from pipeline.screen.variants import well_annotations

#: Columns of a split that say where a row is from; a split has `part` and some of them.
PLACE = ["batch", "plate", "well"]
GROWN = ["cell_type", "timepoint"]
KINDS = ["compound", "crispr", "orf"]

#: What is known of a well.
DESCRIBED = (PLATE, WELL, SAMPLE, CONTROL_TYPE, BATCH, *map(column_of, CONDITION), GENE, TARGETS, SAMPLE_NAME)

#: Rule -> what a split that breaks it does.
RULES = {
    "wells": "cells of one well lie in several parts",
    "replicates": "replicates of one perturbation lie in several parts",
    "guides": "guides of one gene lie in several parts",
    "identifiers": "identifiers of one compound lie in several parts",
    "targets": "a compound lists genes whose reagents lie in another part",
    "shared_targets": "a compound lists genes without reagents in the split, which compounds of another part list too",
}

#: The rules of the task "gene-compound" alone.
OF_GENES = ("targets", "shared_targets")

SPLIT_TASKS = ("representation", "gene-compound")


def representation_split(screen: Screen) -> pd.DataFrame:
    """One row a modality, sample and condition of the primary plates: genetic reagents train, compounds validate
    (short) and test (long). Columns modality, broad_sample ("": empty wells), cell_type, timepoint, part.
    """
    plates = primary_plates(screen)[PLATE_KEY]
    columns = ["modality", "broad_sample", *GROWN]
    wells = well_annotations(screen).merge(plates, on=PLATE_KEY)
    split = wells[[column_of(name) for name in columns]].drop_duplicates(ignore_index=True).set_axis(columns, axis=1)
    part = split["timepoint"].map({"short": "validate", "long": "test"})
    return split.assign(part=part.where(split["modality"] == "compound", "train"))


def gene_compound_split(screen: Screen) -> pd.DataFrame:
    """Two rows a gene, guide i with compound i (a lone one twice): gene, part, orf, crispr, compound.

    Genes were drawn with R's generator, so their parts come from the published file.
    """
    if screen.published is None:
        raise ConfigError(
            f"Screen {screen.name} names no folder with published numbers, which has the split of the genes."
        )
    parts = pd.read_csv(screen.published / "gene_compound_split_genes.csv").set_index("gene")["split"]
    samples = {}
    for table in screen.perturbations:
        kind = table.modality or ""
        annotation = read_annotation(table)
        annotation = annotation[annotation["control_type"] != NEGCON]
        samples[kind] = annotation.groupby("primary_target" if kind == "compound" else "gene")["broad_sample"].agg(list)
    rows = []
    for gene in samples["orf"].index:
        for i in range(2):
            row = {
                kind: samples[kind][gene][min(i, len(samples[kind][gene]) - 1)]
                for kind in ("orf", "crispr", "compound")
            }
            rows.append({"gene": gene, "part": parts[gene], **row})
    return pd.DataFrame(rows)


def write_splits(screen: Screen, folder: Path) -> list[Path]:
    """Both splits as CSV files."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = {"representation_split.csv": representation_split, "gene_compound_split.csv": gene_compound_split}
    for name, make in splits.items():
        make(screen).to_csv(folder / name, index=False)
    return [folder / name for name in splits]


def check_split(split: pd.DataFrame, wells: pd.DataFrame, task: str = "gene-compound") -> pd.DataFrame:
    """What a split tears apart or leaks; no rows: nothing. Columns rule (of RULES), item, parts, detail.

    split: `part`, and per row either a well (batch, plate, well; several rows a well for cells), or a sample
    (broad_sample, or orf / crispr / compound), with cell_type and timepoint if parts differ by them.
    wells: `well_annotations` of the screen, or profiles. task: "gene-compound" also asks that no compound lists a gene
    of another part; a "representation" split puts genes and compounds apart by design.
    """
    if task not in SPLIT_TASKS:
        raise ConfigError(f"There is no split task {task!r}. Choose from: {', '.join(SPLIT_TASKS)}.")
    everything = _samples(_parted(split), wells)
    condition = [name for name in GROWN if name in everything]
    # Negative controls belong in every part: a control says nothing of another perturbation.
    rows = everything[everything["control_type"] != NEGCON]
    guides = rows[(rows["modality"] == "crispr") & (rows["gene"] != "")]
    named = rows[(rows["modality"] == "compound") & (rows["pert_iname"] != "")]
    findings = [
        _torn(everything, [name for name in PLACE if name in rows], "wells") if "well" in rows else None,
        _torn(rows, ["broad_sample", *condition], "replicates"),
        _torn(guides, ["gene", *condition], "guides"),
        _torn(named, ["pert_iname", *condition], "identifiers"),
        _leaking_targets(rows) if task == "gene-compound" else None,
    ]
    return pd.concat([found for found in findings if found is not None], ignore_index=True)


def check_split_file(path: Path, wells: pd.DataFrame, task: str = "gene-compound") -> pd.DataFrame:
    """`check_split` of a file of one's own: CSV, TSV, or parquet. Its columns may be called as in profiles
    (Metadata_Plate).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    is_parquet = data.startswith(PARQUET) or path.suffix == ".parquet"
    split = decode(data, str(path)) if is_parquet else text_table(data, str(path))
    try:
        return check_split(named_once(split.set_axis([_plain_name(name) for name in split], axis=1)), wells, task)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from None


def as_text(found: pd.DataFrame, task: str) -> str:
    """What `check_split` found, for a terminal: a line a rule, and below it what breaks it."""
    lines = []
    for rule in RULES if task == "gene-compound" else [rule for rule in RULES if rule not in OF_GENES]:
        broken = found[found["rule"] == rule]
        lines.append(f"{rule}: " + (f"{len(broken)} found: {RULES[rule]}" if len(broken) else "kept"))
        lines += [f"  {row.item} ({row.parts}){row.detail and ': '}{row.detail}" for row in broken.itertuples()]
    if found["rule"].isin(OF_GENES).any():
        lines.append("Where reagents and compounds lie apart by design, check the split with --task representation.")
    return "\n".join(lines)


def _plain_name(column: object) -> str:
    """Metadata_Plate -> plate."""
    return short(column).lower()


def _parted(split: pd.DataFrame) -> pd.DataFrame:
    """The split, each row once; cells of a well are many equal ones."""
    if "part" not in split:
        raise ConfigError(f"A split needs a column part; this one has {', '.join(map(str, split))}.")
    used = [name for name in ("part", "broad_sample", *PLACE, *GROWN, *KINDS) if name in split]
    rows = pd.DataFrame({name: text_of(split, name) for name in used}, dtype=object).drop_duplicates(ignore_index=True)
    if rows.empty:
        raise ConfigError("The split has a header and no rows.")
    if (without := rows["part"].isin(["", *NO_VALUE])).any():
        raise ConfigError(f"{without.sum()} rows of the split have no part. Give them one, or drop them.")
    if rows["part"].nunique() < 2:
        raise ConfigError(f"All rows of the split are in one part, {rows['part'].iloc[0]}: nothing is split.")
    return rows


def _samples(split: pd.DataFrame, wells: pd.DataFrame) -> pd.DataFrame:
    """The split's rows, one a sample, with what the screen says of it; empty wells left out."""
    known = pd.DataFrame({_plain_name(name): text_of(wells, name) for name in DESCRIBED}, dtype=object)
    known["well"] = known["well"].map(usual_well)
    kinds = [name for name in KINDS if name in split]
    if "broad_sample" not in split and kinds:
        others = [name for name in split if name in ("part", *GROWN)]
        split = split.melt(id_vars=others, value_vars=kinds, value_name="broad_sample").drop(columns="variable")
    key = [name for name in PLACE if name in split] if "broad_sample" not in split else ["broad_sample"]
    if key != ["broad_sample"] and not {"plate", "well"} <= set(key):
        raise ConfigError("A split names its rows by plate and well, by broad_sample, or by orf, crispr and compound.")
    split = split.assign(**{name: _as_known(name, split[name], known) for name in key})
    facts = ["broad_sample", "control_type", "modality", "gene", "target_list", "pert_iname"]
    facts += [name for name in GROWN if name not in split and key != ["broad_sample"]]
    table = known[[*dict.fromkeys([*key, *facts])]].drop_duplicates(key)
    rows = split[[name for name in split if name in key or name not in facts]].merge(table, on=key, how="left")
    if (unknown := rows["modality"].isna()).any():
        example = " ".join(rows.loc[unknown, key].iloc[0].astype(str)) or "one without a name"
        raise ConfigError(f"{unknown.sum()} rows of the split are not of this screen, e.g. {example}.")
    return rows[(rows["broad_sample"] != "") | (rows["control_type"] == NEGCON)].reset_index(drop=True)


def _as_known(column: str, names: pd.Series, known: pd.DataFrame) -> pd.Series:
    """Names of a split as the screen spells them: wells as A01, a number (2, 002) as the one plate or sample it is."""
    own = set(known[column])
    if column == "well":
        return names.map(usual_well)
    numbers: dict[str, set[str]] = {}
    for name in own:
        numbers.setdefault(number_of(name), set()).add(name)
    meant = {name: numbers.get(number_of(name), set()) for name in set(names) - own}
    return names.replace({name: min(one) for name, one in meant.items() if len(one) == 1})


def _torn(rows: pd.DataFrame, by: list[str], rule: str) -> pd.DataFrame:
    parts = rows.groupby(by)["part"].agg(lambda values: ", ".join(sorted(set(values))))
    torn = parts[rows.groupby(by)["part"].nunique() > 1]
    items = [" ".join(map(str, item)) if isinstance(item, tuple) else str(item) for item in torn.index]
    return pd.DataFrame({"rule": rule, "item": items, "parts": torn.to_numpy(), "detail": ""}, dtype=object)


def _leaking_targets(rows: pd.DataFrame) -> pd.DataFrame:
    """Compounds that list a gene whose reagents lie in another part (`targets`), or, of a gene without reagents in the
    split, other compounds that list it (`shared_targets`).
    """
    facts = rows.rename(columns={short(GENE): GENE, short(TARGETS): TARGETS})
    facts = facts.drop_duplicates(["broad_sample", "part"]).reset_index(drop=True)
    listed = pd.DataFrame({"gene": genes_of(facts), "part": facts["part"], "compound": facts["modality"] == "compound"})
    listed = listed.assign(sample=facts["broad_sample"], gene=listed["gene"].map(sorted)).explode("gene").dropna()
    compounds, reagents = listed[listed["compound"]], listed[~listed["compound"]]
    homes = {
        "targets": reagents,
        "shared_targets": compounds[~compounds["gene"].isin(reagents["gene"])],
    }
    found = []
    for rule, lying in homes.items():
        parts = lying.groupby("gene")["part"].agg(set)
        leaks: dict[tuple[str, str], list[str]] = {}
        for row in compounds.itertuples():
            if others := parts.get(row.gene, set()) - {row.part}:
                leak = f"{row.gene} ({', '.join(sorted(others))})"
                leaks.setdefault((str(row.sample), str(row.part)), []).append(leak)
        found += [(rule, sample, part, ", ".join(genes)) for (sample, part), genes in leaks.items()]
    return pd.DataFrame(found, columns=["rule", "item", "parts", "detail"], dtype=object)
