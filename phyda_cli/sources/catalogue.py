"""Where the public archives keep what, and what their providers want said about it.

Paths are those of the WeatherBench 2 data guide
(weatherbench2.readthedocs.io/en/latest/data-guide.html) and of the ARCO-ERA5 repository
(github.com/google-research/arco-era5).
"""

from __future__ import annotations

from dataclasses import dataclass

from phyda_cli.errors import UsageError

__all__ = ["ARCHIVES", "FORECASTS", "Archive", "Provider", "forecast_stores", "store_of"]


@dataclass(frozen=True)
class Provider:
    """Attribution that goes into every file: global attributes ``source``, ``license``,
    ``references``."""

    source: str
    license: str
    references: str

    def attributes(self) -> dict[str, str]:
        """As global attributes."""
        return {"source": self.source, "license": self.license, "references": self.references}


@dataclass(frozen=True)
class Archive:
    """A place with ERA5; ``stores`` are the paths below ``url`` by resolution, the default one
    first."""

    url: str
    stores: dict[str, str]
    provider: Provider


_GRIDS = {
    "64x32": "64x32_equiangular_conservative",
    "240x121": "240x121_equiangular_with_poles_conservative",
}
_ERA5 = (
    "contains modified Copernicus Climate Change Service information. Neither the European "
    "Commission nor ECMWF is responsible"
    " for any use that may be made of the Copernicus information or data it contains"
)
_ERA5_TERMS = (
    "terms of the Copernicus Climate Data Store: "
    "https://cds.climate.copernicus.eu/datasets/reanalysis-era5-pressure-levels"
)
_ERA5_PAPER = "Hersbach et al. (2020), doi:10.1002/qj.3803"
_WB2_PAPER = "Rasp et al. (2024), doi:10.1029/2023MS004019"
_PANGU_PAPER = "Bi et al. (2023), doi:10.1038/s41586-023-06185-3"
_GRAPHCAST_PAPER = "Lam et al. (2023), doi:10.1126/science.adi2336"
_WB2_TERMS = (
    "terms of the data's provider: https://weatherbench2.readthedocs.io/en/latest/data-guide.html"
)

ARCHIVES = {
    "weatherbench2": Archive(
        "https://storage.googleapis.com/weatherbench2/datasets",
        {r: f"era5/1959-2023_01_10-6h-{name}.zarr" for r, name in _GRIDS.items()}
        | {"1440x721": "era5/1959-2023_01_10-wb13-6h-1440x721_with_derived_variables.zarr"},
        Provider(f"ERA5 of WeatherBench 2; {_ERA5}", _ERA5_TERMS, f"{_ERA5_PAPER}; {_WB2_PAPER}"),
    ),
    "arco": Archive(
        "https://storage.googleapis.com/gcp-public-data-arco-era5/ar",
        {"1440x721": "full_37-1h-0p25deg-chunk-1.zarr-v3"},
        Provider(
            f"ERA5 of ARCO-ERA5; {_ERA5}",
            _ERA5_TERMS,
            f"{_ERA5_PAPER}; Carver and Merose (2023), ARCO-ERA5",
        ),
    ),
    "cds": Archive(
        "https://cds.climate.copernicus.eu/api",
        {"1440x721": "0.25", "240x121": "1.5"},  # steps of the grid [degrees]
        Provider(f"ERA5 of the Copernicus Climate Data Store; {_ERA5}", _ERA5_TERMS, _ERA5_PAPER),
    ),
}

_FORECAST_STORES = {
    "hres": {r: [f"hres/2016-2022-0012-{_GRIDS.get(r, r)}.zarr"] for r in (*_GRIDS, "1440x721")},
    "pangu": {
        r: [f"pangu/2018-2022_0012_{_GRIDS.get(r, '0p25')}.zarr"] for r in (*_GRIDS, "1440x721")
    },
    "graphcast": {
        r: [
            f"graphcast/{year}/date_range_{span}_12_hours"
            f"{'_derived' if r == '1440x721' else '-' + _GRIDS[r]}.zarr"
            for year, span in ((2018, "2017-11-16_2019-02-01"), (2020, "2019-11-16_2021-02-01"))
        ]
        for r in (*_GRIDS, "1440x721")
    },
}
FORECASTS = {
    "hres": Provider(
        "ECMWF HRES forecasts of WeatherBench 2; copyright ECMWF", _WB2_TERMS, _WB2_PAPER
    ),
    "pangu": Provider(
        "Pangu-Weather forecasts of WeatherBench 2, started from ERA5",
        _WB2_TERMS,
        f"{_PANGU_PAPER}; {_WB2_PAPER}",
    ),
    "graphcast": Provider(
        "GraphCast forecasts of WeatherBench 2, started from ERA5",
        _WB2_TERMS,
        f"{_GRAPHCAST_PAPER}; {_WB2_PAPER}",
    ),
}


def store_of(source: str, resolution: str | None) -> tuple[str, str]:
    """Resolution (the source's default for None) and path of its store. Raises UsageError when the
    source has none."""
    stores = ARCHIVES[source].stores
    chosen = resolution or next(iter(stores))
    if chosen not in stores:
        raise UsageError(f"--resolution {chosen}: {source} has {', '.join(stores)}")
    return chosen, stores[chosen]


def forecast_stores(model: str, resolution: str) -> list[str]:
    """Paths of the stores that together hold the forecasts of ``model``."""
    return _FORECAST_STORES[model][resolution]
