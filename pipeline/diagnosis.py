"""What known texts of failures mean, and what to do next. The first that fits is said."""

from __future__ import annotations

import re

#: pattern -> the next move
MOVES = {
    r"worker_died|workers died": "it took its workers with it, most often for want of memory: "
    "`retry --class worker_died`, then `run` on workers with more.",
    r"too_many_cells|Set cells\.capacity": "raise `cells.capacity` (a new measuring), or look at the image: so full a "
    "well is mostly debris cut to pieces.",
    r"is not the file that was planned": "the image was replaced since it was listed: `run` lists it anew.",
    r"Illumination function": "the plate's illumination cannot be had, see `status`; `illumination: compute` makes one "
    "from the images.",
    r"is missing": "bring the image, `retry --class image`, then `run`; or leave it so: the other sites are used.",
    r"damaged|cut short|cannot be decoded|is not a TIFF": "the file itself is broken: copy it anew from its source, "
    "`retry --class image`, then `run`.",
    r"took longer than|site_seconds": "raise `limits.site_seconds`, `retry --class engine`, then `run`.",
    r"engine_memory_gb": "raise `limits.engine_memory_gb`, `retry --class engine`, then `run`.",
    r"have expired|ExpiredToken": "renew the keys (`aws sso login`, or a new token), then `run`.",
    r"access denied|AccessDenied|Permission denied|does not accept the keys|no keys for": "have the right that is "
    "named given to these keys, or name other keys as `profile`, then `run`.",
    r"has no profile": "make the profile, or name another in the config.",
    r"No space left|quota exceeded": "free some space there, or name another place, then `run`.",
    r"Read-only file system": "have the place mounted for writing, or name another as `results`, then `run`.",
    r"cannot be reached|Could not connect|It was asked again for": "see that the server runs and that the endpoint is "
    "right (`doctor`), then `run`.",
    r"scheduler|Connection refused": "start the scheduler and its workers (infra/README.md), then `run`.",
}


def next_move(reason: str) -> str:
    """What to do about a failure, by its text."""
    for pattern, move in MOVES.items():
        if re.search(pattern, reason):
            return move
    return "look at the images of the well; `retry --plate PLATE --well WELL`, then `run`, has it measured again."
