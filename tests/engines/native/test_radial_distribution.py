"""Radial distributions against plain loops, centrosome's propagation, and CellProfiler's results."""

from __future__ import annotations

import numpy as np
import pytest
from centrosome.propagate import propagate
from centrosome.zernike import construct_zernike_polynomials, get_zernike_indexes
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engines.native.kernels import labels, zernike
from pipeline.engines.native.modules.measure_object_intensity_distribution import (
    WEDGES,
    Geometry,
    Rings,
    count_sectors,
    distance_within,
    distribution,
    sums_by_place,
)
from pipeline.engines.native.numpy1.ties import last_maxima
from pipeline.engines.native.workspace import Objects
from pipeline.errors import CppipeError
from tests.engines.native.sites import (
    assert_same_as_cellprofiler,
    images,
    label_images,
    reference_runs,
    reference_site,
    shapes,
    step,
)

# The engine runs its steps with NumPy's warnings off: black objects divide by zero.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

SETTINGS = """
Select images to measure:{images}
Hidden:3
Hidden:1
Hidden:0
Calculate intensity Zernikes?:None
Maximum zernike moment:9
Select objects to measure:Nuclei
Object to use as center?:These objects
Select objects to use as centers:None
Select objects to measure:Cytoplasm
Object to use as center?:{centre}
Select objects to use as centers:None
Select objects to measure:Cells
Object to use as center?:These objects
Select objects to use as centers:None
Scale the bins?:Yes
Number of bins:4
Maximum radius:100
"""


@given(st.data())
def test_the_way_to_the_centre_is_as_long_as_centrosomes(data):
    shape = data.draw(shapes())
    objects = Objects.of(data.draw(label_images(shape)))
    to_edge = labels.squared_distance(objects.segmented).ravel().view(np.uint32)
    centres = last_maxima(to_edge, objects.segmented.ravel(), objects.count, np.empty(to_edge.size, np.uint64))

    places = np.stack(np.divmod(centres, shape[1]), axis=1)
    found = distance_within(objects.boxes, places, *objects.places, objects.starts)

    for k in np.flatnonzero(objects.areas):
        mask = objects.segmented == k + 1
        seed = np.zeros(shape, np.int32)
        seed.flat[centres[k]] = 1
        reached, distance = propagate(np.zeros(shape), seed, mask, 1)
        expected = np.where(reached, distance, -1)[mask]
        np.testing.assert_array_equal(found[objects.starts[k] : objects.starts[k + 1]], expected)


@given(st.data())
def test_sectors_are_shares_of_the_way_from_centre_to_edge(data):
    n = data.draw(st.integers(1, 40))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    to_edge, wedges = random.integers(1, 200, n).astype(np.int32), random.integers(0, WEDGES, n).astype(np.int32)
    to_centre = np.where(random.random(n) < 0.2, -1.0, random.random(n) * 60)
    rings = Rings(data.draw(st.integers(1, 6)), data.draw(st.booleans()), data.draw(st.integers(1, 50)))

    found = Geometry(to_edge, to_centre, wedges).sectors(rings)

    part = to_centre / (to_centre + np.sqrt(to_edge) + 0.001) if rings.scaled else to_centre / rings.radius
    ring = np.minimum((part * rings.number).astype(int), rings.number)
    np.testing.assert_array_equal(found, np.where(to_centre < 0, -1, ring * WEDGES + wedges))


def plain(image: np.ndarray, sector_of: dict[int, int], rings: Rings) -> tuple[list, list, list]:
    """FracAtD, MeanFrac and RadialCV of one object, ring by ring; `sector_of`: by flat pixel."""
    n_rings = rings.number if rings.scaled else rings.number + 1
    pixels = [(sector, image.flat[pixel]) for pixel, sector in sector_of.items() if sector >= 0]
    total, area = sum(value for _, value in pixels), len(pixels)
    fractions, means, variations = [], [], []
    with np.errstate(invalid="ignore", divide="ignore"):
        for ring in range(n_rings):
            inside = [(sector % WEDGES, value) for sector, value in pixels if sector // WEDGES == ring]
            fraction = np.float64(sum(value for _, value in inside)) / total
            fractions.append(fraction)
            means.append(fraction / (len(inside) / area + np.finfo(float).eps))
            wedges = [
                np.mean([value for w, value in inside if w == wedge])
                for wedge in range(WEDGES)
                if any(w == wedge for w, _ in inside)
            ]
            variations.append(np.std(wedges) / np.mean(wedges) if wedges and np.mean(wedges) else 0.0)
    return fractions, means, variations


@given(st.data(), st.sampled_from([Rings(4, True, 100), Rings(3, False, 5)]))
def test_fractions_and_variation_are_those_of_rings_and_wedges(data, rings):
    shape = data.draw(shapes())
    channels = [data.draw(images(shape)) for _ in range(data.draw(st.integers(1, 3)))]
    objects = Objects.of(data.draw(label_images(shape)))

    sectors, n_rings = Geometry.of(objects).sectors(rings), rings.number + 1
    by_ring, by_sector = sums_by_place(objects, channels, sectors, n_rings)
    counts = count_sectors(sectors, objects.starts, n_rings)

    for c, image in enumerate(channels):
        found = distribution(by_ring[..., c], by_sector[..., c], counts)
        assert_like_the_plain_one(found, image, objects, sectors, rings)


def assert_like_the_plain_one(found, image, objects, sectors, rings) -> None:
    for k in np.flatnonzero(objects.areas):
        here = slice(objects.starts[k], objects.starts[k + 1])
        sector_of = dict(zip(objects.pixels[here].tolist(), sectors[here].tolist(), strict=True))
        expected = plain(image, sector_of, rings)
        for measured, values in zip(found, expected, strict=True):
            np.testing.assert_allclose(measured[k, : len(values)], values, rtol=2e-5, atol=1e-6)


def test_rings_and_wedges_of_a_square_by_hand():
    objects = Objects.of(np.pad(np.ones((5, 5), np.int32), 1))

    sectors = Geometry.of(objects).sectors(Rings(2, True, 100)).reshape(5, 5)

    assert sectors[2, 2] // WEDGES == 0  # the centre
    assert (sectors[[0, 0, 4, 4], [0, 4, 0, 4]] // WEDGES == 1).all()  # the corners
    assert (sectors[2] % WEDGES).tolist() == [0, 0, 0, 2, 2]  # left and right of the centre
    assert (sectors[:, 2] % WEDGES).tolist() == [4, 4, 0, 5, 5]  # above and below it


def test_unknown_centres_are_refused_by_name():
    with pytest.raises(CppipeError, match=r"Somewhere.*engine: {kind: cellprofiler}"):
        step(
            "MeasureObjectIntensityDistribution",
            6,
            SETTINGS.format(images="DNA", centre="Somewhere"),
        )


@pytest.mark.real_data
@pytest.mark.parametrize("run", reference_runs())
def test_real_sites_have_cellprofilers_values(shared_data, run):
    site = reference_site(shared_data, run)
    workspace = site.workspace()
    names = "AGP, Brightfield, DNA, ER, HighZBF, LowZBF, Mito, RNA"
    step("MeasureObjectIntensityDistribution", 6, SETTINGS.format(images=names, centre="These objects")).run(workspace)

    assert_same_as_cellprofiler(workspace, site.measured, "RadialDistribution_")


@given(st.data(), st.integers(0, 12))
def test_zernike_moments_of_brightness_are_sums_over_centrosomes_polynomials(data, degree):
    segmented = data.draw(label_images(data.draw(shapes(3, 20))))
    objects = Objects.of(segmented)
    image = data.draw(images(segmented.shape))
    centres, radii = objects.circles
    nm, factors = zernike.radial_factors(degree)
    indexes = get_zernike_indexes(degree + 1)
    assert [tuple(pair) for pair in indexes] == zernike.indices(degree)

    found = zernike.weighted_sums(
        objects.values(image)[None], *objects.places, objects.starts, centres, radii, nm, factors
    )[0]

    for k in range(objects.count):
        rows, columns = np.nonzero(segmented == k + 1)
        if radii[k] == 0:  # one pixel, and none
            assert np.isnan(found[k]).any() or rows.size == 0
            continue
        y, x = (rows - centres[k, 0]) / radii[k], (columns - centres[k, 1]) / radii[k]
        terms = construct_zernike_polynomials(x, y, indexes)
        expected = (terms * image[rows, columns][:, None].astype(np.float64)).sum(axis=0)
        np.testing.assert_allclose(found[k, :, 0] + 1j * found[k, :, 1], expected, rtol=1e-9, atol=1e-9)


@given(st.data(), st.booleans())
def test_around_other_objects_ways_lead_to_the_nearest_of_them_or_straight_to_one(data, from_edges):
    shape = data.draw(shapes(3, 12))
    segmented, others = data.draw(label_images(shape)), data.draw(label_images(shape))
    if others.max(initial=0) == 0:
        others[0, 0] = 1
    objects, centres = Objects.of(segmented), Objects.of(others)

    found = Geometry.around(objects, centres, from_edges=from_edges)

    seeds = others if from_edges else np.zeros_like(others)
    middles = {}
    for k in np.unique(others[others > 0]):
        middles[int(k)] = tuple(int(axis.mean() + 0.5) for axis in np.nonzero(others == k))
        if not from_edges:
            seeds[middles[int(k)]] = k
    nearest, away = propagate(np.zeros(shape), seeds, segmented > 0, 1.0)
    for at, pixel in enumerate(objects.pixels):
        y, x = divmod(int(pixel), shape[1])
        if from_edges and seeds[y, x]:
            assert found.to_centre[at] == -1
            continue
        owner, distance = int(nearest[y, x]), away[y, x]
        if owner == 0:
            own = [axis.mean() for axis in np.nonzero(segmented == segmented[y, x])]
            owner = min(middles, key=lambda k: ((own[0] - middles[k][0]) ** 2 + (own[1] - middles[k][1]) ** 2, k))
            distance = np.hypot(y - middles[owner][0], x - middles[owner][1])
        assert found.to_centre[at] == pytest.approx(distance)
        down, right = y - middles[owner][0], x - middles[owner][1]
        assert found.wedges[at] == (down > 0) + 2 * (right > 0) + 4 * (abs(down) > abs(right))


def test_sites_without_any_centre_are_an_error_that_says_so():
    objects = Objects.of(np.ones((4, 4), np.int32))

    with pytest.raises(ValueError, match="no objects whose centers"):
        Geometry.around(objects, Objects.of(np.zeros((4, 4), np.int32)), from_edges=False)
