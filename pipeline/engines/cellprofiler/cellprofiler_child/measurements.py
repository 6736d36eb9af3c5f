"""CellProfiler's measurements of one site, kept in a dictionary.

CellProfiler keeps each column as a compressed data set of an HDF5 file, in memory too: 1.2 ms to write one and
as much to read it back, for 7,000 columns an eighth of a site's time. What modules put in is what they and we get
out, in the types that HDF5 would give; relations, and whatever does not belong to this one site, stay with HDF5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cellprofiler_core.constants.measurement import COLTYPE_FLOAT, EXPERIMENT, IMAGE, IMAGE_NUMBER, OBJECT_NUMBER
from cellprofiler_core.measurement import Measurements

_SITE = 1


class SiteMeasurements(Measurements):
    """`Measurements` of the image set number 1, and of no other."""

    def __init__(self) -> None:
        self.columns: dict[str, dict[str, np.ndarray]] = {IMAGE: {IMAGE_NUMBER: np.array([_SITE])}}
        super().__init__(mode="memory")

    def add_measurement(
        self,
        object_name: str,
        feature_name: str,
        data: Any,
        image_set_number: Any = None,
        data_type: Any = None,
    ) -> None:
        if object_name == EXPERIMENT or data_type is not None or not _is_this_site(image_set_number):
            super().add_measurement(object_name, feature_name, data, image_set_number, data_type)
        elif feature_name not in (IMAGE_NUMBER, OBJECT_NUMBER):
            if object_name == IMAGE:
                data = [] if data is None else [data if np.isscalar(data) else data[0]]
            column = np.array(data).ravel()
            columns = self.columns.setdefault(object_name, {IMAGE_NUMBER: np.array([]), OBJECT_NUMBER: np.array([])})
            columns[feature_name] = column if len(column) else np.array([])
            if object_name != IMAGE:
                columns[IMAGE_NUMBER] = np.full(len(column), _SITE)
                columns[OBJECT_NUMBER] = np.arange(1, len(column) + 1)

    def get_measurement(self, object_name: str, feature_name: str, image_set_number: Any = None) -> Any:
        column = self.columns.get(object_name, {}).get(feature_name)
        one = _is_this_site(image_set_number)
        if column is None or not (one or list(image_set_number) == [_SITE]):
            return super().get_measurement(object_name, feature_name, image_set_number)
        if object_name == IMAGE:
            value = column[0] if len(column) else None
            return value if one else np.array([np.nan if value is None else value])
        return column.copy() if one else [column.copy()]

    def has_feature(self, object_name: str, feature_name: str) -> bool:
        return feature_name in self.columns.get(object_name, {}) or super().has_feature(object_name, feature_name)

    def has_measurements(self, object_name: str, feature_name: str, image_set_number: Any) -> bool:
        here = feature_name in self.columns.get(object_name, {}) and _is_this_site(image_set_number)
        return here or super().has_measurements(object_name, feature_name, image_set_number)

    def remove_measurement(self, object_name: str, feature_name: str, image_number: Any = None) -> None:
        if self.columns.get(object_name, {}).pop(feature_name, None) is None:
            super().remove_measurement(object_name, feature_name, image_number)

    def get_feature_names(self, object_name: str) -> list[str]:
        names = set(self.columns.get(object_name, {})) - {IMAGE_NUMBER, OBJECT_NUMBER}
        return sorted(names.union(super().get_feature_names(object_name) if self._in_hdf5(object_name) else ()))

    def get_object_names(self) -> list[str]:
        return sorted({*self.columns, *super().get_object_names()})

    object_names = property(get_object_names)

    def get_measurement_columns(self) -> list[tuple[str, str, str]]:
        """Of this site. Rules ask which measurements there are, and not for their types, which here are all alike."""
        names = self.get_object_names()
        return [(name, feature, COLTYPE_FLOAT) for name in names for feature in self.get_feature_names(name)]

    def _in_hdf5(self, object_name: str) -> bool:
        return object_name in super().get_object_names()

    def get_image_numbers(self) -> np.ndarray:
        return np.array([_SITE])

    @property
    def image_set_count(self) -> int:
        return 1

    def table(self, object_name: str, declared: list[str], count: int | None) -> tuple[list[str], np.ndarray]:
        """The names and float64 values (objects, features) of one object set.

        A declared feature that was not measured is NaN; a measured one that was not declared follows at the end.
        `count` is the number of objects where it is known; MeasureObjectNeighbors, for one, writes other lengths
        when there are none.
        """
        columns = {name: one for name, one in self.columns.get(object_name, {}).items() if one.dtype.kind in "biuf"}
        names = declared + sorted(set(columns).difference(declared, (IMAGE_NUMBER, OBJECT_NUMBER)))
        if count is None:
            count = max(map(len, columns.values()), default=0)
        values = np.full((count, len(names)), np.nan)
        for index, name in enumerate(names):
            if name in columns:
                column = columns[name][:count]
                values[: len(column), index] = column
        return names, values

    def image_numbers(self) -> dict[str, float]:
        """The image-level measurements that are numbers; what was measured as nothing is NaN."""
        numbers = {}
        for name, column in self.columns[IMAGE].items():
            if name != IMAGE_NUMBER and column.dtype.kind in "biuf":
                numbers[name] = float(column[0]) if len(column) else np.nan
        return numbers


def _is_this_site(image_set_number: Any) -> bool:
    return image_set_number is None or (np.isscalar(image_set_number) and bool(image_set_number == _SITE))
