"""What the Identify modules record of the objects they make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.engines.native.kernels import labels
from pipeline.engines.native.workspace import Objects, Workspace

NUMBER = "Number_Object_Number"


def location_features(with_z: bool) -> list[str]:
    return ["Location_Center_X", "Location_Center_Y", *(["Location_Center_Z"] if with_z else []), NUMBER]


def record(site: Workspace, name: str, objects: Objects, *, with_z: bool) -> None:
    """Add the objects to the site, with their places, numbers and count.

    Tertiary objects have no Z, and keep their rows where a number has no pixel; the others' places move up.
    """
    site.objects[name] = objects
    centre = labels.centres(objects.segmented, objects.count)
    if with_z:
        centre = objects.moved_up(centre)
        site.add(name, "Location_Center_Z", objects.moved_up(np.zeros(objects.count)))
    site.add(name, "Location_Center_X", centre[:, 1])
    site.add(name, "Location_Center_Y", centre[:, 0])
    site.add(name, NUMBER, np.arange(1, objects.count + 1))
    site.add_image(f"Count_{name}", objects.count)


def relation_features(parent: str, child: str) -> dict[str, list[str]]:
    return {parent: [f"Children_{child}_Count"], child: [f"Parent_{parent}"]}


def relate(site: Workspace, parent: str, child: str) -> np.ndarray:
    """Record each child's parent, the one that shares most of its pixels; returns the parents."""
    of_parent, of_child = site.objects[parent], site.objects[child]
    parents = labels.overlap(of_parent.segmented, of_parent.count, of_child.pixels, of_child.starts)
    record_relation(site, parent, child, parents)
    return parents


def record_relation(site: Workspace, parent: str, child: str, parents: np.ndarray) -> None:
    site.add(parent, f"Children_{child}_Count", labels.children_of(parents, site.objects[parent].count))
    site.add(child, f"Parent_{parent}", parents)


def numbered(kept: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """int64 (count + 1): the new number of each label, 0 for those that go."""
    table = np.zeros(count + 1, np.int64)
    table[np.asarray(kept, np.int64)] = np.arange(1, len(kept) + 1)
    return table


def add_renumbered(site: Workspace, name: str, target: str, table: np.ndarray) -> None:
    """Record a set with the numbers that `table` gives to the labels of another; what is beyond the table goes."""
    source = site.objects[name]
    beyond = max(0, source.count + 1 - len(table))
    # Labels beyond the table become background first, and then what that becomes.
    segmented = labels.look_up(source.segmented, np.append(table, np.full(beyond, table[0])))
    is_gone = (segmented == 0) & (source.segmented != 0)
    small_removed = np.where(is_gone, 0, source.small_removed).astype(np.int32)
    record(site, target, Objects(segmented, source.unedited, small_removed, source.mask), with_z=True)
    relate(site, name, target)
