"""The error tree. Every error says what is wrong, where, and what to do next.

    PipelineError
    ├── Refused              asked for something we will not start (exit code 2)
    │   ├── ConfigError      the YAML file, a screen's tables, or the command line
    │   ├── CppipeError      a .cppipe that cannot be read or cannot be run
    │   └── SettingsDiffer   a results root that belongs to another config
    ├── StorageError         a store did not answer as it should
    │   ├── NotFound         the object is not there            (also FileNotFoundError)
    │   ├── AccessDenied     the credentials do not allow it    (also PermissionError)
    │   ├── NoSpace          a disk is full
    │   ├── Damaged          a stored file is not what its own checksum says
    │   ├── Away             a store did not answer for as long as a run waits
    │   └── Changed          a conditional read or write met another object
    ├── ImageError           one image file cannot be used; its site fails
    ├── EngineError          one site could not be measured
    │   └── SiteFlagged      the pipeline itself says to skip the site
    ├── TaskFailed           a task ended with an error that is none of these      (in pipeline.executors)
    ├── WorkerDied           a task took its worker with it, again and again       (in pipeline.executors)
    ├── Stopped              a run was stopped: what failed is the fault of no well
    └── StoreError           the single-cell store
        ├── TooManyCells     a well holds more cells than the store has room for
        ├── SchemaMismatch   a site's features are not the store's
        ├── Conflict         the same well came out with other numbers
        ├── Incomplete       asked to read what is not published
        └── UnknownLabel     asked for a gene, well, feature ... that is not there      (also KeyError)

Catch `PipelineError` for all of them. `kind` is stable and is what the ledger records;
`retry` says whether trying the same thing again can help.
"""

from __future__ import annotations


class PipelineError(Exception):
    kind = "error"
    retry = False

    def __init__(self, message: str, *, retry: bool | None = None) -> None:
        super().__init__(message)
        self.message = message
        if retry is not None:
            self.retry = retry

    def __reduce__(self):
        # Errors cross process borders whole: keyword-only arguments do not survive the default pickling.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def spoken(seconds: float) -> str:
    """A time as messages say it: "40 s", "15 min"."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _rebuild(cls: type[PipelineError], args: tuple, state: dict) -> PipelineError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class Refused(PipelineError):
    kind = "refused"


class ConfigError(Refused):
    kind = "config"


class CppipeError(Refused):
    kind = "cppipe"


class SettingsDiffer(Refused):
    kind = "settings_differ"


class StorageError(PipelineError):
    kind = "storage"


class NotFound(StorageError, FileNotFoundError):
    kind = "not_found"


class AccessDenied(StorageError, PermissionError):
    kind = "access_denied"


class NoSpace(StorageError):
    kind = "no_space"


class Damaged(StorageError):
    kind = "damaged"


class Away(StorageError):
    kind = "away"


class Changed(StorageError):
    kind = "changed"


class ImageError(PipelineError):
    kind = "image"


class EngineError(PipelineError):
    """One site could not be measured.

    `module` is the CellProfiler module at work ("20 MeasureGranularity", empty when none was),
    `log` the end of the engine's own log.
    """

    kind = "engine"

    def __init__(self, reason: str, *, module: str = "", log: str = "", retry: bool = False) -> None:
        super().__init__(f"{module}: {reason}" if module else reason, retry=retry)
        self.module = module
        self.reason = reason
        self.log = log


class SiteFlagged(EngineError):
    kind = "flagged"


class Stopped(PipelineError):
    kind = "stopped"


class StoreError(PipelineError):
    kind = "store"


class TooManyCells(StoreError):
    kind = "too_many_cells"


class SchemaMismatch(StoreError):
    kind = "schema_mismatch"


class Conflict(StoreError):
    kind = "conflict"


class Incomplete(StoreError):
    kind = "incomplete"


class UnknownLabel(StoreError, KeyError):
    kind = "unknown_label"
    __str__ = Exception.__str__  # KeyError's own is in quotation marks
