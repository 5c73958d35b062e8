"""What the elements before a value in a BUFR report say about it, and which values of a surface
report are those of 2 m and 10 m."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from phyda_cli.observations.read.levels import of_sensor

__all__ = ["Context", "Surface"]

_LONGEST = 600.0  # s of averaging that still is a value of the time: WMO's for wind
_NOT_OBSERVED = {  # code table 008021, time significance
    1: "a time series",
    3: "an accumulation",
    **dict.fromkeys(range(4, 16), "a forecast"),
    27: "a first guess",
}


class Context:
    """The coordinates in force at a value: a coordinate holds until it comes again, missing ends
    it."""

    HEIGHTS: ClassVar[tuple[str, ...]] = (
        "heightOfSensorAboveLocalGroundOrDeckOfMarinePlatform",
        "heightOfSensorAboveWaterSurface",
        "heightAboveStation",
    )
    _DEPTHS: ClassVar[tuple[str, ...]] = ("depthBelowLandSurface", "depthBelowSeaOrWaterSurface")
    _TIMES: ClassVar[tuple[str, ...]] = ("timePeriod", "timeDisplacement", "timeSignificance")
    _STATISTICS: ClassVar[tuple[str, ...]] = ("firstOrderStatistics", "differenceStatistics")
    _GROUND: ClassVar[str] = "surfaceQualifierForTemperatureData"
    ELEMENTS: ClassVar[frozenset[str]] = frozenset(
        (*HEIGHTS, *_DEPTHS, *_STATISTICS, *_TIMES, _GROUND)
    )

    def __init__(self) -> None:
        self._now: dict[str, float] = {}

    def take(self, name: str, value: object) -> None:
        """Note the element ``name`` if it is a coordinate."""
        if name not in self.ELEMENTS:
            return
        if isinstance(value, float):
            self._now[name] = value
        else:
            self._now.pop(name, None)

    def height(self) -> float | None:
        """Height of the sensor above the ground or the water [m]."""
        return next((self._now[name] for name in reversed(self.HEIGHTS) if name in self._now), None)

    def objection(self, name: str) -> str:
        """Why a value of element ``name`` is not one of this place and time; empty where it is."""
        if any(statistic in self._now for statistic in self._STATISTICS):
            return "a statistic (mean, extreme or standard deviation)"
        period = abs(self._now.get("timePeriod", 0.0))
        if period > _LONGEST:
            return f"of a period of {_duration(period)}"
        if reason := _NOT_OBSERVED.get(int(self._now.get("timeSignificance", 31))):
            return reason
        if any(n.startswith("depth") and v > 0 for n, v in self._now.items()):
            return "below the surface"
        return ""

    def objection_at_surface(self, name: str) -> str:
        """As :meth:`objection`, for a report of one time and its ground."""
        if abs(self._now.get("timeDisplacement", 0.0)) > _LONGEST:
            return f"of {_duration(abs(self._now['timeDisplacement']))} before or after"
        if self._GROUND in self._now and "emperature" in name:
            return "a temperature of the ground"
        return self.objection(name)


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


class Surface:
    """The values of a surface report, taken element by element: ``near`` the ground, and ``aloft``
    [height above the ground in m], both by their names at a level; the first of each wins.
    ``said`` counts what was left out, or used at its own height, by reason."""

    _ELEMENTS: ClassVar[dict[str, str]] = {
        "airTemperatureAt2M": "t",
        "airTemperature": "t",
        "virtualTemperature": "tv",
        "dewpointTemperatureAt2M": "td",
        "dewpointTemperature": "td",
        "relativeHumidity": "r",
        "windSpeedAt10M": "wind_speed",
        "windSpeed": "wind_speed",
        "windDirectionAt10M": "wind_direction",
        "windDirection": "wind_direction",
        "nonCoordinatePressure": "sp",
        "pressureReducedToMeanSeaLevel": "msl",
        "altimeterSettingQnh": "qnh",
    }
    _OF_THE_GROUND: ClassVar[tuple[str, ...]] = ("sp", "msl", "qnh")
    ELEMENTS: ClassVar[frozenset[str]] = frozenset(_ELEMENTS)
    VARIABLES: ClassVar[tuple[str, ...]] = tuple(dict.fromkeys(_ELEMENTS.values()))

    def __init__(self, at_sea: bool) -> None:
        self.near: dict[str, float] = {}
        self.aloft: dict[float, dict[str, float]] = {}
        self.said: Counter[str] = Counter()
        self._context = Context()
        self._at_sea = at_sea

    def take(self, name: str, value: object) -> None:
        """The next element of the report."""
        self._context.take(name, value)
        if name not in self._ELEMENTS or not isinstance(value, float):
            return
        quantity = self._ELEMENTS[name]
        fixed = quantity in self._OF_THE_GROUND or name.endswith("M")  # stated by the element
        height = None if fixed else self._context.height()
        where = "surface" if height is None else of_sensor(quantity, height, self._at_sea)
        reason = self._context.objection_at_surface(name)
        if not reason and where == "below":
            reason = f"measured at {height:g} m above the ground"
        elif not reason:
            level = height if where == "level" else None
            values = self.near if level is None else self.aloft.setdefault(level, {})
            reason = "repeated" if quantity in values else ""
            values.setdefault(quantity, value)
            if level is not None:
                at = f"{name} measured at {level:g} m above the ground"
                self.said[f"{at}: used at that height"] += 1
        if reason:
            self.said[f"not used: {name}, {reason}"] += 1
