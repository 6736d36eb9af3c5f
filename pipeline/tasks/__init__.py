"""The scores, one file each, found by its name: `SCORE` in it says what it asks, needs, computes and draws.

`docs/extending.md` shows how to write one. A file whose name begins with _ is a helper of others.
"""

from __future__ import annotations

from pkgutil import iter_modules


def names() -> list[str]:
    """The scores there are. Imports none of them."""
    return sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
