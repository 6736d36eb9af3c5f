"""Input layouts, one file each, found by its name: `LAYOUT` in it says how images of plates are found and named.

`docs/extending.md` shows how to write one. `sources` in a screen names the one that its images lie in.
"""

from __future__ import annotations

from pkgutil import iter_modules


def names() -> list[str]:
    """The layouts there are. Imports none of them."""
    return sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
