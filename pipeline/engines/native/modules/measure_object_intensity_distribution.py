"""MeasureObjectIntensityDistribution: how brightness is spread from an object's centre to its edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from centrosome.propagate import propagate

from pipeline.engines.native.compiled import kernel
from pipeline.engines.native.kernels import labels, zernike
from pipeline.engines.native.numpy1.libm import atan2
from pipeline.engines.native.numpy1.ties import last_maxima
from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Objects, Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({6})

FEATURES = ("FracAtD", "MeanFrac", "RadialCV")
#: what is measured of each Zernike moment
ZERNIKES = {"Magnitudes only": ("Magnitude",), "Magnitudes and phase": ("Magnitude", "Phase")}
CENTRES = ("These objects", "Centers of other objects", "Edges of other objects")
WEDGES = 8
#: the number of object sets, ring settings and heat maps in the file (CellProfiler hides these three settings)
COUNTS = "Hidden"
NUMBER, RADIUS = "Number of bins", "Maximum radius"

#: the distance of what is no pixel of the object: below any, so that no way leads there
OUTSIDE = -1.0


def compile(settings: Settings) -> MeasureRadialDistribution:
    n_rings = int(settings.texts(COUNTS)[1])
    # Heat maps, which come last in the file, have numbers of bins too.
    groups = (settings.texts(NUMBER)[:n_rings], settings.texts("Scale the bins?"), settings.texts(RADIUS))
    rings = tuple(
        Rings(
            settings.taken(NUMBER, number),
            scaled == "Yes",
            0 if scaled == "Yes" else settings.taken(RADIUS, radius),
        )
        for number, scaled, radius in zip(*groups, strict=True)
    )
    saved = zip(settings.texts("Save display as image?"), settings.texts("Output image name"), strict=True)
    settings.drawn.update(name for is_saved, name in saved if is_saved == "Yes")
    sets, centres = settings.texts("Select objects to measure"), settings.texts("Select objects to use as centers")
    measured = zip(sets, settings.texts("Object to use as center?"), centres, strict=True)
    wanted = settings.choice("Calculate intensity Zernikes?", ("None", *ZERNIKES))
    return MeasureRadialDistribution(
        images_in=tuple(settings.names("Select images to measure")),
        measured=tuple(Measured.read(settings, *of_set) for of_set in measured),
        rings=rings,
        zernikes=ZERNIKES.get(wanted, ()),
        degree=settings.integer("Maximum zernike moment", in_force=wanted != "None"),
    )


@dataclass(frozen=True)
class Measured:
    """An object set. `centres`: the set whose objects are the centres, or ""; `from_edges`: from the edges of these."""

    objects: str
    centres: str
    from_edges: bool

    @classmethod
    def read(cls, settings: Settings, objects: str, choice: str, centres: str) -> Measured:
        if choice not in CENTRES:
            settings.refuse(f'"Object to use as center?: {choice}" is not supported (supported: {", ".join(CENTRES)})')
        return cls(objects, "" if choice == CENTRES[0] else centres, choice == CENTRES[2])


@dataclass(frozen=True)
class Rings:
    """`scaled`: rings share out the way from centre to edge; otherwise `radius` pixels, and one more ring beyond.

    CellProfiler keeps the distances of the first rings it measures of an object set: how those are scaled, and their
    radius, hold for all, whatever the others say. Only the ring beyond goes by each one's own.
    """

    number: int
    scaled: bool
    radius: int

    def names(self, feature: str, image: str) -> list[str]:
        names = [f"RadialDistribution_{feature}_{image}_{k}of{self.number}" for k in range(1, self.number + 1)]
        return names if self.scaled else [*names, f"RadialDistribution_{feature}_{image}_Overflow"]


@dataclass(frozen=True)
class MeasureRadialDistribution:
    images_in: tuple[str, ...]
    measured: tuple[Measured, ...]
    rings: tuple[Rings, ...]
    zernikes: tuple[str, ...]
    degree: int

    images_out = objects_out = ()
    honours_masks = True  # in Zernikes; rings count what a mask hides, as CellProfiler's do

    @property
    def objects_in(self) -> tuple[str, ...]:
        return tuple(name for each in self.measured for name in (each.objects, each.centres) if name)

    def features(self) -> dict[str, list[str]]:
        names = [
            name
            for image in self.images_in
            for rings in self.rings
            for feature in FEATURES
            for name in rings.names(feature, image)
        ]
        names += [name for image in self.images_in for kind in self.zernikes for name in self._zernike(kind, image)]
        return {each.objects: names for each in self.measured}

    def _zernike(self, kind: str, image: str) -> list[str]:
        return [f"RadialDistribution_Zernike{kind}_{image}_{n}_{m}" for n, m in zernike.indices(self.degree)]

    def run(self, site: Workspace) -> None:
        images = [site.images[name] for name in self.images_in]
        for each in self.measured:
            site.check_shapes(each.objects, *([each.centres] if each.centres else []), *self.images_in)
            objects = site.objects[each.objects]
            if each.centres:
                geometry = Geometry.around(objects, site.objects[each.centres], from_edges=each.from_edges)
            else:
                geometry = Geometry.of(objects)
            self._add_rings(site, each.objects, images, geometry)
        for each in self.measured if self.zernikes else ():
            self._add_zernikes(site, each.objects)

    def _add_rings(self, site: Workspace, name: str, images: list[np.ndarray], geometry: Geometry) -> None:
        objects = site.objects[name]
        for rings in self.rings:
            sectors = geometry.sectors(replace(self.rings[0], number=rings.number))
            counts = count_sectors(sectors, objects.starts, rings.number + 1)
            by_ring, by_sector = sums_by_place(objects, images, sectors, rings.number + 1)
            for c, image in enumerate(self.images_in):
                found = distribution(by_ring[..., c], by_sector[..., c], counts)
                for feature, of_feature in zip(FEATURES, found, strict=True):
                    for ring, column in enumerate(rings.names(feature, image)):
                        site.add(name, column, of_feature[:, ring])

    def _add_zernikes(self, site: Workspace, name: str) -> None:
        objects, (nm, factors) = site.objects[name], zernike.radial_factors(self.degree)
        masks = [site.masks.get(image) for image in self.images_in]
        images = [
            site.images[image] if mask is None else np.where(mask, site.images[image], np.float32(0))
            for image, mask in zip(self.images_in, masks, strict=True)
        ]
        areas = [objects.areas if mask is None else objects.shown(mask).areas for mask in masks]
        moments = np.empty((len(images), objects.count, len(nm), 2))
        (rows, columns), (centres, radii) = objects.places, objects.circles
        for block in objects.blocks(images):
            moments[:, block.objects] = zernike.weighted_sums(
                block.values,
                rows[block.pixels],
                columns[block.pixels],
                block.starts,
                centres[block.objects],
                radii[block.objects],
                nm,
                factors,
            )
        real, imaginary = np.moveaxis(moments, 3, 0)
        magnitudes = np.sqrt(real * real + imaginary * imaginary) / np.stack(areas)[..., None]
        values = {"Magnitude": magnitudes, "Phase": atan2(real, imaginary)}
        for c, image in enumerate(self.images_in):
            for kind in self.zernikes:
                # Of an image that is hidden altogether there is no phase either.
                found = values[kind][c] if areas[c].any() else np.full_like(values[kind][c], np.nan)
                site.add_all(name, self._zernike(kind, image), found.T)


@dataclass(frozen=True)
class Geometry:
    """For every labelled pixel, in the order of `Objects.pixels`: squared distance to the object's edge, distance to
    its centre (-1 where no way within the object leads there), and its wedge around the centre.
    """

    to_edge: np.ndarray
    to_centre: np.ndarray
    wedges: np.ndarray

    @classmethod
    def of(cls, objects: Objects) -> Geometry:
        to_edge = objects.to_edge.ravel()
        room = np.empty(to_edge.size, np.uint64)
        # The centre is the pixel farthest from the edge; of equal ones the last in numpy's order of the whole image.
        centres = last_maxima(to_edge.view(np.uint32), objects.segmented.ravel(), objects.count, room)
        centres = np.stack(np.divmod(centres, objects.segmented.shape[1]), axis=1)
        rows, columns = objects.places
        # The centre of a number without pixels is the first pixel of the image to CellProfiler, whosever that is.
        second = -1 if objects.areas.all() else int(objects.segmented[0, 0]) - 1
        to_centre = distance_within(objects.boxes, centres, rows, columns, objects.starts, second)
        wedges = wedges_around(centres, rows, columns, objects.starts)
        return cls(to_edge[objects.pixels], to_centre, wedges)

    @classmethod
    def around(cls, objects: Objects, others: Objects, *, from_edges: bool) -> Geometry:
        """Around the centres of other objects, or from their edges, in which case what lies within them is left out.

        Distances run through all objects, from each pixel to the nearest centre; where no way leads to one, straight to
        the one nearest to the middle of the object. Raises ValueError where there is no other object.
        """
        if objects.count and not others.count:
            raise ValueError(
                "there are no objects whose centers could be used. Leave out such sites, or use no centers"
            )
        found = labels.centres(others.segmented, others.count)
        exist = others.areas > 0
        middles = np.zeros(found.shape, np.int64)
        middles[exist] = (found[exist] + 0.5).astype(np.int64)
        seeds = others.segmented
        if not from_edges:
            seeds = np.zeros_like(others.segmented)
            seeds[tuple(middles[exist].T)] = np.flatnonzero(exist) + 1
        nearest, away = propagate(np.zeros(seeds.shape), seeds, objects.segmented != 0, 1.0)
        owners, to_centre = nearest.ravel()[objects.pixels].astype(np.int64), away.ravel()[objects.pixels]
        fill_unreached(owners, to_centre, objects, middles, np.flatnonzero(exist) + 1)
        if from_edges:
            to_centre[seeds.ravel()[objects.pixels] != 0] = -1
        to_edge = objects.to_edge.ravel()[objects.pixels]
        return cls(to_edge, to_centre, wedges_from(middles, owners, *objects.places))

    def sectors(self, rings: Rings) -> np.ndarray:
        """int32 (pixels): ring * 8 + wedge, -1 for pixels that no way joins to the centre."""
        found = np.empty(self.wedges.size, np.int32)
        assign_sectors(self.to_edge, self.to_centre, self.wedges, rings.number, rings.scaled, rings.radius, found)
        return found


def fill_unreached(
    owners: np.ndarray, to_centre: np.ndarray, objects: Objects, middles: np.ndarray, numbers: np.ndarray
) -> None:
    """Write the centre and the distance of pixels that no way joins to one (owner 0), see `Geometry.around`.

    `middles`: int64 (centres, 2), of which those of these `numbers` exist.
    """
    missing = np.flatnonzero(owners == 0)
    if missing.size == 0:
        return
    members = np.repeat(np.arange(objects.count), objects.areas)[missing]
    own = labels.centres(objects.segmented, objects.count)
    for k in np.unique(members):
        apart = own[k] - middles[numbers - 1]
        best = numbers[np.argmin(apart[:, 0] * apart[:, 0] + apart[:, 1] * apart[:, 1])]
        pixels = missing[members == k]
        owners[pixels] = best
        down, right = (axis[pixels] - middles[best - 1, i] for i, axis in enumerate(objects.places))
        to_centre[pixels] = np.sqrt((down * down + right * right).astype(np.float64))


@kernel
def wedges_from(middles, owners, rows, columns) -> np.ndarray:
    """As `wedges_around`, each pixel's around the centre that owns it."""
    wedges = np.empty(rows.size, np.int32)
    for at in range(rows.size):
        centre = middles[owners[at] - 1]
        wedges[at] = wedge_of(rows[at] - centre[0], columns[at] - centre[1])
    return wedges


@kernel
def wedge_of(down, right) -> int:
    return (down > 0) + 2 * (right > 0) + 4 * (abs(down) > abs(right))


@kernel
def assign_sectors(to_edge, to_centre, wedges, n_rings, is_scaled, radius, sectors) -> None:
    """Write `Geometry.sectors`, int32 (pixels); the first three arrays are those of `Geometry`."""
    for at in range(sectors.size):
        away = to_centre[at]
        if away < 0:
            sectors[at] = -1
        else:
            part = away / (away + np.sqrt(float(to_edge[at])) + 0.001) if is_scaled else away / radius
            sectors[at] = min(int(part * n_rings), n_rings) * WEDGES + wedges[at]


@kernel
def distance_within(boxes, centres, rows, columns, starts, second=-1) -> np.ndarray:
    """float64 (pixels): length of the shortest way from an object's centre within the object, in steps of 1 and √2.

    -1 where there is none. `boxes`, `rows`, `columns`, `starts`: as of `Objects`; `centres`: int64 (objects, 2).
    `second`: the object (or -1) to which the first pixel of the image is another centre.
    Pixels wait in a bucket for each whole distance. A step is at least 1 long, so that no pixel of a bucket can
    bring another of the same one nearer, and each is visited once.
    """
    found = np.empty(rows.size)
    largest, longest = 0, 1
    for k in range(starts.size - 1):
        largest = max(largest, (boxes[k, 2] - boxes[k, 0] + 2) * (boxes[k, 3] - boxes[k, 1] + 1) + 1)
        longest = max(longest, starts[k + 1] - starts[k])
    # Of one object's box with a border on all sides (that on the right is the next row's on the left).
    distance = np.full(largest, OUTSIDE)
    waiting, n_waiting = np.empty((3, longest), np.int64), np.zeros(3, np.int64)
    for k in range(starts.size - 1):
        if starts[k] == starts[k + 1]:
            continue
        top, left, width = boxes[k, 0] - 1, boxes[k, 1] - 1, boxes[k, 3] - boxes[k, 1] + 1
        for at in range(starts[k], starts[k + 1]):
            distance[(rows[at] - top) * width + columns[at] - left] = np.inf
        centre = (centres[k, 0] - top) * width + centres[k, 1] - left
        distance[centre] = 0.0
        waiting[0, 0], n_waiting[0] = centre, 1
        if k == second:
            corner = (0 - top) * width - left
            if corner != centre:
                distance[corner] = 0.0
                waiting[0, 1], n_waiting[0] = corner, 2
        whole = 0
        while n_waiting[0] + n_waiting[1] + n_waiting[2] > 0:
            bucket = whole % 3
            for at in range(n_waiting[bucket]):
                pixel = waiting[bucket, at]
                here = distance[pixel]
                if int(here) != whole:
                    continue  # it came nearer, and was visited, after it began to wait here
                for down in range(-1, 2):
                    for right in range(-1, 2):
                        neighbour = pixel + down * width + right
                        old = distance[neighbour]
                        new = here + (1.0 if down == 0 or right == 0 else np.sqrt(2.0))
                        if old <= new:
                            continue
                        distance[neighbour] = new
                        if old == np.inf or int(old) != int(new):
                            to = int(new) % 3
                            waiting[to, n_waiting[to]] = neighbour
                            n_waiting[to] += 1
            n_waiting[bucket] = 0
            whole += 1
        for at in range(starts[k], starts[k + 1]):
            place = (rows[at] - top) * width + columns[at] - left
            found[at] = -1.0 if distance[place] == np.inf else distance[place]
            distance[place] = OUTSIDE  # as the next object has to find it
    return found


@kernel
def wedges_around(centres, rows, columns, starts) -> np.ndarray:
    """int32 (pixels): below the centre 1, right of it 2, more up or down than sideways 4, added up."""
    wedges = np.empty(rows.size, np.int32)
    for k in range(starts.size - 1):
        centre_y, centre_x = centres[k]
        for at in range(starts[k], starts[k + 1]):
            wedges[at] = wedge_of(rows[at] - centre_y, columns[at] - centre_x)
    return wedges


@kernel
def count_sectors(sectors, starts, n_rings) -> np.ndarray:
    """int64 (objects, rings, wedges): pixels."""
    counts = np.zeros((starts.size - 1, n_rings, WEDGES), np.int64)
    for k in range(starts.size - 1):
        for at in range(starts[k], starts[k + 1]):
            if sectors[at] >= 0:
                counts[k, sectors[at] // WEDGES, sectors[at] % WEDGES] += 1
    return counts


def distribution(
    by_ring: np.ndarray, by_sector: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FracAtD, MeanFrac and RadialCV of one image, from its sums and `count_sectors`: float (objects, rings)."""
    total = np.zeros(len(by_ring), np.float32)
    for ring in range(by_ring.shape[1]):  # float32 sums, as in CellProfiler
        total += by_ring[:, ring]
    fraction = by_ring / total[:, None]
    pixels = counts.sum(axis=2).astype(np.float64)
    mean_fraction = fraction / (pixels / pixels.sum(axis=1)[:, None] + np.finfo(float).eps)
    return fraction, mean_fraction, variation(by_sector.reshape(counts.shape), counts)


def sums_by_place(
    objects: Objects, images: Sequence[np.ndarray], sectors: np.ndarray, n_rings: int
) -> tuple[np.ndarray, np.ndarray]:
    """Float32 (objects, rings, images) and (objects, rings * wedges, images): brightness, added up in raster order."""
    by_ring = np.empty((objects.count, n_rings, len(images)), np.float32)
    by_sector = np.empty((objects.count, n_rings * WEDGES, len(images)), np.float32)
    for block in objects.blocks(images):
        by_ring[block.objects], by_sector[block.objects] = sum_sectors(
            block.values, block.starts, sectors[block.pixels], n_rings
        )
    return by_ring, by_sector


@kernel
def sum_sectors(values, starts, sectors, n_rings):
    """`sums_by_place` of some objects. `values`: float32 (images, pixels); `sectors`: int32 (pixels).

    All images are added up side by side, since each addition to a sum has to wait for the one before.
    """
    n_images, n_objects = len(values), starts.size - 1
    by_ring = np.zeros((n_objects, n_rings, n_images), np.float32)
    by_sector = np.zeros((n_objects, n_rings * WEDGES, n_images), np.float32)
    for k in range(n_objects):
        for at in range(starts[k], starts[k + 1]):
            if sectors[at] >= 0:
                of_ring, of_sector = by_ring[k, sectors[at] // WEDGES], by_sector[k, sectors[at]]
                for c in range(n_images):
                    of_ring[c] += values[c, at]
                    of_sector[c] += values[c, at]
    return by_ring, by_sector


def variation(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Standard deviation over mean of the mean brightness of a ring's wedges, of those with pixels.

    0 for a ring without pixels, and for one that is black all round.
    """
    has_pixels = counts > 0
    number = has_pixels.sum(axis=2)
    means = np.where(has_pixels, sums / np.maximum(counts, 1), 0.0)
    centre = means.sum(axis=2) / number
    deviations = np.where(has_pixels, means - centre[:, :, None], 0.0)
    spread = np.sqrt((deviations**2).sum(axis=2) / number)
    return np.where((number == 0) | (centre == 0), 0.0, spread / centre)
