"""The helpers that tables stand on; what is timed is no business of tests."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tests.bench.engines import by_module
from tests.bench.report import markdown, shown


def test_numbers_are_shown_with_three_digits_and_what_was_not_measured_as_a_dash():
    values = [0.004567, 3.14159, 99.96, 1234.5, 0.0, -0.25, np.nan, None, 340_475, np.int64(8), "text"]
    assert [shown(value) for value in values] == (
        ["0.00457", "3.14", "100.0", "1,234", "0", "-0.250", "-", "-", "340,475", "8", "text"]
    )


def test_modules_of_one_name_are_summed_in_the_order_of_the_pipeline():
    seconds = {"3 ImageMath": 1.0, "16 IdentifyPrimaryObjects": 5.0, "4 ImageMath": 2.0}
    assert list(by_module(seconds).items()) == [("ImageMath", 3.0), ("IdentifyPrimaryObjects", 5.0)]


def test_a_table_becomes_markdown():
    table = pd.DataFrame({"site": ["A01"], "s": ["1.2"]})
    assert markdown(table) == "| site | s |\n| - | - |\n| A01 | 1.2 |"
