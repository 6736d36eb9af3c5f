"""What an engine is given for a site: its images as they are read, and the illumination functions of its plate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from pipeline import illumination
from pipeline.engines import cppipe
from pipeline.engines.loading import full_scales
from pipeline.errors import CppipeError
from pipeline.images import read_site
from pipeline.results.plan import SitePlan
from pipeline.results.run import Run
from pipeline.screen import Plate
from pipeline.storage import open_storage


class SiteInputs:
    """Reads the sites of one plate. `names`: what the engine asks for.

    Raises `ImageError` where an illumination function, or any image of the plate, cannot be had.
    """

    def __init__(self, run: Run, plate: Plate, names: Iterable[str]) -> None:
        self._functions = illumination.functions(run, plate)
        self._kind = illumination.image_kind(run, plate)
        self._source = open_storage(run.config.images)
        self._copies = {copy: name for copy, name in run.config.screen.copied_names.items() if copy in set(names)}
        _check_copies(run, self._copies)
        self._names = [name for name in names if name not in self._functions and name not in self._copies]

    def read(self, site: SitePlan) -> dict[str, np.ndarray]:
        """The images of a site, each fetched once; see `read_site`."""
        return read_site(self._source, site.files(self._names), *self._kind)

    def complete(self, images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Images with the illumination functions, and with copies under the names that have no image of their own."""
        given = {**images, **self._functions}
        return given | {copy: given[name] for copy, name in self._copies.items()}


def _check_copies(run: Run, copies: Mapping[str, str]) -> None:
    scales = full_scales(cppipe.read(run.cppipe), {*copies, *copies.values()}) if copies else {}
    for copy, name in copies.items():
        if scales[copy] != scales[name]:
            raise CppipeError(
                f"The pipeline divides {copy} by another maximum than {name}, of which it is a copy (`copies` in the "
                "screen). Give both the same intensity range in NamesAndTypes."
            )
