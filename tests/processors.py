"""Other processors, as far as environment variables make libraries take this one for them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__ as DISPATCHED
from numpy._core._multiarray_umath import __cpu_features__ as HAS

ROOT = Path(__file__).parents[1]

#: NumPy's own code for newer processors, which it can be told to leave
NEWER = [name for name in DISPATCHED if HAS[name]]
NEWEST = [name for name in NEWER if name == "X86_V4" or "AVX512" in name]

AVX2_AND_FMA = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+f16c"
PROCESSORS = {
    "OpenBLAS for Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "OpenBLAS for Zen": {"OPENBLAS_CORETYPE": "Zen"},
    "OpenBLAS for SkylakeX": {"OPENBLAS_CORETYPE": "SkylakeX"},
    "OpenBLAS for Sandybridge": {"OPENBLAS_CORETYPE": "Sandybridge"},
    "OpenBLAS for Prescott": {"OPENBLAS_CORETYPE": "Prescott"},
    "NumPy without AVX-512": {"NPY_DISABLE_CPU_FEATURES": " ".join(NEWEST)},
    "NumPy without AVX2": {"NPY_DISABLE_CPU_FEATURES": " ".join(NEWER)},
    "a C library without fused multiply-add": {
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4,-FMA_Usable,-FMA4_Usable"
    },
    "Numba for AVX2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": AVX2_AND_FMA},
    "Numba for any x86-64": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""},
}
#: what this processor has to have, for it to run what is made for another
NEEDS = {
    "OpenBLAS for Haswell": "AVX2",
    "OpenBLAS for Zen": "AVX2",
    "OpenBLAS for SkylakeX": "AVX512_SKX",
    "OpenBLAS for Sandybridge": "AVX",
    "NumPy without AVX-512": "AVX512_SKX",
    "NumPy without AVX2": "AVX2",
    "a C library without fused multiply-add": "FMA3",
    "Numba for AVX2": "AVX2",
}
#: the oldest of every kind, all at once
OLDEST = {
    **PROCESSORS["OpenBLAS for Prescott"],
    **(PROCESSORS["NumPy without AVX2"] if NEWER else {}),
    **PROCESSORS["a C library without fused multiply-add"],
    **PROCESSORS["Numba for any x86-64"],
}

x86_only = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="left out: only x86-64 has the processors that are compared"
)


def skip_if_lacking(name: str) -> None:
    if not HAS.get(NEEDS.get(name, "SSE2")):
        pytest.skip(f"left out: this processor has no {NEEDS[name]}, so it cannot be taken for one of {name}")


def run(program: Path, *arguments: str, folder: Path, environment: dict[str, str]) -> dict[str, np.ndarray]:
    """What a program of ours writes to the .npz that its last argument names, in a process with these variables.

    Kernels for another processor are compiled into `folder`.
    """
    output = folder / "out.npz"
    mine = {
        name: value for name, value in os.environ.items() if name not in {k for e in PROCESSORS.values() for k in e}
    }
    if "NUMBA_CPU_NAME" in environment:
        environment = environment | {"NUMBA_CACHE_DIR": str(folder / "kernels")}
    command = [sys.executable, "-W", "ignore", "-m", ".".join(program.relative_to(ROOT).with_suffix("").parts)]
    done = subprocess.run(
        [*command, *arguments, str(output)],
        env=mine | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(output) as results:
        return {name: results[name] for name in results.files}


def assert_same_bits(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    different = [name for name in expected if found[name].tobytes() != expected[name].tobytes()]
    assert not different, f"{len(different)} of {len(expected)} arrays differ: {different[:9]}"
