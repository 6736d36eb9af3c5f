"""Bytes -> checked arrays; the next site while this one is measured."""

from pipeline.images.prefetch import prefetch
from pipeline.images.read import ImageFile, decode, describe, planned_files, read_images, read_page, read_site

__all__ = ["ImageFile", "decode", "describe", "planned_files", "prefetch", "read_images", "read_page", "read_site"]
