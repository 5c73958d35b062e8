"""Kinds of observations that tables count and score apart: type of report, layer, region, hour.
Labels sort by their number."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd

__all__ = ["GROUPINGS", "hours", "in_order", "layers", "regions", "report_types"]

_LAYERS = (110000.0, 85000.0, 50000.0, 25000.0, 10000.0, 0.0)  # Pa


def in_order(labels: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Each label without its number, in the order of the numbers, and its rows."""
    numbers, distinct = pd.factorize(labels, sort=True)
    return [
        (str(label).partition("\0")[2] or str(label), np.flatnonzero(numbers == i))
        for i, label in enumerate(distinct)
    ]


def report_types(table: pd.DataFrame) -> np.ndarray:
    """``surface``, ``sounding`` (a station with several levels at a time, or in one message) or
    ``single level``, (P,)."""
    level = table["pressure"].fillna(-table["height"]).to_numpy()
    aloft = ~np.isnan(level)
    keys = ["station_id", "time", "latitude", "longitude"]
    counts = (
        table.assign(_level=level)
        .groupby(keys, dropna=False, sort=False)["_level"]
        .transform("nunique")
        .to_numpy()
    )
    message = (
        table.assign(_level=level)
        .groupby(["file", "row"], sort=False)["_level"]
        .transform("nunique")
        .to_numpy()
    )
    return np.where(
        ~aloft, "surface", np.where((counts > 2) | (message > 2), "sounding", "single level")
    )


def layers(table: pd.DataFrame) -> np.ndarray:
    """Layer of pressure, ``surface`` or ``at a height`` (P,)."""
    pressure, height = table["pressure"].to_numpy(), table["height"].to_numpy()
    layer = np.clip(
        np.searchsorted(-np.array(_LAYERS), -pressure, side="right") - 1, 0, len(_LAYERS) - 2
    )
    names = [
        f"{i + 1}\0{low / 100:g} to {high / 100:g} hPa"
        for i, (low, high) in enumerate(pairwise(_LAYERS))
    ]
    at_level = np.array(names, object)[np.where(np.isnan(pressure), 0, layer)]
    return np.where(
        ~np.isnan(pressure), at_level, np.where(np.isnan(height), "0\0surface", "8\0at a height")
    ).astype(object)


def hours(table: pd.DataFrame) -> np.ndarray:
    """The hour of every row (P,)."""
    text = table["time"].dt.strftime("%Y-%m-%dT%HZ")
    return text.fillna("without time").to_numpy(object)


def regions(table: pd.DataFrame) -> np.ndarray:
    """Band of latitude (P,)."""
    latitude = table["latitude"].to_numpy()
    bands = [np.isnan(latitude), latitude >= 60, latitude >= 20, latitude > -20, latitude > -60]
    names = [
        "9\0nowhere",
        "1\0north of 60N",
        "2\0" + "20N to 60N",
        "3\0" + "20S to 20N",
        "4\0" + "60S to 20S",
    ]
    return np.select(bands, names, "5\0south of 60S").astype(object)


GROUPINGS: dict[str, Callable[[pd.DataFrame], np.ndarray]] = {
    "type": report_types,
    "level": layers,
    "region": regions,
}
"""What departures are sorted by."""
