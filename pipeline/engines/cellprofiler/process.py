"""CellProfiler's interpreter as a child process: started, spoken to, watched, and killed when it must be."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from pipeline.engines.cellprofiler.cellprofiler_child import wire
from pipeline.errors import ConfigError, EngineError

#: where the interpreter is, when it is not in `.venv-cellprofiler` of the project or of the working directory
INTERPRETER_VARIABLE = "CELLPROFILER_PYTHON"

# Numbers must not depend on the machine. Threads and vector units change the last digits, and with ties more than
# those: NumPy's AVX-512 sort orders equal values in its own way. So one thread, NumPy's code for all processors, and
# OpenBLAS's for Sandy Bridge (2011), which every processor with AVX runs, and whose order `native.products` repeats.
# NumPy passes over features that it or the processor does not have.
ENVIRONMENT = {
    **dict.fromkeys(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"], "1"),
    "OPENBLAS_CORETYPE": "Sandybridge",
    "NPY_DISABLE_CPU_FEATURES": (
        "F16C FMA3 AVX2 AVX512F AVX512CD AVX512_KNL AVX512_KNM AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"
    ),
    "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
}

_FOLDER = Path(__file__).resolve().parent
# The folder goes last, so that nothing in it stands before a package of CellProfiler's own environment.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from cellprofiler_child.main import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
_LOG_CHARACTERS = 4000
_LOOK_SECONDS = 0.2


@cache
def _starter(pid: int) -> ThreadPoolExecutor:
    """The thread of the process `pid` that starts children, and stays as long as the process.

    The kernel tells a child of its parent's death when the *thread* that started it ends, and an executor's
    threads come and go.
    """
    return ThreadPoolExecutor(1, thread_name_prefix="cellprofiler-starter")


def interpreter() -> Path:
    """CellProfiler's Python. Raises `ConfigError` where there is none."""
    given = os.environ.get(INTERPRETER_VARIABLE)
    places = (
        [Path(given)] if given else [root / ".venv-cellprofiler/bin/python" for root in (_FOLDER.parents[2], Path())]
    )
    for place in places:
        if os.access(place, os.X_OK):
            return place.absolute()  # not resolved: a virtual environment is known by the place of its link
    raise ConfigError(
        f"CellProfiler's interpreter is not at {places[0]}. Make it with `make setup` in the project, "
        f"or name another in the environment variable {INTERPRETER_VARIABLE}."
    )


class Child:
    """One process of CellProfiler's interpreter. After an error it is dead and another one is needed."""

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115
        answers, answers_of_child = os.pipe()
        command = [
            str(interpreter()),
            "-P",
            "-s",
            "-c",
            _PROGRAM,
            str(_FOLDER),
            str(os.getpid()),
            str(answers_of_child),
        ]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        try:
            self._process = (
                _starter(os.getpid())
                .submit(
                    subprocess.Popen,
                    command,
                    stdin=subprocess.PIPE,
                    stdout=self._log,
                    stderr=self._log,
                    pass_fds=[answers_of_child],
                    start_new_session=True,
                    env=inherited | ENVIRONMENT,
                )
                .result()
            )
        except BaseException:
            os.close(answers)
            raise
        finally:
            os.close(answers_of_child)
        assert self._process.stdin is not None
        self._requests = self._process.stdin
        self._answers = os.fdopen(answers, "rb")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self,
        message: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray] | None = None,
        *,
        time_limit_seconds: float,
        memory_limit_gb: float,
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Send one request and wait for its answer.

        Raises `EngineError` where the process ends, takes too long or grows too big, with the module at work.
        """
        self._log.truncate(0)
        at_work = ""
        with _Watch(self._process, time_limit_seconds, memory_limit_gb, self.kill) as watch:
            try:
                wire.send(self._requests, message, arrays)
                while True:
                    answer, results = wire.receive(self._answers)
                    if answer["kind"] != "module":
                        return answer, results
                    at_work = answer["module"]
            except (EOFError, OSError):
                reason = watch.reason or _ending(self._end())
        raise EngineError(reason, module=at_work, log=self.log(), retry=True)

    def _end(self) -> int:
        """The exit code of a process that has closed its pipe, and so is about to end."""
        try:
            return self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode

    def log(self) -> str:
        """The end of what the process has printed since the last request."""
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 5 * _LOG_CHARACTERS))
        lines = self._log.read().decode(errors="replace").splitlines()
        # After a crash Python lists some 200 names of modules, which would push out where it happened.
        return "\n".join(line for line in lines if not line.startswith("Extension modules:"))[-_LOG_CHARACTERS:].strip()

    def kill(self) -> None:
        """End the process and all it has started. Harmless when it is dead already."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        self.kill()
        for file in (self._requests, self._answers, self._log):
            with suppress(BrokenPipeError):
                file.close()


class _Watch:
    """Kills a process that takes too long or grows too big; `reason` says which."""

    def __init__(
        self, process: subprocess.Popen, time_limit_seconds: float, memory_limit_gb: float, kill: Callable[[], None]
    ) -> None:
        self.reason = ""
        self._process = process
        self._time_limit_seconds = time_limit_seconds
        self._memory_limit_gb = memory_limit_gb
        self._kill = kill
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="cellprofiler-watch", daemon=True)

    def _look(self) -> None:
        deadline = time.monotonic() + self._time_limit_seconds
        try:
            process = psutil.Process(self._process.pid)
            while not self.reason:
                left = deadline - time.monotonic()
                size = process.memory_info().rss / 1e9
                if left <= 0:
                    self.reason = f"no answer within {self._time_limit_seconds:g} s (time_limit_seconds)"
                elif size > self._memory_limit_gb:
                    self.reason = f"it holds {size:.1f} GB, more than {self._memory_limit_gb:g} (memory_limit_gb)"
                elif self._done.wait(min(left, _LOOK_SECONDS)):
                    return
        except psutil.NoSuchProcess:
            return
        self._kill()

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def _ending(code: int) -> str:
    if code >= 0:
        return f"CellProfiler's process ended by itself (exit code {code})"
    hint = "; the system may have run out of memory" if -code == signal.SIGKILL else ""
    return f"CellProfiler's process was ended by signal {-code} ({signal.Signals(-code).name}{hint})"
