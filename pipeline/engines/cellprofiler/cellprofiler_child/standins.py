"""What CellProfiler 4.2.8 expects of its surroundings, and these do not have.

Import `standins` before anything of CellProfiler.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

#: imported by core modules, reached only with Java, a graphical interface or remote files; of `pkg_resources`
#: (setuptools has dropped it) the paths of pictures in help texts are asked for
ABSENT = ("javabridge", "bioformats", "prokaryote", "zmq", "boto3", "pkg_resources")


class Absent(Exception):
    """Stands for every name of an absent package; modules use some of them in `except` clauses."""


class _AbsentModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent


class _AbsentFinder(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.split(".")[0] in ABSENT else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _AbsentModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == "pkg_resources":
            module.resource_filename = _resource_filename  # type: ignore[attr-defined]


def _resource_filename(package: str, name: str) -> str:
    return os.path.join(os.path.dirname(importlib.import_module(package).__file__ or ""), name)


def _wrap(module_name: str, names: str, call: Callable) -> None:
    module = importlib.import_module(module_name)
    for name in names.split():
        function = getattr(module, name)
        setattr(module, name, functools.wraps(function)(functools.partial(call, function)))


def _selem(function: Callable, *args: Any, **kwargs: Any) -> Any:
    if "selem" in kwargs:
        kwargs["footprint"] = kwargs.pop("selem")
    return function(*args, **kwargs)


def _multichannel(function: Callable, *args: Any, **kwargs: Any) -> Any:
    if "multichannel" in kwargs:
        kwargs["channel_axis"] = -1 if kwargs.pop("multichannel") else None
    return function(*args, **kwargs)


def _indices(function: Callable, image: np.ndarray, *args: Any, indices: bool = True, **kwargs: Any) -> np.ndarray:
    peaks = function(image, *args, **kwargs)
    if indices:
        return peaks
    mask = np.zeros(image.shape, bool)
    mask[tuple(peaks.T)] = True
    return mask


# At the end of the path: a package that is there after all is taken.
sys.meta_path.append(_AbsentFinder())
# scikit-image 0.20 has other names than 0.18 for two keywords, and has dropped one; nothing else changed.
_wrap("skimage.morphology", "erosion dilation opening closing white_tophat black_tophat reconstruction", _selem)
_wrap("skimage.filters", "gaussian", _multichannel)
_wrap(
    "skimage.restoration",
    "denoise_bilateral denoise_nl_means denoise_tv_chambolle denoise_wavelet",
    _multichannel,
)
_wrap("skimage.feature", "peak_local_max", _indices)

import cellprofiler_core.preferences  # noqa: E402

cellprofiler_core.preferences.set_headless()
