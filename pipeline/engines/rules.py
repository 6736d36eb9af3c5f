"""FlagImage by a file: rules or a classifier of CellProfiler Analyst, which a pipeline names and does not hold.

Rules are given beside the pipeline (`engine.rules` of the config). A module whose file is not given is left out where
it only marks sites; where it skips them, what is measured would be another choice of sites, and it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.engines.cppipe import Module, Pipeline
from pipeline.errors import CppipeError

_BY_FILE = ("Rules", "Classifier")
_LINE = re.compile(r"IF\s+\(([^_]+)_(\S+)\s*([><]=?)\s*([^,]+),\s*\[\s*([^\]]+)\s*\],\s*\[\s*([^\]]+)\s*\]\s*\)")


@dataclass(frozen=True)
class Rule:
    """`weights`: of each class, where the measurement compares so with the threshold, and where it does not."""

    object_set: str
    feature: str
    comparison: str
    threshold: float
    weights: tuple[tuple[float, ...], tuple[float, ...]]


def parse(text: str) -> list[Rule]:
    """The rules of a file: `IF (Image_Count_Nuclei > 5, [0.7, -0.7], [-0.9, 0.9])` in a line each; others are left.

    Raises `ValueError` where a number is none.
    """
    found = filter(None, (_LINE.fullmatch(line.strip()) for line in text.splitlines()))
    return [Rule(one[1], one[2], one[3], float(one[4]), (_numbers(one[5]), _numbers(one[6]))) for one in found]


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))


def left_out(pipeline: Pipeline, rules: Mapping[str, str]) -> dict[str, str]:
    """The FlagImage modules that need a file which is not among `rules` (name -> text), and why they are left out.

    Raises `CppipeError` where such a module skips sites, and where no module reads a file of `rules`.
    """
    flags = [module for module in pipeline.enabled if module.name == "FlagImage"]
    read = {name for module in flags for kind, name in _files(module) if kind == "Rules"}
    if unknown := sorted(set(rules) - read):
        raise CppipeError(
            f"engine.rules: no FlagImage of the pipeline reads rules named {', '.join(unknown)}; "
            f"the names in its modules are {', '.join(sorted(read)) or 'none'}."
        )
    reasons = {}
    for module in flags:
        lacking = [(kind, name) for kind, name in _files(module) if kind != "Rules" or name not in rules]
        for kind, name in lacking[:1]:
            # The last cycle of its group is spared, and each site is a group of its own.
            is_spared = "Yes" in module.values("Ignore flag skips on last cycle?")
            if "Yes" in module.values("Skip image set if flagged?") and not is_spared:
                raise CppipeError(f"Module {module} cannot be run: it skips sites by {_way_out(kind, name)}")
            reasons[str(module)] = f"it flags by {_way_out(kind, name)} It skips no site, so only its flag is lacking."
    return reasons


def _way_out(kind: str, name: str) -> str:
    if kind == "Classifier":
        return f"a classifier ({name}), which is a program; only rules can be read. Disable it, or save rules instead."
    return (
        f"the rules file {name!r}, which is not given. Give it in the config: engine: {{rules: {{{name}: its path}}}}."
    )


def _files(module: Module) -> Iterator[tuple[str, str]]:
    """The files by which a module flags, as (Rules or Classifier, name)."""
    source = ""
    for label, value in module.settings:
        if label == "Flag is based on":
            source = value
        elif label.endswith("file name") and source in _BY_FILE:
            yield source, value
