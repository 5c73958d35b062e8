"""Scores of one analysis against fields, by variable and level, on the coarser of the two grids,
weighted by area."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from phyda_cli.fields.grid import Fields
from phyda_cli.names import VARIABLES, Channel
from phyda_cli.verification.channels import level_name
from phyda_cli.verification.field_sums import add_fields
from phyda_cli.verification.regions import ALL
from phyda_cli.verification.sums import Key, Sums
from phyda_cli.verification.tidy import increment_correlation, spread_of

__all__ = ["FieldScore", "score_fields"]


@dataclass(frozen=True)
class FieldScore:
    """Scores of one channel in its ``units``; None what could not be computed.

    ``n`` points with both values; ``background_*`` and ``ratio`` (of the RMSEs) when a background
    was given; ``spread`` the root mean analysis variance, ``spread_skill`` that over the RMSE,
    ``crps`` that of the members, else of the Gaussian; ``increment_correlation`` that of the
    increment with truth minus background.
    """

    channel: str
    units: str
    n: int
    rmse: float
    bias: float
    mae: float
    background_rmse: float | None = None
    background_bias: float | None = None
    ratio: float | None = None
    spread: float | None = None
    spread_skill: float | None = None
    crps: float | None = None
    increment_correlation: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def score_fields(
    analysis: Fields,
    truth: Fields,
    background: Fields | None = None,
    spread: Fields | None = None,
    members: Sequence[Fields] = (),
) -> list[FieldScore]:
    """Scores of every variable and level that ``analysis`` and ``truth`` (and ``background``)
    share, over all points that both have.

    Everything is taken to the coarser grid first. Raises InputError when there is nothing in
    common, or no point.
    """
    sums = Sums()
    channels = add_fields(sums, analysis, truth, background, spread, members)
    scores = (_score(sums, channel) for channel in channels)
    return [score for score in scores if score is not None]


def _score(sums: Sums, channel: Channel) -> FieldScore | None:
    key = Key("fields", channel.variable, level_name(channel), ALL, "", "unknown")
    if sums.value(key, "weight") <= 0:
        return None
    weight, weight_b = sums.value(key, "weight"), sums.value(key, "weight_b")
    rmse = float(np.sqrt(sums.value(key, "a_squared") / weight))
    before = float(np.sqrt(sums.value(key, "b_squared") / weight_b)) if weight_b else None
    spread, skill = spread_of(sums, key)
    weight_crps = sums.value(key, "weight_crps")
    return FieldScore(
        channel=channel.key,
        units=VARIABLES[channel.variable].units,
        n=int(sums.value(key, "count")),
        rmse=rmse,
        bias=sums.value(key, "a") / weight,
        mae=sums.value(key, "a_absolute") / weight,
        background_rmse=before,
        background_bias=sums.value(key, "b") / weight_b if weight_b else None,
        ratio=rmse / before if before else None,
        spread=spread,
        spread_skill=skill,
        crps=sums.value(key, "crps") / weight_crps if weight_crps else None,
        increment_correlation=increment_correlation(sums, key),
    )
