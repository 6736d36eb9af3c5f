"""Run in CellProfiler's interpreter by `numpy1`: what its NumPy, SciPy, scikit-image and centrosome say.

in_numpy1.py TASK INPUT.npz OUTPUT.npz
"""

import sys

import mahotas.features
import numpy as np
import scipy.linalg
import scipy.ndimage
from centrosome.cpmorphology import convex_hull, fill_labeled_holes, minimum_enclosing_circle
from centrosome.threshold import sum_of_entropies, weighted_variance
from skimage.filters import threshold_li
from skimage.measure import regionprops
from skimage.segmentation import watershed


def maxima(values, labels):
    """The order of all values, and the place of each label's maximum."""
    found = scipy.ndimage.maximum_position(values, labels, np.arange(1, labels.max() + 1))
    return {"order": values.argsort(), "places": np.ravel(found)}


def flood(image, seeds, mask):
    return {"labels": watershed(image, seeds, connectivity=np.ones((3, 3), bool), mask=mask)}


def circles(labels):
    numbers = np.arange(1, labels.max() + 1)
    hull, counts = convex_hull(labels, numbers)
    centres, radii = minimum_enclosing_circle(labels, numbers)
    return {"hull": hull, "counts": counts, "centres": centres, "radii": radii}


def gaussian(image, sigma):
    smooth = scipy.ndimage.gaussian_filter
    return {
        "image": smooth(image, float(sigma), mode="constant", cval=0),
        "ones": smooth(np.ones(image.shape), float(sigma), mode="constant", cval=0),
    }


def threshold(image, foreground):
    """As CellProfiler's threshold block: Li with a tolerance from the smallest gap; what it measures of the result."""
    mask = np.ones(image.shape, bool)
    tolerance = max(np.min(np.diff(np.unique(image))) / 2, 0.5 / 65536)
    return {
        "li": threshold_li(image.ravel(), tolerance=tolerance),
        "variance": weighted_variance(image, mask, foreground),
        "entropies": sum_of_entropies(image, mask, foreground),
        "sum": np.sum(image.ravel()),
        "mean": np.mean(image.ravel()),
    }


def holes(labels):
    return {"all": fill_labeled_holes(labels), "background": fill_labeled_holes(labels, mask=labels == 0)}


def ellipse(mask):
    [region] = regionprops(mask.astype(np.uint8))
    return {"tensor": region.inertia_tensor, "orientation": region.orientation}


def texture(levels, scale, ignore_zeros):
    return {"features": mahotas.features.haralick(levels, distance=int(scale), ignore_zeros=bool(ignore_zeros))}


def slope(first, second):
    """As MeasureColocalization."""
    return {"slope": scipy.linalg.lstsq(np.array((first, np.ones_like(first))).transpose(), second)[0][0]}


if __name__ == "__main__":
    task, source, output = sys.argv[1:]
    with np.load(source) as given:
        cases = {}
        for name in given.files:
            number, argument = name.split("/")
            cases.setdefault(number, {})[argument] = given[name]
    answers = {
        f"{number}/{name}": value for number, case in cases.items() for name, value in globals()[task](**case).items()
    }
    np.savez(output, **answers)
