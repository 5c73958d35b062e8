"""Observation errors that departures suggest, as a table that ``--config`` takes."""

from __future__ import annotations

import numpy as np

from phyda_cli.verification.sums import Sums

__all__ = ["suggested_errors"]

FEWEST = 100  # used observations that an error is estimated from
_BOUNDS = 0.5, 2.0  # of the error that was assumed: one estimate is no reason for more


def suggested_errors(sums: Sums) -> str:
    """TOML with the errors [SI units] of Desroziers et al. (2005) for every variable with enough
    used observations, at most halved or doubled.

    The estimates are of the assimilation's own departures: use them for another period, and look at
    chi2 after it.
    """
    lines = [
        "# sqrt(mean (O-A)(O-B)) of used observations, within half and double the assumed error"
    ]
    lines.append("[qc.errors]")
    for key in sorted(sums.rows):
        if (
            key.source != "observations"
            or key.independence != "used"
            or key.region != "all"
            or key.group
            or key.level
        ):
            continue
        weight, count = sums.value(key, "weight_b"), sums.value(key, "count")
        assumed = np.sqrt(sums.value(key, "error_squared") / max(sums.value(key, "weight"), 1))
        product = sums.value(key, "ab") / weight if weight else -1.0
        if count < FEWEST or product <= 0 or assumed <= 0:
            why = f"{count:.0f} observations" if count < FEWEST else "no estimate"
            lines.append(f"# {key.variable}: {why}")
            continue
        estimate = float(np.sqrt(product))
        kept = float(np.clip(estimate, _BOUNDS[0] * assumed, _BOUNDS[1] * assumed))
        cut = f", cut from {estimate:.4g}" if kept != estimate else ""
        lines.append(f"{key.variable} = {kept:.4g}  # assumed {assumed:.4g}, n = {count:.0f}{cut}")
    return "\n".join(lines) + "\n"
