"""BUFR messages of every kind that is read, encoded with ecCodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TIME = {"year": 2020, "month": 10, "day": 1, "hour": 6, "minute": 30}
PLACE = {"latitude": 50.0, "longitude": -10.0}
MISSING = -1e100

SYNOP, SHIP, BUOY, TEMP, PILOT, PROFILER, AMDAR, AIREP = (
    307080,
    308009,
    308003,
    309052,
    309051,
    309020,
    311010,
    311001,
)


def encode(
    descriptors: int | Sequence[int],
    category: int,
    values: Mapping[str, Any],
    subsets: int = 1,
    compressed: int = 0,
    levels: int = 2,
) -> bytes:
    """One message of ``descriptors`` with ``values`` by ecCodes key; everything else is missing,
    replications have ``levels``."""
    import eccodes

    handle = eccodes.codes_bufr_new_from_samples("BUFR4")
    try:
        for name in (
            "DelayedDescriptorReplicationFactor",
            "ShortDelayedDescriptorReplicationFactor",
        ):
            eccodes.codes_set_array(handle, f"input{name}", [levels] * 20 * subsets)
        eccodes.codes_set_array(
            handle, "inputExtendedDelayedDescriptorReplicationFactor", [levels] * 5 * subsets
        )
        header = {
            "masterTablesVersionNumber": 36,
            "dataCategory": category,
            "numberOfSubsets": subsets,
            "compressedData": compressed,
        }
        for key, value in header.items():
            eccodes.codes_set(handle, key, value)
        codes = [descriptors] if isinstance(descriptors, int) else list(descriptors)
        eccodes.codes_set_array(handle, "unexpandedDescriptors", codes)
        for key, value in values.items():
            if isinstance(value, (list, tuple)):
                eccodes.codes_set_array(handle, key, value)
            else:
                eccodes.codes_set(handle, key, value)
        eccodes.codes_set(handle, "pack", 1)
        return eccodes.codes_get_message(handle)
    finally:
        eccodes.codes_release(handle)


def synop(**changes: Any) -> bytes:
    """A land station's report with 2 m temperature and dew point, wind and pressure."""
    sensor = {
        "#1#airTemperature": 280.0,
        "#1#dewpointTemperature": 275.0,
        "#1#windDirection": 270,
        "#1#windSpeed": 5.0,
    }
    pressure = {"nonCoordinatePressure": 100000.0, "pressureReducedToMeanSeaLevel": 101300.0}
    station = {
        "blockNumber": 3,
        "stationNumber": 953,
        "heightOfStationGroundAboveMeanSeaLevel": 100.0,
    }
    barometer = {"heightOfBarometerAboveMeanSeaLevel": 105.0}
    return encode(
        SYNOP, 0, station | barometer | TIME | PLACE | pressure | sensor | changes, levels=1
    )


def ascent(**changes: Any) -> bytes:
    """Two levels of a high-resolution ascent, with the balloon's drift."""
    station = {
        "blockNumber": 3,
        "stationNumber": 953,
        "heightOfStationGroundAboveMeanSeaLevel": 14.0,
        "height": 20.0,
    }
    levels = {
        "#1#pressure": 100000.0,
        "#1#airTemperature": 283.0,
        "#1#dewpointTemperature": 280.0,
        "#1#timePeriod": 0,
        "#1#nonCoordinateGeopotentialHeight": 100.0,
        "#1#latitudeDisplacement": 0.0,
        "#1#longitudeDisplacement": 0.0,
        "#2#pressure": 50000.0,
        "#2#airTemperature": 253.0,
        "#2#timePeriod": 1200,
        "#2#windSpeed": 20.0,
        "#2#windDirection": 250,
        "#2#latitudeDisplacement": 0.25,
        "#2#longitudeDisplacement": 0.5,
    }
    return encode(TEMP, 2, station | TIME | {"second": 0} | PLACE | levels | changes)
