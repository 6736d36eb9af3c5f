"""Read a `.cppipe` without running any of it.

CellProfiler passes the attributes of every module header (`notes`, `batch_state`, ...) to Python's `eval`,
so that for CellProfiler the file is code. `read` takes the same text apart in the same way, holds each
attribute against a grammar of plain literals, and returns nothing but names, numbers and settings. Engines
work from what it returns; the text itself never reaches CellProfiler.

Format: `Pipeline.parse_pipeline`, `setup_modules` and `setup_module` of cellprofiler_core 4.2.8
(BSD-3-Clause), versions 1 to 5.
"""

from __future__ import annotations

import ast
import codecs
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.contents import instead_of_data
from pipeline.errors import CppipeError

COOKIE = "CellProfiler Pipeline: http://www.cellprofiler.org"
#: the first line where a mail server has rewritten its address, which CellProfiler reads as well
_REWRITTEN_COOKIE = re.compile(r"CellProfiler Pipeline: https?://\S+.proofpoint.com.+http-3A__www.cellprofiler\.org")
NEWEST_VERSION = 5
#: CellProfiler 4.2.8 as the head of a file has it; older files have a date, which is far greater
DATE_REVISION = 428

#: what CellProfiler writes in a module header; it would set any other name on the module as well
ATTRIBUTES = (
    *("module_num", "svn_version", "variable_revision_number", "show_window"),
    *("notes", "batch_state", "enabled", "wants_pause"),
)


@dataclass(frozen=True, slots=True)
class Module:
    """One module of the file, with the settings as they were saved: no older revision is upgraded here.

    `number` counts from 1 in the order of the file, as CellProfiler does. `settings` are (label, value) in
    the order of the file; a label comes again for each group of a repeated setting, such as the images of
    CorrectIlluminationApply.
    """

    number: int
    name: str
    enabled: bool
    variable_revision: int
    settings: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.number} {self.name}"

    def values(self, label: str) -> tuple[str, ...]:
        """All values under this label, in the order of the file."""
        return tuple(value for name, value in self.settings if name == label)

    def value(self, label: str) -> str:
        """The first value under this label. Raises `CppipeError` where the module has none."""
        for name, value in self.settings:
            if name == label:
                return value
        raise CppipeError(
            f"Module {self} has no setting {label!r} (settings revision {self.variable_revision}). "
            "Open the pipeline in CellProfiler 4.2 and save it again to bring its settings up to date."
        )


@dataclass(frozen=True, slots=True)
class Pipeline:
    """`notes`: what looks odd in the file and is read all the same, a sentence each, for the reader."""

    version: int
    date_revision: int
    modules: tuple[Module, ...]
    notes: tuple[str, ...] = ()

    @property
    def enabled(self) -> tuple[Module, ...]:
        return tuple(module for module in self.modules if module.enabled)

    @property
    def is_newer(self) -> bool:
        """Whether a newer CellProfiler than 4.2.8 saved the file."""
        return DATE_REVISION < self.date_revision < 1000


def read_text(path: str | Path) -> str:
    """The text of a pipeline file, whatever it is written in: UTF-8, UTF-16 with its mark, or Latin-1.

    Raises `CppipeError` naming the file where it cannot be read or begins like no pipeline.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise CppipeError(f"The pipeline file {path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a name with a NUL in it
        raise CppipeError(f"The pipeline file {str(path)!r} cannot be read: {error}") from None
    text = _decoded(data)
    if reason := _no_pipeline(text):
        raise CppipeError(f"{path} is {reason}")
    return text


def _decoded(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:  # CellProfiler, too, then takes each byte for a character
        return data.decode("latin-1")


def _no_pipeline(text: str) -> str:
    """Why this text is no pipeline, or "" where it begins like one."""
    begin = text.removeprefix("\ufeff").lstrip(" \t")
    if begin.startswith(COOKIE) or _REWRITTEN_COOKIE.match(begin):
        return ""
    what = instead_of_data(text.encode(errors="replace"))
    if begin[1:4] == "HDF":
        what = "an HDF5 file, such as a project (.cpproj)"
    what = what or f"it should begin with {COOKIE!r}, and begins with {begin[:60]!r}"
    return f"no CellProfiler pipeline: {what}. In CellProfiler, choose File > Export > Pipeline and save as .cppipe."


def read(text: str) -> Pipeline:
    """Read the text of a `.cppipe`.

    Raises `CppipeError` naming the line, or the module and attribute, where the text is no pipeline, is cut
    short, or carries anything but settings.
    """
    if reason := _no_pipeline(text):
        raise CppipeError(f"This is {reason}")
    # Only these ends of line: str.splitlines knows more, and would see modules where CellProfiler sees text.
    lines = [line.strip() for line in re.split("\r\n|\r|\n", text.removeprefix("\ufeff"))]
    start = lines.index("", 1) if "" in lines[1:] else len(lines)
    head = dict(line.partition(":")[::2] for line in lines[1:start])
    version = _whole(head, "Version", default=NEWEST_VERSION)
    if version > NEWEST_VERSION:
        raise CppipeError(
            f"The pipeline has file version {version}; CellProfiler 4.2.8 reads up to {NEWEST_VERSION}. "
            "Export it from CellProfiler 4.2."
        )
    blocks = list(_blocks(lines[start + 1 :]))
    count = _whole(head, "ModuleCount", default=len(blocks))
    own, rest = _modules_and_rest(blocks, count)
    if not own:
        raise CppipeError("The pipeline holds no modules: the file is cut short. Export it again.")
    modules = tuple(_module(number, block) for number, block in enumerate(own, 1))
    # A list of image files may follow the modules.
    rest = [] if len(own) == count and head.get("HasImagePlaneDetails") == "True" else rest
    read = Pipeline(version, _whole(head, "DateRevision", "SVNRevision", default=0), modules)
    return replace(read, notes=tuple(_notes(read, count, rest)))


def _modules_and_rest(blocks: list[list[str]], count: int) -> tuple[list[list[str]], list[list[str]]]:
    """The blocks that CellProfiler takes for modules, `count` at most, and those that it never reads.

    Text that is no module ends them. Where modules follow it, the file is damaged, and the module that cannot be read
    is refused later on.
    """
    ends = next((place for place, block in enumerate(blocks) if not _HEADER.match(block[0])), len(blocks))
    if any(_HEADER.match(block[0]) for block in blocks[ends:count]):
        ends = count
    ends = min(ends, count)
    return blocks[:ends], blocks[ends:]


def _notes(read: Pipeline, count: int, rest: list[list[str]]) -> Iterator[str]:
    """What looks odd about a file, `rest` being what follows its modules."""
    if len(read.modules) < count:
        yield (
            f"The head of the pipeline file says ModuleCount:{count}, and the file holds {len(read.modules)} modules; "
            f"these are run, as CellProfiler runs them. The last is {read.modules[-1]}: see that the file is whole."
        )
    if rest:
        headers = filter(None, (_HEADER.match(block[0]) for block in rest))
        names = ", ".join(f"{len(read.modules) + 1 + place} {header[1]}" for place, header in enumerate(headers))
        what = names or f"{rest[0][0][:60]!r}"
        yield (
            f"{what} stands in the pipeline file after its {len(read.modules)} modules (ModuleCount:{count}) and is "
            "not read, as CellProfiler does not read it. Correct ModuleCount in the file's head if it is to be run."
        )
    if read.is_newer:
        yield (
            f"The pipeline was saved by a newer CellProfiler (DateRevision:{read.date_revision}) than 4.2.8, by whose "
            "modules it is run; a setting that these do not know is refused."
        )


#: CellProfiler 1 and 2 wrote the Python path of the class; CellProfiler takes its last part too
_HEADER = re.compile(r"(?:[\w.]*\.)?([A-Za-z_]\w*)\s*:\s*(\[.*)")


def secondary_objects(pipeline: Pipeline) -> dict[str, str]:
    """Object sets that IdentifySecondaryObjects makes -> the sets that they are grown from."""
    modules = [module for module in pipeline.enabled if module.name == "IdentifySecondaryObjects"]
    return {
        made: grown_from
        for module in modules
        for made in module.values("Name the objects to be identified")
        for grown_from in module.values("Select the input objects")
    }


def _whole(head: dict[str, str], *names: str, default: int | None = None) -> int:
    for name in names:
        if name in head:
            if not head[name].strip().isdecimal():
                raise CppipeError(f"The head of the pipeline says {name}:{head[name]}, which is no whole number.")
            return int(head[name])
    assert default is not None
    return default


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Runs of lines without an empty one: a module header and its settings."""
    block: list[str] = []
    for line in [*lines, ""]:
        if line:
            block.append(line)
        elif block:
            yield block
            block = []


def _module(number: int, block: list[str]) -> Module:
    header = _HEADER.match(block[0])
    if not header:
        raise CppipeError(f"Module {number}: {block[0][:80]!r} is no module header (ModuleName:[attributes]).")
    name, attributes = header.groups()
    where = f"{number} {name}"
    found = _attributes(where, attributes)
    revision, enabled = found.get("variable_revision_number"), found.get("enabled", True)
    if type(revision) is not int or type(enabled) is not bool:
        raise CppipeError(
            f"Module {where}: the header needs variable_revision_number, a whole number, and enabled, True or False; "
            f"it has {revision!r} and {enabled!r}."
        )
    return Module(number, name, enabled, revision, tuple(_setting(where, line) for line in block[1:]))


def _setting(where: str, line: str) -> tuple[str, str]:
    label, colon, value = line.partition(":")
    if not colon:
        raise CppipeError(f"Module {where}: {line[:80]!r} is no setting (label:value).")
    # What follows undoes, as CellProfiler does, the ways in which its older versions escaped values:
    # regular expressions of version 3, then characters as \xNN, then bytes of UTF-16 with their mark.
    if r"\\\\g<" in value:
        old = (r"\x7C\\\\g<", r"|\g<") if r"\x7C" in value else (r"\\\\g<", r"\g<")
        value = value.replace(*old)
    label, value = (_unescape(text) if "\\x" in text else text for text in (label, value))
    if len(value) > 1:
        value = value.replace("\x00", "").strip("ÿþ")
    return label, value


def _unescape(text: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # "\d" is no escape; it stays as it is
            return text.encode().decode("unicode_escape")
    except UnicodeDecodeError:
        return text


def _attributes(where: str, text: str) -> dict[str, object]:
    """The attributes of a header such as `[module_num:1|notes:['a', 'b']|enabled:True]`, checked one by one."""
    if text[-1] != "]":
        raise CppipeError(f"Module {where}: the attributes {text[:80]!r} do not stand in brackets.")
    text = text[1:-1].replace("dtype='|S", "dtype='S")
    notes = re.search(r"(?:^|\|)(notes:\[.*?\])(?=\||$)", text)  # notes may hold the separator
    parts = text.split("|") if notes is None else [*text[: notes.start()].split("|"), notes[1]]
    if notes is not None:
        parts += text[notes.end() :].removeprefix("|").split("|")
    found: dict[str, object] = {}
    for part in filter(None, parts):
        # ASCII headers are escaped a second time on writing, others have lost their backslashes.
        part = _unescape(part) if part.isascii() else part.replace("\\", "")
        name, colon, value = part.partition(":")
        if not colon or name not in ATTRIBUTES or name in found:
            raise CppipeError(
                f"Module {where}: {name[:60]!r} is no attribute that CellProfiler writes in a module header, "
                "or stands there twice. Take it out, or export the pipeline again."
            )
        found[name] = _literal(where, name, value.strip())
    return found


def _literal(where: str, attribute: str, text: str) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Apostrophes and line breaks in notes do not survive CellProfiler's own writing; it takes such notes
        # as plain text, and nothing of them is used here.
        if attribute == "notes" and text[:1] == "[" and text[-1:] == "]":
            return text
        node = None
    if node is None or not (_is_plain(node) or (attribute == "batch_state" and _is_array(node))):
        raise CppipeError(
            f"Module {where}: the attribute {attribute} holds {text[:80]!r}, which is no plain value. "
            "CellProfiler would run it as Python code, so this pipeline is refused. "
            "If you trust where it comes from, export it again from CellProfiler."
        )
    return ast.literal_eval(node) if _is_plain(node) else None


def _is_plain(node: ast.AST, depth: int = 0) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return isinstance(node.operand, ast.Constant) and type(node.operand.value) in (int, float)
    if isinstance(node, ast.List | ast.Tuple):
        return depth < 3 and all(_is_plain(item, depth + 1) for item in node.elts)
    return isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str | bytes | None)


def _is_array(node: ast.AST) -> bool:
    """`array([], dtype=uint8)` or `array(b'', dtype='|S1')`, as numpy writes an empty batch state."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "array"):
        return False
    dtypes = [keyword.value for keyword in node.keywords if keyword.arg == "dtype"]
    if len(node.args) != 1 or not _is_plain(node.args[0]) or len(dtypes) != len(node.keywords):
        return False
    return all(
        (isinstance(dtype, ast.Name) and dtype.id == "uint8")
        or (isinstance(dtype, ast.Constant) and bool(re.fullmatch(r"\|?[SU]\d+|uint8", str(dtype.value))))
        for dtype in dtypes
    )
