from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pipeline.simulate.render import BACKGROUND, CHANNELS, GAIN, OFFSET, Microscope, Phenotype, Picture, render_site

EVEN = Microscope(np.ones(8), np.zeros((8, 2)), np.zeros(8))


def _site(seed: int, phenotype: Phenotype | None = Phenotype(), size: int = 280, light: Microscope = EVEN) -> Picture:  # noqa: B008
    return render_site(np.random.default_rng(seed), phenotype, light, size)


def _nuclei(picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    """(labels, numbers of the nuclei that do not touch the edge), found as simply as can be."""
    dna = ndimage.gaussian_filter(picture.images[CHANNELS.index("DNA")].astype(float), 1)
    labels, _ = ndimage.label(dna > 2000)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    areas = np.bincount(labels.ravel())
    whole = np.setdiff1d(np.flatnonzero(areas > 150), np.append(edge, 0))
    return labels, whole


def _areas(pictures: list[Picture]) -> float:
    found = []
    for picture in pictures:
        labels, whole = _nuclei(picture)
        found.extend(np.bincount(labels.ravel())[whole])
    return float(np.median(found))


def test_a_site_is_eight_channels_of_16_bit_counts():
    images = _site(0, size=200).images
    assert images.shape == (8, 200, 200)
    assert images.dtype == np.uint16


def test_the_same_generator_state_gives_the_same_pixels():
    np.testing.assert_array_equal(_site(5).images, _site(5).images)
    assert (_site(5).images != _site(6).images).any()


def test_an_empty_well_shows_background_and_shot_noise_only():
    picture = _site(1, phenotype=None, size=400)
    assert picture.cells == 0
    for channel in BACKGROUND:
        image = picture.images[CHANNELS.index(channel)].astype(float)
        level = BACKGROUND[channel] + OFFSET
        assert image.mean() == pytest.approx(level, abs=1)
        # Shot noise: the variance grows with the count. 160,000 pixels give it to 0.5 %.
        assert image.var() == pytest.approx(GAIN * level + 3**2 + 1 / 12, rel=0.03)


def test_the_planted_number_of_nuclei_is_what_one_counts_in_the_dna_channel():
    pictures = [_site(seed) for seed in range(12)]
    planted = sum(picture.cells for picture in pictures)
    counted = sum(len(_nuclei(picture)[1]) for picture in pictures)
    assert planted > 100
    # A plain threshold takes nuclei that touch for one.
    assert 0.92 * planted <= counted <= planted


def test_nuclei_have_the_size_of_real_ones():
    # 0.598 um a pixel: U2OS nuclei of real sites have 940 to 1,320 pixels (quartiles).
    assert 850 < _areas([_site(seed) for seed in range(8)]) < 1350


@pytest.mark.parametrize("direction", [-1, 1])
def test_a_phenotype_of_larger_nuclei_has_larger_nuclei_and_its_opposite_smaller(direction):
    usual = _areas([_site(seed) for seed in range(8)])
    changed = _areas([_site(seed, Phenotype(nuclear_size=1.2 * direction)) for seed in range(8)])
    assert direction * (changed / usual - 1) > 0.15


@pytest.mark.parametrize(
    ("axis", "channel"),
    [("rna_intensity", "RNA"), ("agp_intensity", "AGP"), ("er_intensity", "ER"), ("mito_intensity", "Mito")],
)
def test_an_axis_of_intensity_acts_on_its_channel_and_leaves_dna_alone(axis, channel):
    usual, bright = _site(3).images.astype(float), _site(3, Phenotype(**{axis: 1.2})).images.astype(float)

    def light(images: np.ndarray, name: str) -> float:
        return images[CHANNELS.index(name)].mean() - OFFSET - BACKGROUND[name]

    assert light(bright, channel) > 1.15 * light(usual, channel)
    assert light(bright, "DNA") == pytest.approx(light(usual, "DNA"), rel=0.01)


def test_fewer_cells_is_fewer_cells():
    usual = sum(_site(seed).cells for seed in range(8))
    assert sum(_site(seed, Phenotype(cell_count=-2)).cells for seed in range(8)) < 0.7 * usual


def test_the_corners_are_darker_by_the_microscopes_falloff():
    falloff = np.full(8, 0.1)
    dim = _site(2, None, light=Microscope(np.ones(8), np.zeros((8, 2)), falloff)).images.astype(float) - OFFSET
    even = _site(2, None).images.astype(float) - OFFSET
    ratio = ndimage.uniform_filter(dim / even, (0, 15, 15))[:, ::139, ::139]
    # One half side from the middle along y and along x: 1 - 0.1 * (1 + 1).
    np.testing.assert_allclose(ratio[:, 0, 0], 0.81, atol=0.02)
    np.testing.assert_allclose(ratio[:, 1, 1], 1.0, atol=0.02)


def test_high_and_low_focus_show_the_same_structures_with_opposite_contrast():
    images = _site(4).images.astype(float)
    high, low = (images[CHANNELS.index(name)] - 27000 for name in ("HighZBF", "LowZBF"))
    assert np.corrcoef(ndimage.gaussian_filter(high, 1).ravel(), ndimage.gaussian_filter(low, 1).ravel())[0, 1] < -0.8
