"""Images -> illumination functions: mergeable sums over sites, then smoothing, once per plate and channel."""

from pipeline.illumination.compute import finish_plate, groups, sum_wells
from pipeline.illumination.method import Method, methods, notes
from pipeline.illumination.plates import digest_of, functions, how_made, image_kind, planned, sources, wanted
from pipeline.illumination.sum import PartialSum

__all__ = [
    "Method",
    "PartialSum",
    "digest_of",
    "finish_plate",
    "functions",
    "groups",
    "how_made",
    "image_kind",
    "methods",
    "notes",
    "planned",
    "sources",
    "sum_wells",
    "wanted",
]
