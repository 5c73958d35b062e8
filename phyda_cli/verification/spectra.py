"""Power by wavelength: analysis, background and truth, their coherence, the spectrum of the error.

On the globe spherical harmonics by quadrature over latitude; on a limited area the cosine transform
of Denis et al. (2002), binned by wavelength. The effective resolution is the shortest wavelength at
which analysis and truth have a squared coherence of a half, or without a truth at which the
analysis keeps half of the background's power.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import dctn

from phyda_cli.constants import EARTH_RADIUS
from phyda_cli.fields.grid import Fields, Grid
from phyda_cli.fields.mesh import Mesh
from phyda_cli.fields.reduced import Reduced
from phyda_cli.fields.remap import to_grid
from phyda_cli.names import Channel
from phyda_cli.verification.channels import coarser, common_channels

__all__ = ["Spectrum", "coefficients", "power_spectrum", "spectra_of"]

_SHOWN = ("z500", "t850", "u850", "q700", "msl", "t2m", "u10")


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power (K,) in the field's units squared by ``wavelength_km`` (K,), longest first; ``kind`` is
    spherical or cosine. ``error`` is the power of analysis minus truth, ``coherence`` squared, in
    0..1; None what is not known."""

    channel: str
    kind: str
    wavelength_km: np.ndarray
    analysis: np.ndarray
    background: np.ndarray | None
    truth: np.ndarray | None
    error: np.ndarray | None
    error_background: np.ndarray | None
    coherence: np.ndarray | None
    effective_km: float | None
    smallest_km: float

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        arrays = ("wavelength_km", "analysis", "background", "truth", "error", "coherence")
        out: dict[str, object] = {"channel": self.channel, "kind": self.kind}
        for name in arrays:
            values = getattr(self, name)
            out[name] = None if values is None else [float(f"{v:.6g}") for v in values]
        ratio = None
        if self.truth is not None:
            ratio = [
                float(f"{a / t:.6g}") if t > 0 else None
                for a, t in zip(self.analysis, self.truth, strict=True)
            ]
        return out | {"power_ratio": ratio, "effective_km": self.effective_km}


def spectra_of(analysis: Fields, background: Fields | None, truth: Fields | None) -> list[Spectrum]:
    """Spectra of the usual fields that all states have; none where the grid has gaps, or rows of
    unequal length."""
    states = [s for s in (background, truth) if s is not None]
    channels = [Channel(c.variable, c.level) for c in common_channels(analysis, analysis)]
    grid = analysis.grid
    for state in states:
        shared = {c.key for c in common_channels(analysis, state)}
        channels = [c for c in channels if c.key in shared]
        grid = coarser(grid, state.grid)
    if isinstance(grid, Reduced):
        return []
    chosen = [c for c in channels if c.key in _SHOWN] or channels[:3]
    found = []
    for channel in chosen:
        values = [
            None if s is None else to_grid(s, [channel], grid)[0][0]
            for s in (analysis, background, truth)
        ]
        if all(v is None or np.isfinite(v).all() for v in values):
            found.append(_spectrum(channel.key, grid, *values))
    return found


def _spectrum(
    name: str,
    grid: Grid,
    analysis: np.ndarray | None,
    background: np.ndarray | None,
    truth: np.ndarray | None,
) -> Spectrum:
    assert analysis is not None
    own, number, wavelength = coefficients(analysis, grid)
    first = None if background is None else coefficients(background, grid)[0]
    true = None if truth is None else coefficients(truth, grid)[0]
    power = power_spectrum(own, number)
    coherence = effective = None
    if true is not None:
        cross = _binned((own * np.conj(true)).real, number)
        size = power * power_spectrum(true, number)
        coherence = np.divide(cross**2, size, out=np.zeros_like(cross), where=size > 0)
        effective = _shortest(wavelength, coherence >= 0.5)
    elif first is not None:
        before = power_spectrum(first, number)
        effective = _shortest(wavelength, power >= 0.5 * before)
    return Spectrum(
        name,
        "spherical" if _spherical(grid) else "cosine",
        wavelength,
        power,
        None if first is None else power_spectrum(first, number),
        None if true is None else power_spectrum(true, number),
        None if true is None else power_spectrum(own - true, number),
        None if true is None or first is None else power_spectrum(first - true, number),
        coherence,
        effective,
        float(wavelength[-1]),
    )


def _shortest(wavelength: np.ndarray, kept: np.ndarray) -> float | None:
    """The last wavelength before the first that is not ``kept``."""
    lost = np.flatnonzero(~kept)
    last = (int(lost[0]) if lost.size else kept.size) - 1
    return float(wavelength[last]) if last >= 0 else None


def _spherical(grid: Grid) -> bool:
    return grid.periodic and all(grid.covers_poles)


def coefficients(values: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients (N,) of a field (H, W), the bin (N,) of each from 0 to K - 1, and the bins'
    wavelengths (K,) [km]. The squared magnitudes of all add up to the field's variance, as far as
    the grid resolves it."""
    if _spherical(grid):
        return _harmonics(values, grid)
    height, width = values.shape
    degree = np.pi / 180 * EARTH_RADIUS / 1000
    if isinstance(grid, Mesh):
        dy = dx = grid.spacing * degree
    else:
        middle = np.cos(np.deg2rad(grid.latitude.mean()))
        dy = abs(float(np.diff(grid.latitude).mean())) * degree
        dx = float(np.diff(grid.longitude).mean()) * degree * middle
    found = dctn(values - values.mean(), norm="ortho") / np.sqrt(values.size)
    ky, kx = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    cycles = np.hypot(ky / (2 * height * dy), kx / (2 * width * dx))  # per km
    step = 1 / (2 * min(height * dy, width * dx))
    bins = np.round(cycles / step).astype(int).ravel() - 1
    count = round(0.5 / max(dx, dy) / step)
    kept = (bins >= 0) & (bins < count)
    return found.ravel()[kept], bins[kept], 1 / (step * np.arange(1, count + 1))


def _harmonics(values: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spherical harmonics up to the degree that the rows resolve, without the mean."""
    most = min(grid.latitude.size - 1, grid.longitude.size // 2 - 1)
    basis, weights = _legendre(grid, most)
    waves = np.fft.rfft(values, axis=1)[:, : most + 1] / grid.longitude.size
    shift = np.exp(-1j * np.arange(most + 1) * np.deg2rad(grid.longitude[0]))
    found, degree = [], []
    for m in range(most + 1):
        # Least squares rather than quadrature: exact on rows that are not Gaussian.
        table = basis[m]
        root = np.sqrt(weights)[:, None]
        solution, *_ = np.linalg.lstsq(
            table * root, waves[:, m] * shift[m] * root[:, 0], rcond=None
        )
        found.append(solution * (1.0 if m == 0 else np.sqrt(2)))
        degree.append(np.arange(m, most + 1))
    n, every = np.concatenate(degree), np.concatenate(found)
    wavelength = 2 * np.pi * EARTH_RADIUS / 1000 / np.arange(1, most + 1)
    return every[n > 0], n[n > 0] - 1, wavelength


def _legendre(grid: Grid, most: int) -> tuple[list[np.ndarray], np.ndarray]:
    """For each order m the associated Legendre functions (H, most + 1 - m) of mean square one over
    the sphere, by their stable recursion, and the rows' weights (H,)."""
    x = np.sin(np.deg2rad(grid.latitude))
    cosine = np.sqrt(np.maximum(1 - x**2, 0))
    weights = grid.area_weights / grid.area_weights.sum()
    diagonal = np.ones_like(x)
    tables = []
    for m in range(most + 1):
        if m:
            diagonal = diagonal * cosine * np.sqrt((2 * m + 1) / (2 * m))
        rows = [diagonal]
        if m < most:
            rows.append(np.sqrt(2 * m + 3) * x * diagonal)
        for n in range(m + 2, most + 1):
            a = np.sqrt((4 * n**2 - 1) / (n**2 - m**2))
            b = np.sqrt(((n - 1) ** 2 - m**2) / (4 * (n - 1) ** 2 - 1))
            rows.append(a * (x * rows[-1] - b * rows[-2]))
        tables.append(np.stack(rows, axis=1))
    return tables, weights


def power_spectrum(found: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Power (K,) from coefficients (N,)."""
    return _binned(np.abs(found) ** 2, bins)


def _binned(values: np.ndarray, bins: np.ndarray) -> np.ndarray:
    return np.bincount(bins, values, int(bins.max()) + 1)
