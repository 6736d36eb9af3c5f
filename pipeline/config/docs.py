"""Every key of a config, as the Markdown of docs/config.md: `python -m pipeline.config.docs > docs/config.md`."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config import Config
from pipeline.storage import Location

HEAD = """# Config

One YAML file says what a run is. Paths in it are relative to the file. Unknown keys are refused. Start from
`pipeline/screens/template/`. This page is made from the descriptions in `pipeline/config/model.py`
(`python -m pipeline.config.docs > docs/config.md`).
"""

_WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    types.NoneType: "none",
}


def describe(model: type[BaseModel] = Config) -> str:
    """The keys of a model and of all models in it: type, default, meaning."""
    return "\n".join([HEAD, *_section(model, "")])


def _section(model: type[BaseModel], path: str) -> Iterator[str]:
    yield f"## {path}" if path else "## The file"
    yield f"\n{_doc(model)}\n" if model.__doc__ else ""
    yield "| key | value | default | meaning |\n|-|-|-|-|"
    below: list[tuple[type[BaseModel], str]] = []
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is not None and inner is not Location:
            below.append((inner, f"{path}.{name}" if path else name))
        meaning = field.description or (_doc(inner) if inner else "")
        cells = f"`{name}`", _value(field.annotation), _default(field, inner), meaning
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"
    yield ""
    for inner, where in below:
        yield from _section(inner, where)
    if not path:
        yield from _section(Location, "A place: images, results")


def _doc(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _model_in(annotation: Any) -> type[BaseModel] | None:
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _value(annotation: Any) -> str:
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(inside[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inside)
    if origin in (Union, types.UnionType):
        return " or ".join(_value(kind) for kind in inside if kind is not types.NoneType)
    if origin is tuple:
        return "list, see below" if _model_in(annotation) else f"list of {_value(inside[0])}"
    if origin is dict:
        return f"{{{_value(inside[0])}: {_value(inside[1])}}}"
    if annotation is Location:
        return "place (below), or its URL"
    return _WORDS.get(annotation, "see below")


def _default(field: FieldInfo, inner: type[BaseModel] | None) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    if value is None or value in ((), {}) or inner is not None:
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    if isinstance(value, dict):
        return ", ".join(f"`{key}: {item}`" for key, item in value.items())
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    print(describe())
