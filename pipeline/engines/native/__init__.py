"""The native engine: the modules of the CPJUMP1 pipelines, re-implemented to give CellProfiler's numbers fast.

It reads the same `.cppipe`, and gives the same label images and the same columns with the same values as
CellProfiler 4.2.8; `docs/native-engine.md` says how equal they are, and what only one of the two engines measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.engines.native.engine import NativeEngine

#: limits that other engines know and that have no meaning here: nothing runs outside the calling thread
IGNORED_LIMITS = frozenset({"time_limit_seconds", "memory_limit_gb", "recycle_after_sites"})

__all__ = ["NativeEngine", "open", "warm_up"]


def open(cppipe: str, *, rules: Mapping[str, str] | None = None, **limits: Any) -> NativeEngine:
    """Open the engine on the text of a pipeline.

    `rules`: the rules files that FlagImage modules name, name -> text.
    Raises `CppipeError` naming the first module or setting that it does not support, and the way out.
    """
    unknown = sorted(set(limits) - IGNORED_LIMITS)
    if unknown:
        raise TypeError(f"the native engine knows no limit named {', '.join(unknown)}")
    return NativeEngine(cppipe, rules or {})


def warm_up() -> None:
    """Compile every kernel, or load it from the cache of an earlier process: half a minute, or a second.

    To be run when a worker's image is built, so that its first site does not wait. Kernels are kept beside the
    source (or in `NUMBA_CACHE_DIR`) and serve all processes on processors of the same kind.
    """
    from pipeline.engines.native.warm import warm_up

    warm_up()
