"""Observation errors that departures suggest, as a table that ``--config`` takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phyda_cli.verification.regions import ALL
from phyda_cli.verification.sums import Key, Sums

__all__ = ["suggested_errors"]

FEWEST = 100  # used observations that an error is estimated from
_BOUNDS = 0.5, 2.0  # of the error that was assumed: one estimate is no reason for more


def suggested_errors(sums: Sums) -> str:
    """TOML with the errors [SI units] of Desroziers et al. (2005) for every variable with enough
    used observations, by layer where several layers have enough, at most halved or doubled.

    The estimates are of the assimilation's own departures: use them for another period, and look at
    chi2 after it.
    """
    lines = [
        "# sqrt(mean (O-A)(O-B)) of used observations, within half and double the assumed error",
        "[qc.errors]",
    ]
    used = [k for k in sorted(sums.rows) if k.source == "observations" and k.independence == "used"]
    used = [k for k in used if k.region == ALL and not k.group]
    for key in (k for k in used if not k.level):
        own = [k for k in used if k.variable == key.variable and "hPa" in k.level]
        layers = sorted((_middle(k.level), e) for k in own if (e := _estimate(sums, k)).known)
        if len(layers) > 1:
            knots = ", ".join(f"[{pressure:.0f}, {e.kept:.4g}]" for pressure, e in layers)
            told = "; ".join(e.comment for _, e in layers)
            lines.append(f"{key.variable} = [{knots}]  # hPa and error: {told}")
            continue
        whole = _estimate(sums, key)
        if whole.known:
            lines.append(f"{key.variable} = {whole.kept:.4g}  # {whole.comment}")
        else:
            few = f"{whole.count:.0f} observations"
            lines.append(f"# {key.variable}: {few if whole.count < FEWEST else 'no estimate'}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, order=True)
class _Estimate:
    """An error, with what was ``assumed``, from ``count`` observations; NaN where it is none."""

    error: float
    assumed: float
    count: float

    @property
    def known(self) -> bool:
        return self.count >= FEWEST and self.error > 0 and self.assumed > 0

    @property
    def kept(self) -> float:
        low, high = (bound * self.assumed for bound in _BOUNDS)
        return float(np.clip(self.error, low, high))

    @property
    def comment(self) -> str:
        cut = f", cut from {self.error:.4g}" if self.kept != self.error else ""
        return f"assumed {self.assumed:.4g}, n = {self.count:.0f}{cut}"


def _estimate(sums: Sums, key: Key) -> _Estimate:
    weight, count = sums.value(key, "weight_b"), sums.value(key, "count")
    product = sums.value(key, "ab") / weight if weight else -1.0
    assumed = np.sqrt(sums.value(key, "error_squared") / max(sums.value(key, "weight"), 1))
    return _Estimate(float(np.sqrt(product)) if product > 0 else np.nan, float(assumed), count)


def _middle(layer: str) -> float:
    """The pressure [hPa] in the middle of ``850 to 500 hPa``."""
    low, _, high = layer.removesuffix(" hPa").partition(" to ")
    return (float(low) + float(high)) / 2
