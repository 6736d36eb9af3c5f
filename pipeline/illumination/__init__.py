"""Images -> illumination functions: mergeable sums over sites, then smoothing, once per plate and channel."""

from pipeline.illumination.method import PartialSum, finish, reduce_image
from pipeline.illumination.plates import digest_of, functions, image_kind, planned, sources, wanted
from pipeline.illumination.sums import finish_plate, groups, sum_wells

__all__ = [
    "PartialSum",
    "digest_of",
    "finish",
    "finish_plate",
    "functions",
    "groups",
    "image_kind",
    "planned",
    "reduce_image",
    "sources",
    "sum_wells",
    "wanted",
]
