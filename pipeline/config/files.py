"""Reading configs and screens from YAML files, with complaints in the words of the file."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.config.model import Config
from pipeline.errors import ConfigError
from pipeline.screen.model import PerturbationTable, Screen
from pipeline.storage import Location

SCREENS = Path(__file__).parents[1] / "screens"


def load_config(source: str | Path, **overrides: Any) -> Config:
    """Read a YAML file. Paths in it are relative to it.

    `overrides`: dotted keys, e.g. `{"engine.kind": "native"}`; None leaves a key as the file has it.
    Raises `ConfigError`, naming the key and, for a misspelt one, the nearest valid name.
    """
    path = Path(source)
    values = _read_yaml(path)
    for dotted, value in overrides.items():
        if value is None:
            continue
        *sections, key = dotted.split(".")
        place = values
        for section in sections:
            found = place.get(section)
            if isinstance(found, str) and _section_of(Config.model_fields[section].annotation) is Location:
                place[section] = {"url": found}
            elif found is None:
                place[section] = {}
            elif not isinstance(found, dict):
                raise ConfigError(
                    f"{path}: {section}: {found!r} where keys are expected, e.g. {section}: {{{key}: ...}}"
                )
            place = place[section]
        place[key] = value
    screen_file = None
    if isinstance(values.get("screen"), str):
        screen_file = _screen_file(values["screen"], path.parent)
        values["screen"] = _with_paths(Screen, _read_yaml(screen_file), screen_file.parent)
    elif isinstance(values.get("screen"), dict):
        values["screen"] = _with_paths(Screen, values["screen"], path.parent)
    values = _with_paths(Config, values, path.parent)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            f"{path}:\n" + "\n".join(_explain(Config, item, path, screen_file) for item in error.errors())
        ) from None


def load_screen(name: str) -> Screen:
    """A screen of this project, by name, or any screen.yaml, by path."""
    path = _screen_file(name, Path())
    try:
        return Screen.model_validate(_with_paths(Screen, _read_yaml(path), path.parent))
    except ValidationError as error:
        raise ConfigError(
            f"screen {name}:\n" + "\n".join(_explain(Screen, item, path) for item in error.errors())
        ) from None


class _OnceEach(yaml.SafeLoader):
    """YAML in which nothing becomes another thing in silence.

    A key may not stand twice (PyYAML drops the first), 010 is ten (by YAML's old rule an octal 8), and 2020-13-01 is
    no date, but a text.
    """

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = node.value.replace("_", "")
        return int(text) if re.fullmatch(r"[-+]?[0-9]+", text) else super().construct_yaml_int(node)

    def construct_yaml_timestamp(self, node: yaml.ScalarNode) -> Any:
        try:
            return super().construct_yaml_timestamp(node)
        except ValueError:
            return node.value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if not key.tag.endswith(":merge")]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_OnceEach.add_constructor("tag:yaml.org,2002:int", _OnceEach.construct_yaml_int)
_OnceEach.add_constructor("tag:yaml.org,2002:timestamp", _OnceEach.construct_yaml_timestamp)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _OnceEach)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} cannot be read as text: {error}. Save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deep to be a config") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no keys. Start from pipeline/screens/template/config.yaml.")
    return values


def _screen_file(name: str, folder: Path) -> Path:
    shipped = sorted(path.parent.name for path in SCREENS.glob("*/screen.yaml"))
    path = SCREENS / name / "screen.yaml" if name in shipped else folder / name
    path = path / "screen.yaml" if path.is_dir() else path
    if not path.is_file():
        raise ConfigError(f"screen: {name!r} is neither a screen of this project ({', '.join(shipped)}) nor a file")
    return path


def _with_paths(model: type[BaseModel], values: Any, folder: Path) -> Any:
    """The values, with every path made absolute from the folder of the file they were read from."""
    if not isinstance(values, dict):
        return values
    values = dict(values)
    for name, field in model.model_fields.items():
        value, kind = values.get(name), field.annotation
        if isinstance(value, str) and kind in (Path, Path | None):
            # A pipeline file that ships with a screen may be named as it lies there: cpjump1/analysis.cppipe.
            is_pipeline = name in ("cppipe", "illumination_pipeline")
            is_shipped = is_pipeline and not (folder / value).exists() and (SCREENS / value).is_file()
            values[name] = SCREENS / value if is_shipped else (folder / _from_home(value)).absolute()
        elif kind in (Location, Location | None) and isinstance(value, str | dict):
            place = {"url": value} if isinstance(value, str) else dict(value)
            if isinstance(url := place.get("url"), str) and "://" not in url and not url.startswith("s3:"):
                place["url"] = str((folder / _from_home(url)).absolute())
            values[name] = place
        elif isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not Screen:
            values[name] = _with_paths(kind, value, folder) if value is not None else value
            if value is None:
                values.pop(name)
        elif kind == dict[str, Path] and isinstance(value, dict):
            values[name] = {
                key: str((folder / _from_home(path)).absolute()) if isinstance(path, str) else path
                for key, path in value.items()
            }
        elif name == "perturbations" and isinstance(value, list):
            values[name] = [_with_paths(PerturbationTable, item, folder) for item in value]
    return values


def _from_home(path: str) -> Path:
    """`~/data` as a shell has it, which would else be a folder called ~ beside the file."""
    return Path(path).expanduser() if path == "~" or path.startswith("~/") else Path(path)


def _explain(model: type[BaseModel], item: Any, path: Path, screen: Path | None = None) -> str:
    """One complaint of pydantic's, in our words. `path`: the file; `screen`: that of its screen, where it has one."""
    where = [str(part) for part in item["loc"]]
    is_text = item["type"] in ("string_type", "path_type") or item.get("ctx", {}).get("class_name") in _TEXTS
    if item["input"] is None and not is_text:
        return f"  {'.'.join(where)}: {_NOTHING}"
    if is_text and isinstance(value := item["input"], bool | int | float | datetime.date | None):
        in_screen = screen is not None and where[0] == "screen"
        text = _as_written(screen, where[1:], value) if screen and in_screen else _as_written(path, where, value)
        if not text:
            return f"  {'.'.join(where)}: {_NOTHING}"
        kind = "the number " if type(value) in (int, float) else "the date " if isinstance(value, datetime.date) else ""
        return f'  {".".join(where)}: YAML reads {text} as {kind}{value}; write it in quotes: "{text}"'
    if item["type"] == "extra_forbidden":
        section: type[BaseModel] | None = model
        for part in where[:-1]:
            if section is not None and not part.isdecimal():  # a number is a place in a list
                section = _section_of(section.model_fields[part].annotation)
        valid = list(section.model_fields) if section is not None else []
        near = difflib.get_close_matches(where[-1], valid, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else f" Valid keys: {', '.join(valid)}." if valid else ""
        return f"  {'.'.join(where)}: unknown key.{hint}"
    if item["type"] == "tuple_type":
        one = f"table: {item['input']}" if where[-1] == "perturbations" else item["input"]
        example = f"; write {where[-1]}: [{one}]" if isinstance(item["input"], str) else ""
        return f"  {'.'.join(where)}: a list is expected (found {item['input']!r}){example}"
    found = "" if item["type"] == "missing" else f" (found {item['input']!r})"
    return f"  {'.'.join(where)}: {item['msg']}{found}"


_NOTHING = "there is no value behind it. Write one, or delete the line."
#: sections that may be given as a text: a URL, the name of a screen
_TEXTS = ("Location", "Screen")


def _as_written(path: Path, where: Sequence[str], value: Any) -> str:
    """The text that YAML read as this value, at this place in a file; the value itself where it is from elsewhere.

    "" where nothing is written there.
    """
    node = yaml.compose(path.read_text(encoding="utf-8"), _OnceEach)
    for i, part in enumerate(where):
        if isinstance(node, yaml.MappingNode):
            is_key = where[i + 1 :] == ["[key]"]
            keys = [yaml.load(key.value, _OnceEach) for key, _ in node.value]
            names = [str(int(key) if isinstance(key, bool) else key) for key in keys]  # as pydantic has them
            node = node.value[names.index(part)][not is_key] if part in names else None
        elif isinstance(node, yaml.SequenceNode):
            node = node.value[int(part)] if part.isdecimal() and int(part) < len(node.value) else None
    text = node.value if isinstance(node, yaml.ScalarNode) else ""
    if value is None and isinstance(node, yaml.ScalarNode) and not text:
        return ""
    return text if text and yaml.load(text, _OnceEach) == value else str(value)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The model in a field's type: itself, one of several, or in a tuple of them."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
