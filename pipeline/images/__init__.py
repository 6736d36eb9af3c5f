"""Bytes -> checked arrays; the next site while this one is measured."""

from pipeline.images.prefetch import prefetch
from pipeline.images.read import REVISION, decode, describe, read_images, read_page, read_site

__all__ = ["REVISION", "decode", "describe", "prefetch", "read_images", "read_page", "read_site"]
