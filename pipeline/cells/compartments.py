"""Which object sets of a pipeline make one cell, where the config names none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import combinations

from pipeline.cells.meaning import meaning

USUAL = ("Nuclei", "Cells", "Cytoplasm")
#: families that say where an object is and what it belongs to, and nothing else of it
_BOOKKEEPING = ("Location", "Number", "Parent", "Children")


def compartments_of(features: Mapping[str, Iterable[str]], built_on: Mapping[str, str]) -> tuple[str, ...]:
    """The sets that make one cell, the seed first.

    `features`: object set -> names without the set. `built_on`: secondary objects -> the set they were grown from, of
    which each is one more part of the same cell.

    Nuclei, Cells and Cytoplasm, where they are measured and related. Else what the pipeline relates: a set between two
    others, as a cytoplasm is, makes a cell with both; where there is none, the set of which most is measured makes one
    with those that it comes from. What was grown from one of these belongs to it; objects that lie in a cell, and those
    of which only the place is known, do not.
    """
    parents = {name: _parents(found) for name, found in features.items() if name != "Image"}
    ancestors = {name: _ancestors(name, parents) for name in parents}
    counts = {name: count_measured(features[name]) for name in parents}
    measured = sorted((name for name, count in counts.items() if count), key=lambda name: (-counts[name], name))
    if set(USUAL) <= set(measured) and {"Cells", "Nuclei"} <= ancestors["Cytoplasm"] | ancestors["Cells"]:
        return USUAL
    members: set[str] = set()
    for name in measured:
        between = _between(parents[name] & set(measured), ancestors)
        if between and (not members or members & {name, *between}):
            members |= {name, *between}
    members = members or {name for largest in measured[:1] for name in (largest, *ancestors[largest])}
    while grown := {name for name, seed in built_on.items() if seed in members} - members:
        members |= grown
    return tuple(sorted(members & set(measured), key=lambda name: (len(ancestors[name]), name)))


def _between(parents: Collection[str], ancestors: Mapping[str, set[str]]) -> set[str]:
    """Those of a set's parents that are related to each other: each a cell with it, and not merely around it."""
    pairs = combinations(sorted(parents), 2)
    return {name for pair in pairs if set.intersection(*({one} | ancestors[one] for one in pair)) for name in pair}


def _parents(found: Iterable[str]) -> set[str]:
    return {name.removeprefix("Parent_") for name in found if name.startswith("Parent_")}


def _ancestors(name: str, parents: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = parents.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def count_measured(found: Iterable[str]) -> int:
    """How many features say more of an object than where it is."""
    return sum(meaning(name, ()).family not in _BOOKKEEPING for name in found)
