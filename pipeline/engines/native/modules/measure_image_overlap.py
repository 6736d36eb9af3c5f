"""MeasureImageOverlap: how well one image of black and white agrees with another that is taken for the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pipeline.engines.native.registry import Settings
from pipeline.engines.native.workspace import Workspace

#: of the settings in a pipeline file
REVISIONS = frozenset({5})

FEATURES = (
    *("Ffactor", "Precision", "Recall", "TruePosRate", "TrueNegRate", "FalsePosRate", "FalseNegRate"),
    *("RandIndex", "AdjustedRandIndex"),
)
EIGHT_CONNECTED = np.ones((3, 3), bool)


def compile(settings: Settings) -> MeasureImageOverlap:
    settings.choice("Calculate earth mover's distance?", ("No",))
    truth = "Select the image to be used as the ground truth basis for calculating the amount of overlap"
    return MeasureImageOverlap(settings.text(truth), settings.text("Select the image to be used to test for overlap"))


@dataclass(frozen=True)
class MeasureImageOverlap:
    truth: str
    tested: str

    images_out = objects_in = objects_out = ()
    honours_masks = True

    @property
    def images_in(self) -> tuple[str, ...]:
        return (self.truth, self.tested)

    def features(self) -> dict[str, list[str]]:
        return {"Image": [f"Overlap_{feature}_{self.tested}" for feature in FEATURES]}

    def run(self, site: Workspace) -> None:
        site.check_shapes(self.truth, self.tested)
        for name in (self.truth, self.tested):
            if name not in site.logical:
                raise ValueError(f"the image {name} has grey levels, and overlap is that of black and white images")
        truth, tested = site.images[self.truth] > 0, site.images[self.tested] > 0
        mask = np.ones(truth.shape, bool)
        for name in site.masks.keys() & {self.truth, self.tested}:
            mask &= site.masks[name]
        values = (*rates(truth[mask], tested[mask]), *rand_indices(patches(truth, mask), patches(tested, mask)))
        for feature, value in zip(self.features()["Image"], values, strict=True):
            site.add_image(feature, value)


def rates(truth: np.ndarray, tested: np.ndarray) -> tuple[float, ...]:
    """In the order of `FEATURES`, of bool vectors; what there is none of is found altogether, and not once wrongly."""
    both, neither = np.count_nonzero(truth & tested), np.count_nonzero(~(truth | tested))
    found, true, false = np.count_nonzero(tested), np.count_nonzero(truth), np.count_nonzero(~truth)
    precision, recall = both / found if found else 1.0, both / true if true else 1.0
    f_factor = 2.0 * precision * recall / (precision + recall) if precision + recall else 0.0
    true_negatives = neither / false if false else 1.0
    false_positives = (found - both) / false if false else 0.0
    false_negatives = (true - both) / true if true else 0.0
    return f_factor, precision, recall, recall, true_negatives, false_positives, false_negatives


def patches(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """int (pixels of the mask): the number of the patch to which each belongs, 0 = black."""
    labelled, _ = ndimage.label(image & mask, EIGHT_CONNECTED)
    return labelled[mask].astype(np.int64)


def rand_indices(truth: np.ndarray, tested: np.ndarray) -> tuple[float, float]:
    """The Rand index of two partitions of pixels, and the one adjusted for chance (Santos & Embrechts 2009).

    NaN where there are no pairs of pixels. All sums are of whole numbers and halves, so that their order is no matter.
    """
    if not truth.size:
        return np.nan, np.nan
    numbers, shared = np.unique(np.stack([truth, tested]), axis=1, return_counts=True)
    counts = shared.astype(np.float64)
    of_truth, of_tested = (np.bincount(one).astype(np.float64) for one in (truth, tested))
    together = pairs(counts).sum()
    apart_in_tested = ((of_truth[numbers[0]] - counts) * counts).sum() / 2
    apart_in_truth = ((of_tested[numbers[1]] - counts) * counts).sum() / 2
    total = np.float64(pairs(truth.size))
    apart = total - together - apart_in_tested - apart_in_truth
    expected = pairs(of_truth).sum() * pairs(of_tested).sum()
    most = (pairs(of_truth).sum() + pairs(of_tested).sum()) * total / 2
    return (together + apart) / total, (together * total - expected) / (most - expected)


def pairs(n):
    """How many pairs there are of n."""
    return n * (n - 1) / 2
