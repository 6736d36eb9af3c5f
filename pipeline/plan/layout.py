"""What an input layout is: one declared object in a file of its own, `pipeline/layouts/<name>.py`, named as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pipeline.errors import ConfigError
from pipeline.plan.listing import Listed
from pipeline.screen import Plate
from pipeline.screen.model import Screen
from pipeline.storage import Storage

#: imported by name: layouts know this room, and not the other way round
_LAYOUTS = import_module("pipeline.layouts")


@dataclass(frozen=True)
class Layout:
    """Where the images of a screen lie, and how they are called.

    `looked_for`: what `find` looks for, after "There is no". `find(storage, screen)`: every plate there are images of
    -> its place, whatever tells `images` where to look. `images(storage, screen, plate, place, wanted)`: the images of
    one plate; `wanted` is its image folder by the plates table, or "". It raises `ConfigError` where names or tables
    leave open what is meant. `can_share`: whether one file can stand for several things, so that this is looked for.
    """

    looked_for: str
    find: Callable[[Storage, Screen], dict[Plate, Any]]
    images: Callable[[Storage, Screen, Plate, Any, str], Listed]
    can_share: bool = False


def find_layout(name: str) -> Layout:
    """The layout of this name."""
    if name not in (there := _LAYOUTS.names()):
        raise ConfigError(f"sources: there is no input layout {name!r}. Choose from: {', '.join(there)}.")
    layout = import_module(f"{_LAYOUTS.__name__}.{name}").LAYOUT
    assert isinstance(layout, Layout)
    return layout
