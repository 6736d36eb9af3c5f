"""What the images of a plate are like, from a few of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.errors import ImageError, NotFound
from pipeline.images import decode, read_page
from pipeline.screen import Plate
from pipeline.screen.findings import Finding
from pipeline.storage import Storage

#: images of a channel, spread over the plate, that are tried before it is called unreadable
TRIED = 10


class Kind(NamedTuple):
    height: int
    width: int
    dtype: str

    def __str__(self) -> str:
        return f"{self.height} x {self.width} {self.dtype}"


def probe(storage: Storage, plate: Plate, images: pd.DataFrame) -> tuple[dict[str, object], list[Finding]]:
    """image_height and image_width (pixels), image_dtype (for the reader), and of each channel `Dtype_<image>`.

    `images`: the image's name and its key, one row an image. A channel is of the kind in which the first two of some of
    its images agree: one that is unlike the others must not decide. Such images are findings. Empty, with a finding,
    where no image can be read.
    """
    spread = {
        str(name): _spread(keys.tolist(), first)
        for first, (name, keys) in enumerate(images.groupby("image", sort=False)["key"])
    }
    seen: dict[str, dict[str, Kind]] = {name: {} for name in spread}
    unreadable: dict[str, dict[str, str]] = {name: {} for name in spread}
    for turn in range(TRIED):
        for name, keys in spread.items():
            if turn < len(keys) and not _is_settled(seen[name]):
                try:
                    seen[name][keys[turn]] = _kind(storage.get(keys[turn]))
                except NotFound:
                    unreadable[name][keys[turn]] = "is no longer there"
                except ImageError as error:
                    unreadable[name][keys[turn]] = error.message
        tried = sum(map(len, unreadable.values()))
        if tried >= TRIED and not any(seen.values()):
            break
    if not any(seen.values()):
        reason = next((f"{key} {why}" for own in unreadable.values() for key, why in own.items()), "")
        what = f"{plate}: none of {tried} images from all over the plate can be read: {reason}."
        return {}, [Finding("unreadable", *plate, what)] if reason else []

    everywhere = Counter(kind for own in seen.values() for kind in own.values())
    kinds = {name: _most_common(own.values(), everywhere) for name, own in seen.items() if own}
    of_plate = _most_common(kinds.values(), everywhere)
    findings = [
        *_unreadable(plate, unreadable, kinds),
        *_unlike_others(plate, seen, kinds),
        *_of_other_size(plate, kinds, of_plate),
    ]
    others = [f"{name} {kind.dtype}" for name, kind in kinds.items() if kind.dtype != of_plate.dtype]
    about: dict[str, object] = {
        "image_height": of_plate.height,
        "image_width": of_plate.width,
        "image_dtype": ", ".join([of_plate.dtype, *others]),
    }
    return about | {f"Dtype_{name}": kind.dtype for name, kind in kinds.items()}, findings


def _spread(keys: list[str], first: int) -> list[str]:
    """Some keys from all over the plate; another one comes `first` for each channel.

    Each is half a plate from the one before it: where a plate was imaged in two ways, two neighbours would agree.
    """
    places = np.unique(np.linspace(0, len(keys) - 1, min(TRIED, len(keys))).astype(int))
    half = (len(places) + 1) // 2
    places = places[[place for i in range(half) for place in (i, i + half) if place < len(places)]]
    return [keys[place] for place in np.roll(places, -first)]


def _kind(data: bytes) -> Kind:
    decode(data)
    page = read_page(data)
    return Kind(*page.shape, str(page.dtype))


def _is_settled(own: dict[str, Kind]) -> bool:
    return any(count > 1 for count in Counter(own.values()).values())


def _most_common(kinds: Iterable[Kind], everywhere: Counter[Kind]) -> Kind:
    """Of two that are as common, the one that is more so `everywhere`."""
    counts = Counter(kinds)
    return max(counts, key=lambda kind: (counts[kind], everywhere[kind]))


def _unreadable(plate: Plate, unreadable: dict[str, dict[str, str]], kinds: dict[str, Kind]) -> Iterable[Finding]:
    for name, own in unreadable.items():
        if name not in kinds:
            key, why = next(iter(own.items()))
            what = f"{plate}: none of {len(own)} images of {name} from all over the plate can be read: {key} {why}."
            yield Finding("unreadable", *plate, what, file=key)
            continue
        for key, why in own.items():
            yield Finding("unreadable", *plate, f"{plate}: {key} cannot be used: it {why}.", file=key)


def _unlike_others(plate: Plate, seen: dict[str, dict[str, Kind]], kinds: dict[str, Kind]) -> Iterable[Finding]:
    for name, own in seen.items():
        for key, kind in own.items():
            if kind != kinds[name]:
                what = f"{plate}: {key} is {kind}, where others are {kinds[name]}."
                yield Finding("unlike_others", *plate, what, file=key)


def _of_other_size(plate: Plate, kinds: dict[str, Kind], of_plate: Kind) -> Iterable[Finding]:
    for name, kind in kinds.items():
        if kind[:2] != of_plate[:2]:
            what = (
                f"{plate}: the images of {name} are {kind.height} x {kind.width}, where those of other channels are "
                f"{of_plate.height} x {of_plate.width}. The images of a site must be of one size."
            )
            yield Finding("unlike_others", *plate, what)
