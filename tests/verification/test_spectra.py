"""Spectra of single waves: their power, where they stand, and what a filter leaves."""

from __future__ import annotations

import numpy as np
import pytest

from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.verification.spectra import coefficients, power_spectrum, spectra_of

GLOBE = Grid(np.linspace(-87.1875, 87.1875, 32), np.arange(64) * 5.625)
REGION = Grid(np.linspace(60, 30, 31), np.linspace(-20, 20, 41))


def fields(grid: Grid, values: np.ndarray) -> Fields:
    time = np.datetime64("2020-01-01", "ns")
    return Fields(grid, time, np.array([85000.0]), {"t": values[None]}, {})


def test_a_spherical_harmonic_stands_at_its_degree_with_its_variance() -> None:
    latitude, longitude = (np.deg2rad(x) for x in GLOBE.mesh)
    wave = np.sqrt(15 / 4) * np.cos(latitude) ** 2 * np.cos(2 * longitude)  # Y22: mean square one
    found, bins, wavelength = coefficients(wave, GLOBE)
    power = power_spectrum(found, bins)
    assert power[1] == pytest.approx(1, rel=1e-3)
    assert power.sum() == pytest.approx(1, rel=1e-3)
    assert wavelength[0] == pytest.approx(40030, rel=1e-3)


def test_the_power_adds_up_to_the_variance_of_a_smooth_field() -> None:
    latitude, longitude = (np.deg2rad(x) for x in GLOBE.mesh)
    field = np.sin(latitude) + 0.5 * np.cos(latitude) ** 3 * np.cos(3 * longitude + 0.4)
    found, bins, _ = coefficients(field, GLOBE)
    weights = GLOBE.area_weights[:, None]
    variance = (weights * field**2).mean() - (weights * field).mean() ** 2
    assert power_spectrum(found, bins).sum() == pytest.approx(variance, rel=2e-3)


def test_a_cosine_stands_at_its_wavelength() -> None:
    rows = np.arange(31)[:, None] + 0.5
    wave = np.cos(np.pi * 6 * rows / 31) * np.ones((1, 41))  # three wavelengths in 31 rows
    found, bins, wavelength = coefficients(wave, REGION)
    power = power_spectrum(found, bins)
    assert power.argmax() == np.abs(wavelength - 31 * 111.195 / 3).argmin()
    assert power.max() == pytest.approx(0.5, rel=0.02)


def test_coherence_and_effective_resolution() -> None:
    """The truth has six degrees; noise is all that the analysis adds to them."""
    rng = np.random.default_rng(0)
    latitude, longitude = (np.deg2rad(x) for x in GLOBE.mesh)
    waves = sum(np.cos(latitude) ** m * np.cos(m * longitude) for m in range(1, 7))
    truth = fields(GLOBE, 280 + 5 * waves)
    analysis = fields(GLOBE, 280 + 5 * waves + 0.1 * rng.normal(size=GLOBE.shape))
    (noisy,) = spectra_of(analysis, None, truth)
    assert noisy.coherence is not None
    assert noisy.coherence[:6] == pytest.approx(1, abs=0.02)
    assert noisy.effective_km == pytest.approx(noisy.wavelength_km[5])
    assert noisy.error is not None
    np.testing.assert_allclose(noisy.error[10:], noisy.analysis[10:], rtol=0.01)
