"""FlagImage: mark a site whose measurements are not as they should be, and skip it where the pipeline says so."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np

from pipeline.engines.limits import Limits
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace
from pipeline.engines.rules import Rule, parse
from pipeline.errors import SiteFlagged

#: of the settings in a pipeline file
REVISIONS = frozenset({4, 5})
LIMITS = {"Minimum value": Limits(float, 0.0), "Maximum value": Limits(float, 1.0)}

FLAG, SOURCE = "Name the flag's category", "Flag is based on"
#: the ways in which a measurement is judged
IMAGE, AVERAGE, EVERY = (
    "Whole-image measurement",
    "Average measurement for all objects in each image",
    "Measurements for all objects in each image",
)
RULES = "Rules"
COMPARISONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


def compile(settings: Settings) -> FlagImage:
    # Older files write the apostrophe with a backslash.
    pairs = [(name.replace("\\'", "'"), value) for name, value in settings.pairs]
    settings = settings.with_pairs(pairs)
    # CellProfiler ignores a flag on the last site of a group, and each site is measured as a group of its own.
    is_last_spared = settings.text("Ignore flag skips on last cycle?", "No") == "Yes"
    return FlagImage(tuple(read_flag(group, is_last_spared) for group in settings.groups(FLAG)))


def read_flag(settings: Settings, is_last_spared: bool) -> Flag:
    linked = settings.choice(
        "How should measurements be linked?", ("Flag if any fail", "Flag if all fail"), "Flag if any fail"
    )
    return Flag(
        name=f"{settings.text(FLAG)}_{settings.text('Name the flag')}",
        needs_all=linked == "Flag if all fail",
        skips=settings.yes("Skip image set if flagged?") and not is_last_spared,
        checks=tuple(read_check(group) for group in settings.groups(SOURCE)),
    )


def read_check(settings: Settings) -> Check | RulesCheck:
    source = settings.choice(SOURCE, (IMAGE, AVERAGE, EVERY, RULES))
    if source == RULES:
        return read_rules(settings)
    has_least = settings.yes("Flag images based on low values?")
    has_most = settings.yes("Flag images based on high values?")
    return Check(
        object_set="Image" if source == IMAGE else settings.text("Select the object to be used for flagging"),
        feature=settings.text("Which measurement?"),
        is_average=source == AVERAGE,
        least=settings.number_of("Minimum value") if has_least else -np.inf,
        most=settings.number_of("Maximum value") if has_most else np.inf,
    )


def read_rules(settings: Settings) -> RulesCheck:
    name = settings.text("Rules file name")
    if settings.text("Allow fuzzy feature matching?", "No") == "Yes":
        settings.refuse('"Allow fuzzy feature matching?: Yes" is not supported')
    try:
        found = parse(settings.rules[name])
    except ValueError as error:
        settings.refuse(f"the rules file {name!r} holds what is no number ({error})")
    widths = {len(weights) for rule in found for weights in rule.weights}
    if len(widths) != 1 or any(rule.object_set != "Image" for rule in found):
        settings.refuse(f"the rules file {name!r} holds no rules of images, or rules of unlike numbers of classes")
    classes = [int(number) - 1 for number in settings.names("Class number")]
    return RulesCheck(tuple(found), frozenset(classes))


@dataclass(frozen=True)
class RulesCheck:
    """Rules, which together vote for a class (cellprofiler.utilities.rules), and the classes that fail."""

    rules: tuple[Rule, ...]
    classes: frozenset[int]

    @property
    def reads(self) -> list[tuple[str, str]]:
        return [(rule.object_set, rule.feature) for rule in self.rules]

    def fails(self, site: Workspace) -> bool:
        score = np.zeros(len(self.rules[0].weights[0]))
        for rule in self.rules:
            value = site.image_measurements[rule.feature]
            # No number, and none that is infinite, compares with a threshold.
            is_met = bool(np.isfinite(value)) and COMPARISONS[rule.comparison](value, rule.threshold)
            score += rule.weights[0 if is_met else 1]
        return int(score.argmax()) in self.classes


@dataclass(frozen=True)
class Check:
    """A measurement, and between which values it (or its mean, or each object's) passes. NaN passes."""

    object_set: str
    feature: str
    is_average: bool
    least: float
    most: float

    @property
    def reads(self) -> list[tuple[str, str]]:
        return [(self.object_set, self.feature)]

    def fails(self, site: Workspace) -> bool:
        """An object set without objects fails."""
        if self.object_set == "Image":
            values = np.array([site.image_measurements[self.feature]])
        else:
            values = site.column(self.object_set, self.feature)
        if not values.size:
            return True
        if self.is_average:
            values = np.mean(values, keepdims=True)
        return bool(values.min() < self.least or values.max() > self.most)


@dataclass(frozen=True)
class Flag:
    name: str
    needs_all: bool
    skips: bool
    checks: tuple[Check | RulesCheck, ...]

    def is_raised(self, site: Workspace) -> bool:
        fails = [check.fails(site) for check in self.checks]
        return all(fails) if self.needs_all else any(fails)


@dataclass(frozen=True)
class FlagImage:
    flags: tuple[Flag, ...]

    images_in = images_out = objects_out = ()

    @property
    def objects_in(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name, _ in self.measurements_in if name != "Image"))

    @property
    def measurements_in(self) -> tuple[tuple[str, str], ...]:
        return tuple(read for flag in self.flags for check in flag.checks for read in check.reads)

    def features(self) -> dict[str, list[str]]:
        return {"Image": [flag.name for flag in self.flags]}

    def run(self, site: Workspace) -> None:
        """Raises `SiteFlagged` where the site is to be skipped."""
        raised = [flag for flag in self.flags if flag.is_raised(site)]
        for flag in self.flags:
            site.add_image(flag.name, flag in raised)
        if any(flag.skips for flag in raised):
            raise SiteFlagged("the module flags this site as one to skip, as the pipeline tells it to")
