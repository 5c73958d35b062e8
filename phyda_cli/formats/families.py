"""What a field's name says: a quantity, and often where it is.

Centres and models spell both in few ways: ``TMP_850mb``, ``TMP_2maboveground`` (wgrib2),
``Temperature_isobaric`` (THREDDS), ``tmpprs``, ``tmp2m`` (GrADS servers), ``TMP_P0_L100_GLL0``
(NCL), ``T2M``, ``QV``, ``PHIS`` (MERRA-2, GEOS), ``Z3``, ``TREFHT`` (CESM), ``x_wind`` (Iris),
``T_500``, ``2t`` (ECMWF, AIFS), ``t2m``, ``u10m`` (earth2studio), ``UGRD10m`` (ACE). The tables
below are these families; a new one is a new line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import xarray as xr

from phyda_cli.names import VARIABLES, canonical_variable

__all__ = [
    "FAMILY",
    "STANDARD_NAMES",
    "Position",
    "canonical_at",
    "in_words",
    "measured",
    "quantity_in_text",
    "read_name",
    "statistic_of",
]


@dataclass(frozen=True)
class Position:
    """Where a field is. ``kind``: ``axis`` (along a pressure axis), ``pressure`` (``value`` in Pa),
    ``height`` (``value`` in m above the ground, None: unknown), ``surface``, ``sea`` (mean sea
    level), ``number`` (a bare number in a name, in ``value``) or ``other`` (said by ``text``)."""

    kind: str
    value: float | None = None
    text: str = ""


STANDARD_NAMES: dict[str, tuple[str, Position | None]] = {
    "air_pressure_at_mean_sea_level": ("pressure", Position("sea")),
    "air_pressure_at_sea_level": ("pressure", Position("sea")),
    "surface_air_pressure": ("pressure", Position("surface")),
    "surface_altitude": ("z", Position("surface")),
    "surface_geopotential": ("z", Position("surface")),
    "land_area_fraction": ("lsm", Position("surface")),
    "land_binary_mask": ("lsm", Position("surface")),
    "air_temperature": ("t", None),
    "dew_point_temperature": ("td", None),
    "relative_humidity": ("r", None),
    "specific_humidity": ("q", None),
    "eastward_wind": ("u", None),
    "northward_wind": ("v", None),
    "x_wind": ("u", None),
    "y_wind": ("v", None),
    "geopotential": ("z", None),
    "geopotential_height": ("gh", None),
    "lagrangian_tendency_of_air_pressure": ("w", None),
}
_STEMS = {
    "t": "t tmp temp temperature ta air air_temperature tair",
    "td": "td dpt dewpoint dew_point dewpoint_temperature dew_point_temperature tdew",
    "u": "u ugrd u_wind uwnd ua x_wind eastward_wind u_component_of_wind zonal_wind uwind",
    "v": "v vgrd v_wind vwnd va y_wind northward_wind v_component_of_wind meridional_wind vwind",
    "q": "q qv sphum spfh shum hus specific_humidity",
    "r": "r rh relhum rhum hur relative_humidity",
    "z": "z phi fi geopotential",
    "gh": "gh hgt h ht zg z3 ght geopotential_height height_pl",
    "w": "w omega vvel wap vertical_velocity_pressure lagrangian_tendency_of_air_pressure",
    "pressure": "pres press pressure ps prmsl mslet mslma msl pressure_reduced_to_msl slp psl "
    "mslp_eta_model_reduction eta_model_reduction",
    "lsm": "land lsm land_cover land_cover_0__sea_1__land landfrac landmask frland land_fraction",
}
_QUANTITY = {stem: quantity for quantity, stems in _STEMS.items() for stem in stems.split()}
_WHOLE = {  # names that follow no rule
    "orography": "z_surface gh_surface geopotential_at_surface surface_geopotential zsfc phis "
    "hgtsfc hgtn surface_geopotential_height geopotential_height_surface terrain_height ter topog "
    "surface_height model_terrain_height zs orog_surface",
    "t2m": "trefht t2mean temp2 temperature_2m air_temperature_2m",
    "q2m": "qrefht qv2m specific_humidity_2m",
    "sp": "pressfc pres_surface surface_pressure_pa",
    "msl": "prmslmsl sea_level_pressure pres_msl mslp",
    "lsm": "landsfc",
}
_WHOLE_NAMES = {name: variable for variable, names in _WHOLE.items() for name in names.split()}

_NUMBER = r"(\d+(?:\.\d+)?)"
_ABOVE = r"(?:_?(?:above_?ground(?:_?level)?|agl|height))?"
# ending of a name (lower case, "-" as "_") → kind of position
_ENDINGS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(f"(?:{pattern})$"), kind)
    for pattern, kind in (
        (rf"_?{_NUMBER}_?(?:hpa|mb|mbar|millibars?)", "hPa"),
        (rf"_?{_NUMBER}_?pa", "Pa"),
        (rf"_?{_NUMBER}_?m(?:et(?:er|re)s?)?{_ABOVE}", "height"),
        (r"_p\d+_(?:2)?l100\w*", "axis"),
        (r"_p\d+_(?:2)?l103\w*", "height"),
        (r"_p\d+_(?:2)?l101\w*", "sea"),
        (r"_p\d+_(?:2)?l1_\w*", "surface"),
        (r"_p\d+_(?:2)?l\d+\w*", "other"),
        (r"_gds\d+_isbl\w*", "axis"),
        (r"_gds\d+_htgl\w*", "height"),
        (r"_gds\d+_msl\w*", "sea"),
        (r"_gds\d+_sfc\w*", "surface"),
        (r"_gds\d+_\w*", "other"),
        (r"_isobaric\w*|_pl|_plev|_on_pressure_levels|_pressure_levels|(?<=.)prs", "axis"),
        (r"_height_?above_?ground\w*", "height"),
        (r"_surface|_at_surface|_?sfc|_ground_or_water_surface", "surface"),
        (r"_mean_?sea_?level|_?msl|_sea_level", "sea"),
        (
            r"_(?:tropopause|max(?:imum)?_?wind|sigma|hybrid|cloud|altitude_above|potential_vort|"
            r"pv|layer|planetary|highest|entire|depth|level_of|boundary|isotherm|zerodegc|"
            r"toa|nominal)\w*",
            "other",
        ),
        (rf"_?{_NUMBER}", "number"),
    )
)
_BEGINNINGS = (
    re.compile(rf"^{_NUMBER}_?m(?:et(?:er|re)s?)?_(?P<stem>.+)$"),
    re.compile(rf"^{_NUMBER}(?P<stem>t|d|u|v|r|q|sh)$"),  # ECMWF's 2t, 10u, 100u
)
_SHORT = {"d": "td", "sh": "q"}
_TEXTS = tuple(
    (re.compile(pattern), quantity)
    for pattern, quantity in (
        (r"wind.?speed|speed of wind|windspeed", "wind speed"),
        (r"direction", "direction"),
        (
            r"gust|stress|shear|vorticity|divergence|stream ?function",
            "another quantity of the wind",
        ),
        (r"dew.?point", "td"),
        (r"potential.temp|theta", "potential temperature"),
        (r"virtual", "virtual temperature"),
        (r"wet.?bulb", "wet-bulb temperature"),
        (r"brightness", "brightness temperature"),
        (r"skin|sea.surface.temp|soil|ground.temp|snow|ice.temp", "temperature of the ground"),
        (r"relative.humidity", "r"),
        (r"specific.humidity", "q"),
        (r"mixing.ratio|total.water|cloud|precipitable", "another quantity of water"),
        (r"geopotential.height|heights?$", "gh"),
        (r"geopotential", "z"),
        (r"temperature", "t"),
        (r"vertical.velocity|omega|pressure.velocity|tendency.of.air.pressure", "w"),
        (r"(?:\b[ux]\b|eastward|zonal).{0,14}(?:wind|velocity)|\bu.component|\bu.wind", "u"),
        (r"(?:\b[vy]\b|northward|meridional).{0,14}(?:wind|velocity)|\bv.component|\bv.wind", "v"),
        (r"land.{0,4}sea.mask|land.?mask|land.fraction|land.cover|land.area", "lsm"),
        (r"orography|terrain|topograph|surface.altitude", "z"),
        (r"pressure", "pressure"),
    )
)
_STATISTICS = re.compile(
    r"standard.?deviation|std.?dev|\bspread\b|variance|probabilit|percentile|quantile|accumulat|"
    r"anomal|\bincrement\b|\btendency\b|\berrors?\b|\bmaximum\b|\bminimum\b|climatolog|\brange\b"
)
_WORDS = {"avg": "mean over time", "accum": "sum over time", "diff": "difference in time"}
_STATISTIC_NAME = re.compile(
    r"(?:^|_)(?:std|stdev|stddev|sd|spread|variance|prob|pctl|anom|anomaly|increment|error|max|min)"
    r"(?:_|$)"
)
_STATISTIC_COORDINATE = re.compile(r"percentile|quantile|probability|threshold|statistic|\bstat\b")
_CENTRES = ("50", "50.0", "0.5", "mean", "median", "avg", "average", "em", "ensemble_mean")
_HOURS = {"day": 24.0, "hour": 1.0, "hr": 1.0, "h": 1.0, "minute": 1 / 60, "second": 1 / 3600}
_UNIT_OF_TIME = re.compile(rf"({'|'.join(_HOURS)})s? since")
FAMILY = {"z": "height", "gh": "height"}
"""Quantities that a text may call by either name."""


def statistic_of(dataset: xr.Dataset, name: str) -> str | None:
    """What a field is, where that is a spread, an extreme, a sum or a long mean: never a state."""
    field = dataset[name]
    attributes = {str(k): str(v) for k, v in field.attrs.items()}
    return _in_texts(name, attributes) or _along_coordinates(field) or _long_mean(dataset, name)


def _in_texts(name: str, attributes: dict[str, str]) -> str | None:
    """What a field is, where its texts say that it is a spread, an extreme or a sum: never a
    state."""
    text = " ".join(attributes.get(k, "") for k in ("long_name", "description", "standard_name"))
    text = text.lower().replace("_", " ").replace("lagrangian tendency of air pressure", "")
    text = re.sub(r"maximum wind level", "", text)
    methods = attributes.get("cell_methods", "").lower().replace("_", " ")
    step = attributes.get("GRIB_stepType", "instant")
    found = (
        _STATISTICS.search(text)
        or re.search(r"standard.deviation|variance|maximum|minimum|sum|range|median", methods)
        or re.search(r"^(?:accum|avg|max|min|diff|rms|sd|cov|ratio)\w*$", step)
    )
    if found:
        return _WORDS.get(found[0].strip(), found[0].strip())
    named = _STATISTIC_NAME.search(name.lower())
    return named[0].strip("_") if named else None


def _along_coordinates(field: xr.DataArray) -> str | None:
    """What the coordinates of a field say that it is, where that is a statistic of an ensemble or a
    climate, such as ``percentile`` 90."""
    for name, coordinate in field.coords.items():
        known = _STATISTIC_COORDINATE.search(str(name).lower())
        if known is None or coordinate.size != 1:
            continue
        value = coordinate.values.item()
        text = value.decode() if isinstance(value, bytes) else str(value)
        if text.lower() not in _CENTRES:
            return f"{known[0]} ({name} {text})"
    return None


def _long_mean(dataset: xr.Dataset, name: str) -> str | None:
    """What a field is, where the bounds of its time say that it is a mean over more than an
    hour."""
    if "time: mean" not in str(dataset[name].attrs.get("cell_methods", "")):
        return None
    for time in dataset[name].coords.values():
        bounds = str(time.attrs.get("bounds", time.encoding.get("bounds", "")))
        if bounds not in dataset:
            continue
        units = dataset[bounds].attrs.get("units", time.attrs.get("units", ""))
        if unit := _UNIT_OF_TIME.match(str(units)):
            hours = float(np.ptp(dataset[bounds].values, axis=-1).max()) * _HOURS[unit[1]]
            return f"mean over {hours:.4g} h" if hours > 1 else None
    return None


def quantity_in_text(text: str) -> str | None:
    """The quantity that a long name states: one of the stems' or, in words, another one; None where
    it states none."""
    lower = text.lower().replace("_", " ")
    return next((q for pattern, q in _TEXTS if pattern.search(lower)), None)


def measured(text: str) -> Position | None:
    """The height or pressure that a long name gives in figures."""
    height = re.search(r"(\d+(?:\.\d+)?)[ _-]?m(?:et(?:er|re)s?)?\b", text.lower())
    pressure = re.search(r"(\d+(?:\.\d+)?)[ _-]?(?:hpa|mb|millibars?)\b", text.lower())
    if pressure:
        return Position("pressure", float(pressure[1]) * 100)
    return Position("height", float(height[1])) if height else None


def in_words(text: str) -> Position | None:
    """The position that a long name states."""
    if "sea level" in text.lower().replace("_", " "):
        return Position("sea")
    return measured(text) or (Position("surface") if "surface" in text.lower() else None)


def read_name(name: str) -> tuple[str | None, Position | None]:
    """The quantity and the position that ``name`` states, each None where it states none."""
    lower = name.strip().lower().replace("-", "_")
    known = _WHOLE_NAMES.get(lower) or canonical_variable(lower)
    if known is not None:
        return _of_canonical(known)
    lower = re.sub(r"_(?:ens|ensemble)$", "", lower)
    for beginning in _BEGINNINGS:
        if found := beginning.match(lower):
            quantity = _SHORT.get(found["stem"]) or _QUANTITY.get(found["stem"])
            return quantity, Position("height", float(found[1]))
    for ending, kind in _ENDINGS:
        found = ending.search(lower)
        if found is None or not found.start():
            continue
        stem = lower[: found.start()]
        quantity = _QUANTITY.get(stem)
        if quantity is None and kind in ("height", "axis", "surface", "sea", "hPa"):
            known = canonical_variable(stem)
            quantity = None if known is None else _of_canonical(known)[0]
        if quantity is not None:
            return quantity, _position(kind, found, name)
    return _QUANTITY.get(lower), None


def _position(kind: str, found: re.Match[str], name: str) -> Position:
    value = float(found[1]) if found.lastindex else None
    if kind in ("hPa", "Pa"):
        assert value is not None
        return Position("pressure", value * (100 if kind == "hPa" else 1))
    return Position(kind, value, f"its name says {found[0].strip('_')}" if kind == "other" else "")


_CANONICAL = {  # (quantity, kind of position) → canonical variable and the height it belongs to [m]
    ("t", "height"): ("t2m", 2.0),
    ("td", "height"): ("d2m", 2.0),
    ("q", "height"): ("q2m", 2.0),
    ("r", "height"): ("rh2m", 2.0),
    ("u", "height"): ("u10", 10.0),
    ("v", "height"): ("v10", 10.0),
    ("pressure", "surface"): ("sp", 0.0),
    ("pressure", "sea"): ("msl", 0.0),
    ("z", "surface"): ("orography", 0.0),
    ("gh", "surface"): ("orography", 0.0),
    ("lsm", "surface"): ("lsm", 0.0),
}
_AT = {variable: key for key, (variable, _) in _CANONICAL.items()}


def _of_canonical(variable: str) -> tuple[str | None, Position | None]:
    if variable in _AT:
        quantity, kind = _AT[variable]
        quantity = "z" if variable == "orography" else quantity
        return quantity, Position(kind, _CANONICAL[_AT[variable]][1] if kind == "height" else None)
    if VARIABLES[variable].surface:
        return None, None  # a wind's speed or direction, an altimeter setting: not fields
    return variable, None


def canonical_at(quantity: str | None, position: Position | None) -> str | None:
    """The canonical variable that a quantity is at a position, None where there is none."""
    if quantity is None or position is None:
        return None
    if position.kind in ("axis", "pressure"):
        return quantity if quantity in VARIABLES and not VARIABLES[quantity].surface else None
    variable, height = _CANONICAL.get((quantity, position.kind), (None, 0.0))
    if position.kind == "height" and position.value is not None:
        near = abs(position.value - height) <= (1.0 if height == 2 else 2.0)
        return variable if near else None
    return variable
