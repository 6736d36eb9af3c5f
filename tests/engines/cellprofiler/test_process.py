"""When CellProfiler's process hangs, crashes, grows or is left alone."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from pipeline.engines import open_engine
from pipeline.engines.cellprofiler.process import interpreter
from pipeline.errors import ConfigError, EngineError
from tests.engines.cppipes import NUCLEI, Saved, images, write

#: takes many seconds on a large image, and says its name first
LONG: Saved = (
    "MeasureGranularity",
    {
        "Select images to measure": "DNA",
        "Subsampling factor for granularity measurements": "1",
        "Range of the granular spectrum": "100",
    },
)
LARGE = np.random.default_rng(0).integers(0, 60000, (2000, 2000)).astype(np.uint16)


@pytest.fixture
def dna() -> dict[str, np.ndarray]:
    return {"DNA": images(seed=0, size=120)["DNA"]}


def child(engine) -> psutil.Process:
    return psutil.Process(engine._child.pid)


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def wait_until(condition, limit_seconds: float = 60) -> None:
    deadline = time.monotonic() + limit_seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill_at_work(process: psutil.Process, signal_number: int) -> threading.Thread:
    """Send the signal once the process has computed for a while."""
    start = sum(process.cpu_times()[:2])

    def run() -> None:
        wait_until(lambda: sum(process.cpu_times()[:2]) > start + 0.5)
        process.send_signal(signal_number)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_hang_is_that_sites_failure_with_the_modules_name_and_the_next_site_is_measured(dna):
    with open_engine("cellprofiler", write(LONG), time_limit_seconds=3) as engine:
        first = child(engine)
        with pytest.raises(EngineError, match=r"1 MeasureGranularity: no answer within 3 s") as caught:
            engine.measure({"DNA": LARGE})
        assert caught.value.module == "1 MeasureGranularity"
        assert caught.value.retry is True
        assert is_gone(first)

    with open_engine("cellprofiler", write(NUCLEI), time_limit_seconds=5) as engine:
        expected = engine.measure(dna)
        child(engine).send_signal(signal.SIGSTOP)  # it does not even read what it is sent
        with pytest.raises(EngineError, match=r"no answer within 5 s"):
            engine.measure(dna)
        again = engine.measure(dna)
        assert again.objects["Nuclei"].values.tobytes() == expected.objects["Nuclei"].values.tobytes()


@pytest.mark.parametrize("signal_number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_is_that_sites_failure_and_the_next_site_is_measured(signal_number):
    with open_engine("cellprofiler", write(LONG)) as engine:
        thread = kill_at_work(child(engine), signal_number)
        with pytest.raises(EngineError, match=signal.Signals(signal_number).name) as caught:
            engine.measure({"DNA": LARGE})
        thread.join()

        assert caught.value.module == "1 MeasureGranularity"
        assert caught.value.retry is True
        if signal_number == signal.SIGSEGV:  # where it was, from Python's fault handler
            assert "Segmentation fault" in caught.value.log
            assert "measuregranularity.py" in caught.value.log
        assert engine.measure({"DNA": LARGE[:40, :40]}).image["Granularity_1_DNA"] >= 0


def test_a_process_that_ended_between_two_sites_costs_neither(dna):
    with open_engine("cellprofiler", write(NUCLEI)) as engine:
        child(engine).kill()
        wait_until(lambda: is_gone(child(engine)))

        assert len(engine.measure(dna).objects["Nuclei"].values) > 0


def test_memory_growth_is_that_sites_failure_and_the_next_site_is_measured(dna):
    with open_engine("cellprofiler", write(NUCLEI), memory_limit_gb=0.5) as engine:
        with pytest.raises(EngineError, match=r"GB, more than 0\.5 \(memory_limit_gb\)") as caught:
            engine.measure({"DNA": np.tile(LARGE, (4, 4))})
        assert caught.value.retry is True
        assert len(engine.measure(dna).objects["Nuclei"].values) > 0


def test_a_python_error_is_that_sites_failure_with_the_module_the_reason_and_the_log(dna):
    binary: Saved = ("MeasureImageAreaOccupied", {"Select binary images to measure": "DNA"})

    with open_engine("cellprofiler", write(NUCLEI, binary)) as engine:
        with pytest.raises(EngineError) as caught:
            engine.measure(dna)
        # A mask is binary, so the pipeline itself is fine.
        assert engine.measure({"DNA": dna["DNA"] > 10000}).image["AreaOccupied_AreaOccupied_DNA"] > 0

    error = caught.value
    assert (error.module, error.reason) == ("2 MeasureImageAreaOccupied", "ValueError: Image was not binary")
    assert error.retry is False
    assert "Traceback" in error.log
    assert "measureimageareaoccupied.py" in error.log
    assert str(pickle.loads(pickle.dumps(error))) == "2 MeasureImageAreaOccupied: ValueError: Image was not binary"


def test_the_process_is_replaced_after_so_many_sites(dna):
    with open_engine("cellprofiler", write(NUCLEI), recycle_after_sites=2) as engine:
        seen = []
        for _ in range(4):
            engine.measure(dna)
            seen.append(child(engine).pid)

        assert seen[0] == seen[1] != seen[2] == seen[3]
        assert not psutil.pid_exists(seen[0])


def test_a_closed_engine_leaves_no_process_behind(dna):
    before = set(psutil.Process().children())

    with open_engine("cellprofiler", write(NUCLEI)) as engine:
        engine.measure(dna)

    assert set(psutil.Process().children()) == before


def test_an_engine_outlives_the_thread_that_opened_it(dna):
    """The kernel tells a process of its parent's end when the thread that started it ends."""
    opened = []
    thread = threading.Thread(target=lambda: opened.append(open_engine("cellprofiler", write(NUCLEI))))
    thread.start()
    thread.join()

    with opened[0] as engine:
        first = child(engine).pid
        assert len(engine.measure(dna).objects["Nuclei"].values) > 0
        assert child(engine).pid == first


def test_the_process_dies_with_its_worker_even_at_work():
    program = (
        "import sys, threading, numpy as np\n"
        "from pipeline.engines import open_engine\n"
        "engine = open_engine('cellprofiler', sys.stdin.read())\n"
        "print(engine._child.pid, flush=True)\n"
        "engine.measure({'DNA': np.random.default_rng(0).integers(0, 60000, (2000, 2000)).astype(np.uint16)})\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(write(LONG))
    worker.stdin.close()
    process = psutil.Process(int(worker.stdout.readline()))
    start = sum(process.cpu_times()[:2])
    wait_until(lambda: sum(process.cpu_times()[:2]) > start + 0.3)

    worker.kill()
    worker.wait()
    worker.stdout.close()

    wait_until(lambda: is_gone(process), limit_seconds=10)


def test_without_its_interpreter_it_says_how_to_make_one(monkeypatch):
    text = write(NUCLEI)
    monkeypatch.setenv("CELLPROFILER_PYTHON", "/no/such/python")

    with pytest.raises(ConfigError, match=r"/no/such/python.*make setup.*CELLPROFILER_PYTHON"):
        open_engine("cellprofiler", text)


def test_an_interpreter_without_cellprofiler_is_an_error_that_says_what_it_lacks(monkeypatch):
    text = write(NUCLEI)
    monkeypatch.setenv("CELLPROFILER_PYTHON", sys.executable)
    before = set(psutil.Process().children())

    with pytest.raises(EngineError, match=r"does not start.*No module named 'cellprofiler_core'"):
        open_engine("cellprofiler", text)

    assert set(psutil.Process().children()) == before


def test_another_interpreter_can_be_named(monkeypatch, tmp_path):
    link = tmp_path / "python"
    link.symlink_to(interpreter())
    monkeypatch.setenv("CELLPROFILER_PYTHON", str(link))

    assert interpreter() == link
    assert os.access(interpreter(), os.X_OK)
