"""How physical an analysis is: residuals, balance and violations of its background, its members and
the truth beside its own.

A discretised truth does not satisfy the equations exactly. Its own residuals R are the measure: rms
R(state) / rms R(truth) is one for a state as physical as the truth. That ratio forgives errors that
compensate (too smooth, but noisy); the excess, rms [R(state) - R(truth)] / rms [R(background) -
R(truth)], does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Fields
from phyda_cli.physics.residuals import RESIDUAL_UNITS
from phyda_cli.verification.common_grid import PRIMITIVE, CommonLayout, common_layout
from phyda_cli.verification.physics_quantities import (
    INSTABILITY,
    NEEDS,
    NEGATIVE,
    SUPERSATURATION,
    VIOLATIONS,
    Physics,
    Place,
    Quantities,
)
from phyda_cli.verification.scores import mean, rms

__all__ = ["EquationScore", "PhysicsReport", "ViolationScore", "assess"]

Values = dict[Place, float]


@dataclass(frozen=True)
class EquationScore:
    """Rms of one residual in its ``units`` over ``n`` points, everywhere, or at a ``level`` or
    layer [hPa], or in a latitude ``band``.

    ``members`` is the mean of the members' own rms. Ratios are those to the reference's rms, the
    truth's or else the background's; excesses as the module says. None is what is not known.
    """

    equation: str
    units: str
    level: str | None
    band: str | None
    n: int
    analysis: float
    background: float | None
    members: float | None
    truth: float | None
    ratio: float | None
    background_ratio: float | None
    members_ratio: float | None
    excess: float | None
    members_excess: float | None


@dataclass(frozen=True)
class ViolationScore:
    """Part of the area (0..1) and count of ``n`` points where a state cannot be; places as in
    :class:`EquationScore`."""

    kind: str
    level: str | None
    band: str | None
    n: int
    analysis: float
    background: float | None
    members: float | None
    truth: float | None
    analysis_count: int
    background_count: int | None
    truth_count: int | None


@dataclass(frozen=True, eq=False)
class PhysicsReport:
    """Scores on ``layout``, ``reference`` of the ratios (truth, background or None), and what was
    left out or done (``notes``).

    ``quantities`` holds the fields (layers, H, W) of each state, NaN where they do not count.
    """

    layout: CommonLayout
    reference: str | None
    equations: list[EquationScore]
    violations: list[ViolationScore]
    notes: list[str]
    quantities: Mapping[str, Quantities] = field(repr=False)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        latitudes, longitudes = self.layout.grid.shape
        return {
            "grid": {"latitudes": latitudes, "longitudes": longitudes},
            "levels_hPa": [float(p) / 100 for p in self.layout.levels],
            "reference": self.reference,
            "tolerances": {
                "negative_q": NEGATIVE,
                "supersaturated": SUPERSATURATION,
                "unstable": INSTABILITY,
            },
            "equations": [asdict(s) for s in self.equations],
            "violations": [asdict(s) for s in self.violations],
            "notes": self.notes,
        }


def assess(
    analysis: Fields,
    background: Fields | None = None,
    truth: Fields | None = None,
    members: Sequence[Fields] = (),
) -> PhysicsReport:
    """The physics of all states on their common levels and the coarsest of their grids, at the
    points that all have.

    A variable that a member lacks was not analysed and is the analysis's. Raises InputError when
    the states share no level or no area, or when nothing can be computed from what they share.
    """
    given = {"analysis": analysis, "background": background, "truth": truth}
    states = {name: fields for name, fields in given.items() if fields is not None}
    layout = common_layout(states)
    physics, left_out = Physics(layout), _left_out(layout, states)
    found = {name: physics.quantities(layout.read(fields)) for name, fields in states.items()}
    known = {
        q: np.all([np.isfinite(f[q]) for f in found.values()], axis=0) for q in found["analysis"]
    }
    found = {name: _masked(quantities, known) for name, quantities in found.items()}
    points = {
        place: n
        for place, part, _ in physics.places(found["analysis"])
        if (n := int(np.isfinite(part).sum()))
    }
    if not points:
        raise InputError(
            "; ".join(["nothing of the physics can be computed", *left_out]),
            hint="compare files of one region, with z and t, u and v, or q on pressure levels",
        )
    averages = {name: _averages(physics, quantities) for name, quantities in found.items()}
    errors = {}
    if truth is not None:
        errors = {
            name: _averages(physics, _difference(found[name], found["truth"]))
            for name in found
            if name != "truth"
        }
    drawn = [
        _member(
            physics,
            _masked(physics.quantities(layout.read(_completed(m, analysis))), known),
            found.get("truth"),
        )
        for m in members
    ]
    if drawn:
        averages["members"], errors["members"] = (
            _mean_of(values) for values in zip(*drawn, strict=True)
        )
    reference = next((name for name in ("truth", "background") if name in states), None)
    counts = {name: _counts(physics, quantities) for name, quantities in found.items()}
    equations = [
        _equation(place, n, averages, errors, reference)
        for place, n in points.items()
        if place.quantity not in VIOLATIONS
    ]
    violations = [
        _violation(place, n, averages, counts)
        for place, n in points.items()
        if place.quantity in VIOLATIONS
    ]
    return PhysicsReport(
        layout, reference, equations, violations, [*layout.notes, *left_out], found
    )


def _left_out(layout: CommonLayout, states: Mapping[str, Fields]) -> list[str]:
    """What cannot be computed, and why."""
    notes = []
    for variable in (v for v in PRIMITIVE if v not in layout.variables):
        lacking = " and ".join(
            n
            for n, f in states.items()
            if variable not in f.upper or np.isnan(f.upper[variable]).all()
        )
        lost = ", ".join(q for q, needed in NEEDS.items() if variable in needed)
        dry = ", and air is dry in hydrostatic" if variable == "q" else ""
        notes.append(f"{variable} is missing in the {lacking}: {lost} left out{dry}")
    if layout.levels.size == 1:
        notes.append(
            "one level only: hydrostatic, mass, unstable left out, and vertical transport in "
            "the others"
        )
    return notes


def _masked(quantities: Quantities, known: Mapping[str, np.ndarray]) -> Quantities:
    return {q: np.where(known[q], values, np.nan) for q, values in quantities.items()}


def _difference(ours: Quantities, truth: Quantities) -> Quantities:
    return {q: values - truth[q] for q, values in ours.items() if q not in VIOLATIONS}


def _completed(member: Fields, analysis: Fields) -> Fields:
    return replace(member, upper={**analysis.upper, **member.upper})


def _averages(physics: Physics, quantities: Quantities) -> Values:
    """Rms of residuals, mean of violations, at every place that has a point."""
    values = {
        p: (mean if p.quantity in VIOLATIONS else rms)(part, weights)
        for p, part, weights in physics.places(quantities)
    }
    return {place: value for place, value in values.items() if np.isfinite(value)}


def _counts(physics: Physics, quantities: Quantities) -> dict[Place, int]:
    return {
        p: int(np.nansum(part))
        for p, part, _ in physics.places(quantities)
        if p.quantity in VIOLATIONS
    }


def _member(
    physics: Physics, quantities: Quantities, truth: Quantities | None
) -> tuple[Values, Values]:
    """Averages of one member, and of its residuals less the truth's."""
    return _averages(physics, quantities), {} if truth is None else _averages(
        physics, _difference(quantities, truth)
    )


def _mean_of(values: Sequence[Values]) -> Values:
    return {
        place: float(np.mean([v[place] for v in values]))
        for place in values[0]
        if all(place in v for v in values)
    }


def _over(value: float | None, reference: float | None) -> float | None:
    return value / reference if value is not None and reference else None


def _equation(
    place: Place,
    n: int,
    averages: Mapping[str, Values],
    errors: Mapping[str, Values],
    reference: str | None,
) -> EquationScore:
    own = {name: values.get(place) for name, values in averages.items()}
    error = {name: values.get(place) for name, values in errors.items()}
    standard = own[reference] if reference else None
    return EquationScore(
        place.quantity,
        RESIDUAL_UNITS[place.quantity],
        place.level,
        place.band,
        n,
        analysis=averages["analysis"][place],
        background=own.get("background"),
        members=own.get("members"),
        truth=own.get("truth"),
        ratio=_over(own["analysis"], standard),
        background_ratio=_over(own.get("background"), standard),
        members_ratio=_over(own.get("members"), standard),
        excess=_over(error.get("analysis"), error.get("background")),
        members_excess=_over(error.get("members"), error.get("background")),
    )


def _violation(
    place: Place, n: int, fraction: Mapping[str, Values], counts: Mapping[str, Mapping[Place, int]]
) -> ViolationScore:
    part = {name: values.get(place) for name, values in fraction.items()}
    count = {name: values[place] for name, values in counts.items()}
    return ViolationScore(
        *place,
        n,
        analysis=fraction["analysis"][place],
        background=part.get("background"),
        members=part.get("members"),
        truth=part.get("truth"),
        analysis_count=count["analysis"],
        background_count=count.get("background"),
        truth_count=count.get("truth"),
    )
