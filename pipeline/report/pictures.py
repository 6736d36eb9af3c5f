"""The report's pictures: plates as heat maps, wells as colour composites. Each returns the bytes of a PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import Normalize, to_rgb
from PIL import Image

from pipeline.screen import PLATE_FORMATS, well_name, well_position
from pipeline.screen.columns import WELL

Pixels: TypeAlias = Mapping[str, np.ndarray]


def plate_heat_map(wells: pd.DataFrame, size: int, largest: float) -> bytes:
    """Cells per well on the plate's grid. `wells`: Metadata_Well, n_cells, state; `largest` is the scale's end.

    Wells without images are blank, wells that failed are crossed, wells with a failed site carry a dot, and those that
    were left out on purpose a dash.
    """
    rows, columns = PLATE_FORMATS[size]
    grid = np.full((rows, columns), np.nan)
    marks: dict[str, list[tuple[int, int]]] = {"x": [], "o": [], "_": []}
    for well, count, state, why in wells[[WELL, "n_cells", "state", "why"]].itertuples(index=False):
        row, column = (number - 1 for number in well_position(well))
        if state in ("measured", "no_cells"):
            grid[row, column] = count
        if why:
            marks[{"failed": "x", "excluded": "_", "flagged": "_"}.get(state, "o")].append((column, row))
    figure, axes = plt.subplots(figsize=(4.4, 4.4 * (rows + 2) / (columns + 5)), layout="constrained")
    axes.set_facecolor("#f4f4f2")
    image = axes.imshow(grid, cmap="viridis", norm=Normalize(0, max(largest, 1)))
    # Small plates are drawn with the grid of their format, so that places can be compared.
    axes.set_xticks(
        range(columns), [str(column + 1) if columns <= 12 or column % 3 == 0 else "" for column in range(columns)]
    )
    axes.set_yticks(
        range(rows), [well_name(row + 1, 1)[:-2] if rows <= 16 or row % 2 == 0 else "" for row in range(rows)]
    )
    axes.tick_params(labelsize=6, length=0)
    width = 0.35 * 4.4 * 72 / (columns + 5)  # points: a third of a well
    for style, places in marks.items():
        if places:
            x, y = zip(*places, strict=True)
            edges = {"linewidths": 0.6, "edgecolors": "white"} if style == "o" else {"linewidths": 1.2}
            axes.scatter(x, y, marker=style, s=width**2, c="#888888" if style == "_" else "#c0261c", **edges)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
    bar.ax.tick_params(labelsize=6)
    bar.set_label("cells", fontsize=7)
    for side in axes.spines.values():
        side.set_color("#bbbbbb")
    return _png(figure)


def common_scale(previews: Sequence[Pixels]) -> dict[str, tuple[float, float]]:
    """One range per stain for pictures that are to be compared: from the dim background to the bright 0.2 %."""
    stains = sorted({name for images in previews for name in images})
    values = {name: np.concatenate([images[name].ravel() for images in previews if name in images]) for name in stains}
    return {name: (float(np.quantile(v, 0.02)), float(np.quantile(v, 0.998))) for name, v in values.items()}


def composite(
    images: Pixels,
    outlines: Pixels,
    colours: Mapping[str, str],
    scale: Mapping[str, tuple[float, float]],
    outlined: Sequence[str] = ("Nuclei", "Cells"),
) -> bytes:
    """Stains added up in their colours, with the outlines of object sets over them.

    `images`: stain -> (y, x) in [0, 1]; `outlines`: object set -> bool (y, x); `scale`: stain -> (black, full).
    """
    shape = next(iter(images.values())).shape
    canvas = np.zeros((*shape, 3))
    for stain, colour in colours.items():
        if stain in images:
            black, full = scale[stain]
            light = np.clip((images[stain] - black) / max(full - black, 1e-9), 0, 1)
            canvas += light[..., None] * np.array(to_rgb(colour)) * 0.6
    canvas = np.clip(canvas, 0, 1)
    for number, name in enumerate(outlined):
        if name in outlines:
            strength = 0.9 if number == 0 else 0.55
            canvas[outlines[name]] = (1 - strength) * canvas[outlines[name]] + strength
    buffer = io.BytesIO()
    Image.fromarray(np.rint(255 * canvas).astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _png(figure: plt.Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    plt.close(figure)
    return buffer.getvalue()
