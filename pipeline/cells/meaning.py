"""What a CellProfiler feature name says: family, feature, channels, scale, angle.

Names follow the modules' `get_measurement_columns` in CellProfiler 4.2 (BSD-3-Clause), for example
`Texture_Contrast_RNA_3_00_256`: Texture of channel RNA, Contrast at a scale of 3 pixels, direction 00, 256 grey levels.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple


class Meaning(NamedTuple):
    """`scale`: pixels (Texture, Neighbors), spectrum step (Granularity), ring from the centre (RadialDistribution) or
    radial degree (Zernike). `angle`: direction 0 to 3 (Texture) or azimuthal degree (Zernike). None where there is
    none. `dtype`: "int" for counts and object numbers, else "float".
    """

    family: str
    feature: str
    channel: str = ""
    channel2: str = ""
    scale: int | None = None
    angle: int | None = None
    dtype: str = "float"


# In these families a name shows its channel by itself, also one with underscores.
_SHAPES = [
    re.compile(pattern)
    for pattern in (
        r"(?P<family>Texture)_(?P<feature>[^_]+)_(?P<channel>.+?)_(?P<scale>\d+)_(?P<angle>0\d)(?:_\d+)?",
        r"(?P<family>Granularity)_(?P<scale>\d+)_(?P<channel>.+)",
        r"(?P<family>Intensity)_(?P<feature>[^_]+)_(?P<channel>.+)",
        r"(?P<family>Location)_(?P<feature>(?:CenterMassIntensity|MaxIntensity)_[XYZ])_(?P<channel>.+)",
        r"(?P<family>RadialDistribution)_(?P<feature>Zernike[^_]+)_(?P<channel>.+)_(?P<scale>\d+)_(?P<angle>\d+)",
        r"(?P<family>RadialDistribution)_(?P<feature>[^_]+)_(?P<channel>.+)_(?:(?P<scale>\d+)of\d+|Overflow)",
        r"(?P<family>AreaShape)_(?P<feature>Zernike)_(?P<scale>\d+)_(?P<angle>\d+)",
        r"(?P<family>Neighbors)_(?P<feature>.+)_(?P<scale>\d+)",
    )
]
_COUNTS = re.compile(
    r"Number_Object_Number|Parent_.+|Children_.+_Count|AreaShape_EulerNumber"
    r"|Neighbors_(NumberOfNeighbors|FirstClosestObjectNumber|SecondClosestObjectNumber)_.+"
)


def channels_of(features: Iterable[str]) -> frozenset[str]:
    """Names of the images that these features were measured on."""
    found = (match["channel"] for match in map(_shape, features) if match and "channel" in match.re.groupindex)
    return frozenset(found)


def meaning(feature: str, channels: Collection[str]) -> Meaning:
    """Read one name (without its object set). `channels`: the known image names, which tell pairs of them apart."""
    dtype = "int" if _COUNTS.fullmatch(feature) else "float"
    if match := _shape(feature):
        part = match.groupdict()
        return Meaning(
            part["family"],
            part.get("feature") or part["family"],
            part.get("channel") or "",
            scale=_number(part.get("scale")),
            angle=_number(part.get("angle")),
            dtype=dtype,
        )
    family, _, rest = feature.partition("_")
    if family == "Correlation":
        kind, _, pair = rest.partition("_")
        return Meaning(family, kind, *_pair(pair, channels))
    channel = max((name for name in channels if rest.endswith(f"_{name}")), key=len, default="")
    return Meaning(family, rest.removesuffix(f"_{channel}") if channel else rest, channel, dtype=dtype)


def _shape(feature: str) -> re.Match[str] | None:
    return next((match for shape in _SHAPES if (match := shape.fullmatch(feature))), None)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _pair(text: str, channels: Collection[str]) -> tuple[str, str]:
    """`DNA_ER` -> two channels. Names with underscores are told apart by the channels known from other families."""
    words = text.split("_")
    splits = [("_".join(words[:cut]), "_".join(words[cut:])) for cut in range(1, len(words))]
    known = [split for split in splits if set(split) <= set(channels)]
    if known or len(splits) == 1:
        return (known or splits)[0]
    return text, ""
