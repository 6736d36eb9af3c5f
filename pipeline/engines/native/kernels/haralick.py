"""Grey-level co-occurrence and the 13 Haralick features, counted in integers.

Definitions are those of mahotas 1.4 (`mahotas.features.haralick`, MIT), which CellProfiler calls. For a symmetric
matrix of counts everything but AngularSecondMoment and Entropy follows from three marginals: of the level, of the
sum and of the difference of the two levels. Moments are exact integers here, where mahotas sums doubles, so nearly
flat textures lose no digits.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.engines.native.compiled import kernel

FEATURES = (
    *("AngularSecondMoment", "Contrast", "Correlation", "Variance", "InverseDifferenceMoment", "SumAverage"),
    *("SumVariance", "SumEntropy", "Entropy", "DifferenceVariance", "DifferenceEntropy", "InfoMeas1", "InfoMeas2"),
)
LEVELS = 256
#: steps (rows, columns) of the four directions, in units of the scale
DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1))

#: n log2 n for the small counts that nearly all bins hold
N_LOG_N = np.array([0.0, *(n * math.log2(n) for n in range(1, 4096))])


@kernel
def _n_log_n(n: int, table: np.ndarray) -> float:
    return table[np.uint64(n)] if n < table.size else n * np.log2(n)


@kernel
def _exp(x: float) -> float:
    """e^x for |x| < 700, to the last digit; the C library's hangs on whether a processor has fused multiply-add."""
    # x = n ln 2 + r with |r| < 0.35; ln 2 in two parts, of which n times the first is exact.
    n = np.rint(x * 1.4426950408889634)
    r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10
    power = 1.0
    for k in range(14, 0, -1):  # Horner's scheme for the sum of r^k / k!
        power = 1.0 + power * r / k
    return math.ldexp(power, int(n))


@kernel
def _features(
    squares: int,
    n_log_n: float,
    marginal: np.ndarray,
    sums: np.ndarray,
    differences: np.ndarray,
    lowest: int,
    highest: int,
    bins: int,
    table: np.ndarray,
    out: np.ndarray,
) -> None:
    """The 13 features of one symmetric matrix of counts, written to `out`; all NaN where it is empty.

    `squares`, `n_log_n`: sums of n^2 and of n log2 n over its entries. `marginal[i]`, `sums[i + j]` and
    `differences[|i - j|]` are int64 counts between levels `lowest` and `highest`. `bins`: how many differences the
    original matrix has room for.
    """
    total, first, second, level_entropy = 0, 0, 0, 0.0
    for i in range(lowest, highest + 1):
        n = marginal[i]
        total += n
        first += n * i
        second += n * i * i
        level_entropy += _n_log_n(n, table)
    if total == 0:
        out[:] = np.nan
        return
    contrast, homogeneity, difference_squares, difference_entropy = 0, 0.0, 0, 0.0
    for i in range(highest - lowest + 1):
        n = differences[i]
        contrast += n * i * i
        homogeneity += n / (1.0 + i * i)
        difference_squares += n * n
        difference_entropy += _n_log_n(n, table)
    sum_entropy = 0.0
    for i in range(2 * lowest, 2 * highest + 1):
        sum_entropy += _n_log_n(sums[i], table)

    # Variances times total^2. sum((i - j)^2) = 2 sum(i^2) - 2 sum(ij) gives the mixed moment and that of i + j.
    variance = total * second - first * first
    covariance_twice = total * (2 * second - contrast) - 2 * first * first
    sum_variance = total * (4 * second - contrast) - 4 * first * first
    scale = 1.0 / (float(total) * float(total))
    out[0] = squares * scale
    out[1] = contrast / total
    out[2] = 1.0 if variance == 0 else 0.5 * covariance_twice / variance
    out[3] = variance * scale
    out[4] = homogeneity / total
    out[5] = 2.0 * first / total
    out[6] = sum_variance * scale
    # mahotas takes the variance over the bins of the distribution of |i - j|, not that of |i - j|.
    out[9] = (difference_squares * bins - total * total) * scale / (float(bins) * bins)
    if variance == 0:  # one level: every entropy is zero, which logarithms only give to 1e-16
        out[7] = out[8] = out[10] = out[11] = out[12] = 0.0
        return
    bits = np.log2(total)
    level, joint = bits - level_entropy / total, bits - n_log_n / total
    out[7] = bits - sum_entropy / total
    out[8] = joint
    out[10] = bits - difference_entropy / total
    # The entropy of the product of the marginals (HXY1 and HXY2) is twice that of one of them.
    out[11] = (joint - 2.0 * level) / level
    out[12] = np.sqrt(max(0.0, 1.0 - _exp(-2.0 * (2.0 * level - joint))))


@kernel
def _dense(
    counts: np.ndarray,
    width: int,
    first: int,
    level_of: np.ndarray,
    marginal: np.ndarray,
    sums: np.ndarray,
    differences: np.ndarray,
    table: np.ndarray,
) -> tuple[int, float]:
    """Fold `counts` with its transpose into the marginals, entry by entry, and clear it."""
    squares, n_log_n = 0, 0.0
    for a in range(first, width):
        # Unsigned indices need no test for one from the end, which would cost as much as the sums.
        i = np.uint64(level_of[a])
        n = 2 * int(counts[a * width + a])
        row = n
        squares += n * n
        n_log_n += _n_log_n(n, table)
        sums[i + i] += n
        differences[0] += n
        for b in range(a + 1, width):
            # No test for zero: most of what is left after ranking is not, and a wrong guess costs more than it saves.
            n = int(counts[np.uint64(a * width + b)]) + int(counts[np.uint64(b * width + a)])
            j = np.uint64(level_of[np.uint64(b)])
            row += n
            marginal[j] += n
            squares += 2 * n * n
            n_log_n += 2.0 * _n_log_n(n, table)
            sums[i + j] += 2 * n
            differences[j - i] += 2 * n
        marginal[i] += row
    counts[: width * width] = 0
    return squares, n_log_n


@kernel
def _sparse(
    counts: np.ndarray,
    width: int,
    here: np.ndarray,
    board: np.ndarray,
    offset: int,
    level_of: np.ndarray,
    marginal: np.ndarray,
    sums: np.ndarray,
    differences: np.ndarray,
    table: np.ndarray,
) -> tuple[int, float]:
    """As `_dense`, but walks the pairs again instead of the matrix: for many levels in few pixels."""
    squares, n_log_n = 0, 0.0
    for place in here:
        a, b = int(board[place]), int(board[place + offset])
        n = int(counts[a * width + b]) + int(counts[b * width + a])
        counts[a * width + b] = 0
        counts[b * width + a] = 0
        if n == 0 or a == 0 or b == 0:
            continue
        i, j = level_of[a], level_of[b]
        both = 1 if a == b else 2
        marginal[i] += n
        if a != b:
            marginal[j] += n
        squares += both * n * n
        n_log_n += both * _n_log_n(n, table)
        sums[i + j] += both * n
        differences[abs(i - j)] += both * n
    return squares, n_log_n


@kernel
def _count(counts: np.ndarray, width: np.uint64, a: np.uint8, b: np.uint8) -> None:
    counts[np.uint64(a) * width + np.uint64(b)] += 1


@kernel
def object_haralick(
    values: np.ndarray,
    places: np.ndarray,
    starts: np.ndarray,
    offsets: np.ndarray,
    board: np.ndarray,
    table: np.ndarray,
) -> np.ndarray:
    """Haralick features of each object: float64 (objects, offsets, 13), NaN where an offset finds no pair.

    `values`: uint8 (pixels), object after object, those of object k between `starts[k]` and `starts[k + 1]`; pixels of
    level 0 are left out. `places`: uint32, where each lies on `board`, a flat uint8 image of zeros, so wide that
    `places + offsets` neither leaves it nor wraps around into the object; it is zeros again on return.
    `table`: `N_LOG_N`.
    """
    n_objects = starts.size - 1
    out = np.empty((n_objects, offsets.size, len(FEATURES)))
    counts = np.zeros(LEVELS * LEVELS, np.int32)
    marginal = np.empty(LEVELS, np.int64)
    sums = np.empty(2 * LEVELS, np.int64)
    differences = np.empty(LEVELS, np.int64)
    rank_of = np.zeros(LEVELS, np.uint8)
    level_of = np.zeros(LEVELS, np.int64)
    for k in range(n_objects):
        here = places[starts[k] : starts[k + 1]]
        seen = np.zeros(LEVELS, np.bool_)
        for value in values[starts[k] : starts[k + 1]]:
            seen[value] = True
        # One object holds few levels: ranks keep its matrix small. Rank 0 is what does not count.
        width = 1
        for level in range(1, LEVELS):
            if seen[level]:
                rank_of[level] = width
                level_of[width] = level
                width += 1
        if width == 1:
            out[k] = np.nan
            continue
        for p in range(here.size):
            board[here[p]] = rank_of[values[starts[k] + p]]
        is_dense = width * width < 8 * here.size
        quarter = here.size // 4
        for o in range(offsets.size):
            offset, wide = np.uint64(offsets[o]), np.uint64(width)
            # Four places at a time, far apart: neighbours often add to one bin, and would wait for each other.
            for p in range(quarter):
                for part in range(4):
                    place = np.uint64(here[p + part * quarter])
                    _count(counts, wide, board[place], board[place + offset])
            for p in range(4 * quarter, here.size):
                place = np.uint64(here[p])
                _count(counts, wide, board[place], board[place + offset])
            marginal[:] = 0
            sums[:] = 0
            differences[:] = 0
            if is_dense:
                found = _dense(counts, width, 1, level_of, marginal, sums, differences, table)
            else:
                found = _sparse(counts, width, here, board, offsets[o], level_of, marginal, sums, differences, table)
            lowest, highest = level_of[1], level_of[width - 1]
            _features(found[0], found[1], marginal, sums, differences, lowest, highest, highest + 1, table, out[k, o])
        for place in here:
            board[place] = 0
    return out


@kernel
def image_haralick(levels: np.ndarray, steps: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Haralick features of a whole uint8 image, level 0 included: float64 (steps, 13), NaN where a step has no pair.

    `steps`: int64 (steps, 2), rows (never negative) and columns from one pixel of a pair to the other.
    """
    height, width = levels.shape
    seen = np.zeros(LEVELS, np.bool_)
    for y in range(height):
        for level in levels[y]:
            seen[level] = True
    rank_of, level_of = np.zeros(LEVELS, np.uint8), np.zeros(LEVELS, np.int64)
    n = 0
    for level in range(LEVELS):
        if seen[level]:
            rank_of[level], level_of[n] = n, level
            n += 1
    ranks = np.empty((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            ranks[y, x] = rank_of[levels[y, x]]

    wide = np.uint64(n)
    lowest, highest = level_of[0], level_of[n - 1]
    counts = np.zeros(n * n, np.int32)
    out = np.empty((len(steps), len(FEATURES)))
    for s in range(len(steps)):
        down, right = steps[s, 0], steps[s, 1]
        first, length = max(0, -right), max(0, width - abs(right))
        quarter = length // 4
        for y in range(height - down):
            here = ranks[y, first : first + length]
            there = ranks[y + down, first + right : first + right + length]
            for x in range(quarter):
                for part in range(4):
                    _count(counts, wide, here[x + part * quarter], there[x + part * quarter])
            for x in range(4 * quarter, length):
                _count(counts, wide, here[x], there[x])
        marginal = np.zeros(LEVELS, np.int64)
        sums = np.zeros(2 * LEVELS, np.int64)
        differences = np.zeros(LEVELS, np.int64)
        found = _dense(counts, n, 0, level_of, marginal, sums, differences, table)
        _features(found[0], found[1], marginal, sums, differences, lowest, highest, highest + 1, table, out[s])
    return out
