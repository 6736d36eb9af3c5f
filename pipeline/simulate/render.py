"""Draw one site of Cell Painting: cells with a phenotype, seen through a widefield microscope.

Sizes, intensities, background and noise follow real U2OS sites of an Opera Phenix (0.598 um a pixel): nuclei of about
1,100 pixels, cells of about 5,500, shot noise with a variance of 0.26 times the count. All lengths are in pixels, all
intensities in counts of the 16-bit image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy.fft

#: the channels in the order of their numbers in the file names, from ch1
CHANNELS = ("Mito", "AGP", "RNA", "ER", "DNA", "HighZBF", "LowZBF", "Brightfield")

#: counts of an empty field
BACKGROUND = {"Mito": 1150, "AGP": 650, "RNA": 380, "ER": 520, "DNA": 420}
BRIGHTFIELD = 27_000
#: camera counts without light, and the variance of a pixel per count (measured on real sites)
OFFSET, GAIN, READ_NOISE = 110, 0.26, 3.0

CELL_RADIUS, NUCLEUS_RADIUS = 43.0, 18.5
#: nuclei per pixel of a site, before crowding keeps some out
DENSITY = 1 / 3300
#: drawn beyond each edge, so that cells reach in from outside
MARGIN = 36


class Phenotype(NamedTuple):
    """How far cells are from untreated ones along each axis: 0 is untreated, 1 is plain to see, -1 its opposite."""

    nuclear_size: float = 0.0
    nuclear_elongation: float = 0.0
    chromatin: float = 0.0
    cell_size: float = 0.0
    cell_count: float = 0.0
    er_texture: float = 0.0
    er_intensity: float = 0.0
    mito_spread: float = 0.0
    mito_intensity: float = 0.0
    nucleoli: float = 0.0
    rna_intensity: float = 0.0
    agp_intensity: float = 0.0
    golgi_spread: float = 0.0


@dataclass(frozen=True)
class Microscope:
    """What a plate's imaging adds: staining gain by channel, and where the light falls, both by channel number - 1."""

    gain: np.ndarray  #: float (8,)
    centre: np.ndarray  #: float (8, 2): the brightest point, in half image sides from the middle
    falloff: np.ndarray  #: float (8,): share of light lost at one half side from there


class Picture(NamedTuple):
    """One rendered site. `images`: uint16 (8, y, x); `cells`: nuclei that lie wholly inside the field."""

    images: np.ndarray
    cells: int


def render_site(rng: np.random.Generator, phenotype: Phenotype | None, microscope: Microscope, size: int) -> Picture:
    """Render one square site of `size` pixels; without a phenotype, one without cells.

    The same generator state gives the same picture (on one kind of processor: elsewhere a rounding in the last place
    may tip a pixel by one count).
    """
    side = scipy.fft.next_fast_len(size + 2 * MARGIN, real=True)
    inside = slice((side - size) // 2, (side - size) // 2 + size)
    scene = _Scene(rng, phenotype, side)
    optics = _optics(side)
    images = np.empty((len(CHANNELS), size, size), np.float32)
    for number, channel in enumerate(CHANNELS[:5]):
        seen = scipy.fft.irfft2(scipy.fft.rfft2(scene.stain(channel)) * optics["psf"], s=(side, side))
        images[number] = microscope.gain[number] * seen[inside, inside] + BACKGROUND[channel]
    phase = scipy.fft.rfft2(scene.phase())
    for number, channel in enumerate(CHANNELS[5:], 5):
        contrast = scipy.fft.irfft2(phase * optics[channel], s=(side, side))
        images[number] = BRIGHTFIELD * (1 + contrast[inside, inside])
    images *= _light(microscope, size)
    images += OFFSET
    np.maximum(images, OFFSET / 2, out=images)
    # Photons are Poisson; at hundreds of counts a pixel the normal law is the same and cheaper.
    images += rng.standard_normal(images.shape, np.float32) * np.sqrt(GAIN * images + READ_NOISE**2)
    return Picture(np.clip(np.rint(images), 0, 65535).astype(np.uint16), scene.whole_nuclei(inside))


def _light(microscope: Microscope, size: int) -> np.ndarray:
    """Relative illumination, float32 (8, size, size)."""
    along = np.linspace(-1, 1, size, dtype=np.float32)
    y = along[:, None] - microscope.centre[:, 0, None, None].astype(np.float32)
    x = along[None, :] - microscope.centre[:, 1, None, None].astype(np.float32)
    return 1 - microscope.falloff[:, None, None].astype(np.float32) * (y**2 + x**2)


@lru_cache(maxsize=4)
def _optics(side: int) -> dict[str, np.ndarray]:
    """Transfer functions on the half plane of `rfft2`, and the band passes of the textures."""
    squared = scipy.fft.fftfreq(side)[:, None] ** 2 + scipy.fft.rfftfreq(side)[None, :] ** 2

    def gaussian(sigma: float) -> np.ndarray:
        return np.exp(-2 * (np.pi * sigma) ** 2 * squared)

    full = scipy.fft.fftfreq(side)[:, None] ** 2 + scipy.fft.fftfreq(side)[None, :] ** 2

    def band(sigma: float) -> np.ndarray:
        """Noise of unit variance that is smooth over `sigma` and has nothing of longer waves."""
        passed = np.exp(-2 * (np.pi * sigma) ** 2 * full) * (1 - np.exp(-2 * (np.pi * 4 * sigma) ** 2 * full))
        return passed / np.sqrt(np.mean(passed**2))

    # Widefield: a sharp core and a haze from out of focus. Brightfield shows a thin object's phase by defocus, with
    # the weak-phase transfer 2 sin(pi lambda z f^2): bright and dark change places between high and low z.
    found = {
        "psf": 0.82 * gaussian(0.85) + 0.18 * gaussian(6.5),
        "HighZBF": -2 * np.sin(14.0 * squared) * gaussian(0.7),
        "LowZBF": 2 * np.sin(14.0 * squared) * gaussian(0.7),
        "Brightfield": 2 * np.sin(2.5 * squared) * gaussian(0.7),
    }
    found |= {f"band {sigma}": band(sigma) for sigma in (1.1, 2.0, 8.0)}
    return {name: transfer.astype(np.float32) for name, transfer in found.items()}


def _textures(rng: np.random.Generator, side: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Two independent fields of band-passed noise, mean 0, variance 1, float32 (side, side)."""
    white = rng.standard_normal((2, side, side), np.float32)
    spectrum = (white[0] + 1j * white[1]) * _optics(side)[f"band {sigma}"]
    fields = scipy.fft.ifft2(spectrum, norm="ortho", overwrite_x=True)
    return fields.real, fields.imag


class _Scene:
    """The cells of one site before any optics: who covers which pixel, and what lies there."""

    def __init__(self, rng: np.random.Generator, phenotype: Phenotype | None, side: int) -> None:
        self.rng, self.phenotype, self.side = rng, phenotype or Phenotype(), side
        self.fine, self.chromatin = _textures(rng, side, 1.1)
        self.reticulum, self.filaments = _textures(rng, side, 2.0)
        self.warp = _textures(rng, side, 8.0)
        self.owner = np.full((side, side), -1, np.int32)  # which cell covers the pixel
        self.depth = np.zeros((side, side), np.float32)  # 1 in the cell's middle, 0 at its edge
        self.facing = np.zeros((side, side), np.float32)  # cosine of the angle to the cell's Golgi
        self.nucleus = np.zeros((side, side), np.float32)  # share of the pixel, soft at the rim
        self.dome = np.zeros((side, side), np.float32)  # the cell rises over its nucleus
        self.nuclei = np.full((side, side), -1, np.int32)
        self.nucleoli = np.zeros((side, side), np.float32)
        self.dna = np.zeros((side, side), np.float32)
        self.puncta = np.zeros((side, side), np.float32)
        self._place(DENSITY if phenotype is not None else 0)
        for cell in range(len(self.centres)):
            self._spread(cell)
        for cell in range(len(self.centres)):
            self._draw_nucleus(cell)
        self.covered = self.owner >= 0
        self.thickness = self.covered * (0.14 + 0.55 * self.depth**1.4 + 0.55 * self.dome)

    # --- where the cells are ---

    def _place(self, density: float) -> None:
        """Throw nuclei at random; one that would lie on another is thrown away, as in a crowded well."""
        rng, look = self.rng, self.phenotype
        wanted = rng.poisson(density * self.side**2 * np.exp(0.45 * look.cell_count))
        cycle = rng.beta(1.0, 2.2, wanted)  # 0 just divided, 1 about to divide: DNA doubles, nuclei grow
        radii = NUCLEUS_RADIUS * np.exp(0.17 * look.nuclear_size + rng.normal(0, 0.09, wanted)) * (0.9 + 0.28 * cycle)
        spots = rng.uniform(0, self.side, (wanted, 2))
        kept: list[int] = []
        for one in range(wanted):
            gaps = np.hypot(*(spots[kept] - spots[one]).T)
            if np.all(gaps > 1.12 * (radii[kept] + radii[one])):
                kept.append(one)
        self.centres, self.radii, self.cycle = spots[kept], radii[kept], cycle[kept]
        count = len(kept)
        self.angles = rng.uniform(0, 2 * np.pi, count)
        self.golgi_angles = rng.uniform(0, 2 * np.pi, count)
        self.sizes = CELL_RADIUS * np.exp(0.22 * look.cell_size + rng.normal(0, 0.12, count))
        self.elongations = np.exp(np.abs(rng.normal(0.6, 0.25, count)))
        #: how much stain each cell took up, by channel
        self.uptake = np.exp(rng.normal(0, 0.12, (5, count)) + rng.normal(0, 0.08, count)).astype(np.float32)
        # A few cells round up, to divide or to die: small and bright.
        rounded = rng.random(count) < 0.03
        self.radii[rounded] *= 0.7
        self.sizes[rounded] *= 0.42
        self.elongations[rounded] = 1
        self.uptake[:, rounded] *= 2.2

    def _window(self, cell: int, reach: float) -> tuple[slice, slice, np.ndarray, np.ndarray]:
        """The part of the field around a cell, and its coordinates relative to the cell."""
        y, x = self.centres[cell]
        rows = slice(max(0, int(y - reach)), min(self.side, int(y + reach) + 1))
        columns = slice(max(0, int(x - reach)), min(self.side, int(x + reach) + 1))
        dy = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - np.float32(y)
        dx = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] - np.float32(x)
        return rows, columns, dy, dx

    def _spread(self, cell: int) -> None:
        """Give the cell the pixels to which it is nearest in its own, warped, elliptic metric."""
        size, elongation, angle = self.sizes[cell], np.sqrt(self.elongations[cell]), self.angles[cell]
        rows, columns, dy, dx = self._window(cell, 1.3 * size * elongation)
        near = np.minimum(1, np.hypot(dy, dx) / size)  # the warp leaves the middle in place
        wy = dy + 12 * near * self.warp[0][rows, columns]
        wx = dx + 12 * near * self.warp[1][rows, columns]
        along = np.float32(np.cos(angle)) * wx + np.float32(np.sin(angle)) * wy
        across = np.float32(np.cos(angle)) * wy - np.float32(np.sin(angle)) * wx
        depth = 1 - np.hypot(along / np.float32(size * elongation), across * np.float32(elongation / size))
        mine = depth > self.depth[rows, columns]
        self.depth[rows, columns][mine] = depth[mine]
        self.owner[rows, columns][mine] = cell
        golgi = self.golgi_angles[cell]
        facing = (np.float32(np.sin(golgi)) * dy + np.float32(np.cos(golgi)) * dx) / (np.hypot(dy, dx) + 1)
        self.facing[rows, columns][mine] = facing[mine]

    def _draw_nucleus(self, cell: int) -> None:
        rng, look, radius = self.rng, self.phenotype, self.radii[cell]
        rows, columns, dy, dx = self._window(cell, 1.7 * radius)
        angle = np.arctan2(dy, dx) - np.float32(self.angles[cell])
        stretch = 0.2 + 0.22 * look.nuclear_elongation + rng.normal(0, 0.07)
        outline = 1 + 0.5 * stretch * np.cos(2 * angle)
        for wave in (3, 4, 5):
            outline += np.float32(rng.normal(0, 0.018)) * np.cos(wave * angle + np.float32(rng.uniform(0, 2 * np.pi)))
        edge = np.float32(radius) * outline - np.hypot(dy, dx)
        mask = np.clip(edge / 1.6 + 0.5, 0, 1)
        inner = mask > 0.5
        self.nuclei[rows, columns][inner] = cell
        self.owner[rows, columns][inner] = cell
        self.depth[rows, columns][inner] = np.maximum(self.depth[rows, columns][inner], 0.6)
        self.nucleus[rows, columns] = np.maximum(self.nucleus[rows, columns], mask)
        dome = np.clip(1 - (np.hypot(dy, dx) / np.float32(1.45 * radius)) ** 2, 0, 1)
        self.dome[rows, columns] = np.maximum(self.dome[rows, columns], dome)

        holes = np.zeros_like(mask)
        for _ in range(2 + rng.poisson(1.5)):
            turn, away = rng.uniform(0, 2 * np.pi), 0.6 * radius * np.sqrt(rng.uniform())
            width = rng.uniform(1.5, 2.7) * np.exp(0.16 * look.nucleoli)
            gap = (dy - np.float32(away * np.sin(turn))) ** 2 + (dx - np.float32(away * np.cos(turn))) ** 2
            holes = np.maximum(holes, np.exp(-((gap / np.float32(2 * width**2)) ** 1.5)))
        self.nucleoli[rows, columns] = np.maximum(self.nucleoli[rows, columns], holes * mask)
        # The same DNA in a larger nucleus is fainter.
        content = (1 + self.cycle[cell]) * (NUCLEUS_RADIUS / radius) ** 2
        clumps = 1 + 0.13 * np.float32(np.exp(0.7 * look.chromatin)) * self.chromatin[rows, columns]
        dna = np.float32(content) * np.clip(clumps, 0.2, None) * (1 - 0.35 * holes)
        self.dna[rows, columns] = np.maximum(self.dna[rows, columns], mask * dna)
        self._draw_puncta(cell)

    def _draw_puncta(self, cell: int) -> None:
        """Golgi stacks on one side of the nucleus, and vesicles over the rest of the cell."""
        rng, radius, golgi = self.rng, self.radii[cell], self.golgi_angles[cell]
        spread = 4.0 * np.exp(0.55 * self.phenotype.golgi_spread)
        hub = self.centres[cell] + (radius + 5) * np.array([np.sin(golgi), np.cos(golgi)])
        stacks = hub + rng.normal(0, spread, (24, 2))
        vesicles = self.centres[cell] + rng.normal(0, 0.4 * self.sizes[cell], (12, 2))
        spots = np.rint(np.concatenate([stacks, vesicles])).astype(int)
        light = np.concatenate([rng.uniform(3, 7, 24), rng.uniform(1, 4, 12)]).astype(np.float32)
        seen = np.all((spots >= 0) & (spots < self.side), axis=1)
        spots, light = spots[seen], light[seen]
        own = self.owner[spots[:, 0], spots[:, 1]] == cell
        np.add.at(self.puncta, tuple(spots[own].T), light[own])

    def whole_nuclei(self, inside: slice) -> int:
        """Nuclei that lie in the field and, blurred, do not reach its edge."""
        seen = self.nuclei[inside, inside]
        edge = np.concatenate([seen[:2].ravel(), seen[-2:].ravel(), seen[:, :2].ravel(), seen[:, -2:].ravel()])
        return int(np.setdiff1d(seen, np.append(edge, -1)).size)

    # --- what each stain and the light see ---

    def stain(self, channel: str) -> np.ndarray:
        """Light emitted in a channel, in counts over the background, before optics."""
        look, thickness, outside = self.phenotype, self.thickness, 1 - self.nucleus
        taken = np.append(self.uptake[CHANNELS.index(channel)], 0)[self.owner]  # owner -1 is nobody
        if channel == "DNA":
            return taken * (4900 * self.dna + 260 * thickness)
        if channel == "RNA":
            return taken * self._rna()
        if channel == "ER":
            mesh = 1 + np.float32(0.2 * np.exp(0.75 * look.er_texture)) * self.reticulum
            sheets = 3300 * np.float32(np.exp(0.38 * look.er_intensity)) * thickness * np.clip(mesh, 0.1, None)
            return taken * (sheets * (1 - 0.45 * self.nucleus) + 0.55 * self._rna())  # the two dyes overlap
        if channel == "AGP":
            rim = np.exp(-((self.depth / 0.05) ** 2)) * self.covered
            fibres = 0.35 * np.exp(-((self.filaments / 0.35) ** 2)) * outside
            actin = 2700 * thickness * (0.8 + fibres + 0.07 * self.fine) * (1 - 0.2 * self.nucleus) + 800 * rim
            return taken * np.float32(np.exp(0.38 * look.agp_intensity)) * (actin + 1500 * self.puncta)
        # Mitochondria: threads around the nucleus, more on the Golgi's side, none in it.
        middle = np.float32(0.58 - 0.15 * look.mito_spread)
        where = np.exp(-(((self.depth - middle) / 0.27) ** 2)) * (1 + 0.5 * self.facing)
        threads = np.exp(-((self.reticulum + 0.5 * self.fine) ** 2) / 0.12)
        bright = np.float32(np.exp(0.42 * look.mito_intensity))
        return taken * (bright * 6800 * where * threads * outside * self.covered + 1900 * thickness)

    def _rna(self) -> np.ndarray:
        look = self.phenotype
        cytoplasm = 4300 * self.thickness * (1 + 0.1 * self.fine) * (1 - 0.2 * self.nucleus)
        nucleoli = 7500 * np.float32(np.exp(0.5 * look.nucleoli)) * self.nucleoli
        return np.float32(np.exp(0.38 * look.rna_intensity)) * (cytoplasm + nucleoli)

    def phase(self) -> np.ndarray:
        """Optical thickness, which is all that brightfield sees of unstained structure."""
        grain = (0.03 * self.fine + 0.025 * self.reticulum) * self.thickness
        dense = 0.05 * self.nucleus + 0.4 * self.nucleoli + 0.03 * self.puncta
        return (0.5 * self.thickness + grain + dense).astype(np.float32)
