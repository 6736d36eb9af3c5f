"""The tree of errors, as it is drawn for the reader."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from pipeline import errors

PACKAGE = Path(errors.__file__).parent


def drawn() -> dict[str, str]:
    """Each error of the drawing, with the one it hangs on."""
    assert errors.__doc__ is not None
    parents: list[str] = []
    found = {}
    for line in errors.__doc__.split("\n"):
        if branch := re.match(r"    ((?:[│ ]   )*)(?:[├└]── )?(\w+)", line):
            depth = len(branch[1]) // 4 + ("──" in line)
            parents[depth:] = [branch[2]]
            if depth:
                found[branch[2]] = parents[depth - 1]
    return found


def written() -> dict[str, str]:
    """Each class of the package that hangs on `PipelineError`, with the first of its bases."""
    bases = {
        node.name: [ast.unparse(base).rpartition(".")[2] for base in node.bases]
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }

    def is_ours(name: str) -> bool:
        return name == "PipelineError" or any(is_ours(base) for base in bases.get(name, []))

    return {name: some[0] for name, some in bases.items() if name != "PipelineError" and is_ours(name)}


def test_every_error_is_drawn_where_it_hangs():
    assert drawn() == written()
    assert drawn()["NotFound"] == "StorageError"
