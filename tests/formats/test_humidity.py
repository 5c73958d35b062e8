"""Relative and specific humidity."""

from __future__ import annotations

import numpy as np
import pytest

from phyda_cli.formats.humidity import relative_humidity, specific_humidity


def test_known_values() -> None:
    # Saturation over water at 20 C is 2339 Pa, over ice at -40 C 12.84 Pa (WMO-No. 8).
    assert specific_humidity(np.array(100.0), np.array(293.15), np.array(1e5)) == pytest.approx(
        0.622 * 2339 / (1e5 - 0.378 * 2339), rel=2e-3
    )
    assert specific_humidity(np.array(50.0), np.array(233.15), np.array(3e4)) == pytest.approx(
        0.622 * 6.42 / 3e4, rel=5e-3
    )


def test_inverse_of_each_other() -> None:
    rng = np.random.default_rng(0)
    r, t = rng.uniform(0, 110, (4, 50)), rng.uniform(200, 310, (4, 50))
    p = np.array([1e5, 8.5e4, 5e4, 3e4])[:, None]
    np.testing.assert_allclose(
        relative_humidity(specific_humidity(r, t, p), t, p), r, rtol=1e-10, atol=1e-12
    )
