"""The bars of the comparison with the linear analysis, and the background with half the
resolution."""

from __future__ import annotations

import numpy as np

from benchmarks.linear import coarse, missed


def test_the_bars() -> None:
    assert missed("", {"all": 1.02, "weighed": 1.005}) == []
    assert len(missed("", {"all": 1.02, "weighed": 1.006})) == 1
    assert missed("", {"all": 0.95, "weighed": 0.9599}) == []
    assert len(missed("", {"all": 0.95, "weighed": 0.9601})) == 1
    assert missed("", {"all": 0.991, "weighed": 1.0}) == []


def test_half_the_resolution() -> None:
    state = np.arange(16.0).reshape(1, 4, 4)
    means = np.array([[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_array_equal(coarse(state)[0], means.repeat(2, 0).repeat(2, 1))
