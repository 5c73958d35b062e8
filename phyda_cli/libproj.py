"""Loads pyproj, where it is installed. Import this before ecCodes.

ecCodes and pyproj each bring a PROJ library. Where ecCodes' is loaded first, the process dies as it
ends, after everything was done well. MetPy, cartopy and rioxarray load pyproj, and some versions of
xarray load all of these when a file is opened.
"""

from __future__ import annotations

from contextlib import suppress

__all__: list[str] = []

with suppress(ImportError):
    import pyproj  # noqa: F401
