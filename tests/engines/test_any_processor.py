"""No number hangs on the processor: the same bits, whatever libraries take this one for.

The images are made once, here: NumPy's functions, of which they are made, do differ.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipeline.engines.cellprofiler.process import ENVIRONMENT, interpreter
from tests.bench.sites import MEAN_DENSITY, simulated
from tests.engines import bits, cppipes
from tests.engines.native.synthetic import MORE, SMALL, Site, with_neutral_illumination
from tests.engines.native.test_settings_with_cellprofiler import PIPELINES
from tests.processors import OLDEST, PROCESSORS, ROOT, assert_same_bits, run, skip_if_lacking, x86_only

pytestmark = x86_only

PROGRAM = Path(bits.__file__)
ANALYSIS = (ROOT / "pipeline/screens/cpjump1/analysis.cppipe").read_text()
#: all modules, but two measured channels
SHORT = ANALYSIS.replace("AGP, Brightfield, DNA, ER, HighZBF, LowZBF, Mito, RNA", "AGP, DNA").replace(
    "Select where to measure correlation:Within objects", "Select where to measure correlation:Both"
)
FEW = {name: (SMALL | MORE)[name] for name in (*SMALL, "nearly one level", "hundreds of objects")}


def stored(folder: Path, sites: dict[str, Site]) -> str:
    path = folder / "sites.npz"
    images = {f"{name}/{image}": pixels for name, site in sites.items() for image, pixels in site.items()}
    np.savez(path, **images)
    return str(path)


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> str:
    sites = {name: with_neutral_illumination(make()) for name, make in FEW.items()}
    return stored(tmp_path_factory.mktemp("few"), sites)


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> str:
    """All awkward sites, and one of the size and the density of CPJUMP1's."""
    sites = {name: with_neutral_illumination(make()) for name, make in (SMALL | MORE).items()}
    return stored(tmp_path_factory.mktemp("many"), sites | {"dense": simulated(1080, MEAN_DENSITY)})


@pytest.fixture(scope="module")
def crowd(tmp_path_factory) -> str:
    crowd = with_neutral_illumination(SMALL["a crowd, not square"]())
    return stored(tmp_path_factory.mktemp("crowd"), {"crowd": crowd})


@pytest.fixture(scope="module")
def natively(tmp_path_factory, many):
    return run(PROGRAM, "native", ANALYSIS, many, folder=tmp_path_factory.mktemp("native"), environment={})


@pytest.fixture(scope="module")
def by_cellprofiler(tmp_path_factory, crowd):
    return run(PROGRAM, "cellprofiler", SHORT, crowd, folder=tmp_path_factory.mktemp("cellprofiler"), environment={})


def test_the_native_engine_gives_the_same_bits_on_the_oldest_processor(tmp_path, few):
    here = run(PROGRAM, "native", ANALYSIS, few, folder=tmp_path, environment={})
    there = run(PROGRAM, "native", ANALYSIS, few, folder=tmp_path, environment=OLDEST)

    assert sum(array.size for array in here.values()) > 100_000
    assert_same_bits(there, here)


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_setting_gives_the_same_bits_with_the_oldest_vectors(tmp_path, pipeline):
    """With the C library as it is: a Zernike phase is its arctangent, to the last bit (docs/native-engine.md)."""
    vectors = {name: value for name, value in OLDEST.items() if name != "GLIBC_TUNABLES"}
    text, images = cppipes.write(*pipeline()), stored(tmp_path, {"site": cppipes.images(3)})
    here = run(PROGRAM, "native", text, images, folder=tmp_path, environment={})
    there = run(PROGRAM, "native", text, images, folder=tmp_path, environment=vectors)

    assert_same_bits(there, here)


@pytest.mark.slow
@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_native_engine_gives_the_same_bits_on_every_processor(tmp_path, many, natively, processor):
    skip_if_lacking(processor)
    assert_same_bits(
        run(PROGRAM, "native", ANALYSIS, many, folder=tmp_path, environment=PROCESSORS[processor]), natively
    )


def test_the_cellprofiler_engine_gives_the_same_bits_whatever_libraries_are_told(tmp_path, crowd, by_cellprofiler):
    told = {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "2", "NPY_DISABLE_CPU_FEATURES": ""}

    assert_same_bits(run(PROGRAM, "cellprofiler", SHORT, crowd, folder=tmp_path, environment=told), by_cellprofiler)


@pytest.mark.slow
@pytest.mark.parametrize("processor", [name for name in PROCESSORS if not name.startswith(("a C", "Numba"))])
def test_the_cellprofiler_engine_gives_the_same_bits_on_every_processor(tmp_path, crowd, by_cellprofiler, processor):
    skip_if_lacking(processor)
    there = run(PROGRAM, "cellprofiler", SHORT, crowd, folder=tmp_path, environment=PROCESSORS[processor])
    assert_same_bits(there, by_cellprofiler)


def test_libraries_of_cellprofiler_run_the_code_that_every_processor_runs():
    program = """
import ctypes
import numpy
import scipy.linalg
from numpy.core._multiarray_umath import __cpu_dispatch__, __cpu_features__

for path in sorted({line.split()[-1] for line in open("/proc/self/maps") if "openblas" in line}):
    library = ctypes.CDLL(path)
    name = "openblas_get_corename64_" if "64_" in path else "openblas_get_corename"
    corename = getattr(library, name)
    corename.restype = ctypes.c_char_p
    print("OpenBLAS for", corename().decode())
print("NumPy with", *(name for name in __cpu_dispatch__ if __cpu_features__[name]))
"""
    command = [str(interpreter()), "-c", program]
    said = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=True).stdout

    *openblas, numpy = said.splitlines()
    assert openblas == ["OpenBLAS for Sandybridge"] * 2  # NumPy's and SciPy's
    assert set(numpy.split()[2:]) <= {"SSSE3", "SSE41", "POPCNT", "SSE42", "AVX"}  # none of which rounds otherwise
