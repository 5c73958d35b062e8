"""phyda: atmospheric data assimilation from the command line, and from Python.

    import phyda_cli as phyda

    a = phyda.assimilate(background="fc.nc", observations="stations.csv", method="oi")

``assimilate``, ``verify``, ``read_observations`` and what they return are those of
:mod:`phyda_cli.python`, which is loaded when the first of them is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phyda_cli.python import (
        Analysis,
        Verification,
        assimilate,
        read_observations,
        verify,
    )

__all__ = ["Analysis", "Verification", "__version__", "assimilate", "read_observations", "verify"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.python"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
