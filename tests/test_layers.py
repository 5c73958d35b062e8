"""The layers of the package: a module imports from the layers below its own, never from above or
beside."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import phyda_cli

ROOT = Path(phyda_cli.__file__).parent
LAYERS = [
    "__main__",
    "app",
    "commands | python",
    "cycle",
    "training",
    "simulation",
    "analysis | verification",
    "preprocessing | sources | observations",
    "formats | parallel",
    "model",
    "physics",
    "fields | settings | files",
    "cf",
    "units",
    "names",
    "plugins",
    "constants | errors | libproj | __init__",
]
LEVEL = {name: level for level, row in enumerate(LAYERS) for name in row.split(" | ")}


def arrows(path: Path) -> Iterator[tuple[str, str]]:
    """(importer, imported), without the name of the package. Its own ``__init__`` names what stands
    at the top and loads it when it is used."""
    importer = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if importer == "__init__":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == phyda_cli.__name__:
            for alias in node.names:
                yield importer, alias.name if alias.name in LEVEL else "__init__"
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{importer} imports relatively"
            if node.module and node.module.startswith(f"{phyda_cli.__name__}."):
                yield importer, node.module.partition(".")[2]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(f"{phyda_cli.__name__}."):
                    yield importer, alias.name.partition(".")[2]


@pytest.mark.parametrize("layer", LEVEL)
def test_imports_point_down(layer: str) -> None:
    paths = ROOT / layer, ROOT / f"{layer}.py"
    files = [*paths[0].rglob("*.py"), *(p for p in paths[1:] if p.exists())]
    wrong = [
        f"{importer} -> {imported}"
        for path in files
        for importer, imported in arrows(path)
        if (top := imported.partition(".")[0]) != layer and LEVEL[top] <= LEVEL[layer]
    ]
    assert not wrong


def test_every_module_is_in_a_layer() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages | {path.stem for path in ROOT.glob("*.py")} <= set(LEVEL)


def test_pyproj_is_loaded_before_eccodes() -> None:
    """Some versions of xarray load ecCodes when they open a file, and jcm opens some."""
    loads = re.compile(
        r"^\s*(import (eccodes|jcm)\b|from (cfgrib|eccodes|jcm)\b)|xr\.open_|\.to_(netcdf|zarr)\(",
        re.MULTILINE,
    )
    texts = {path: path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py")}
    found = {path: at.start() for path, text in texts.items() if (at := loads.search(text))}
    late = [p.name for p, at in found.items() if "libproj" not in texts[p][:at]]
    assert len(found) > 5
    assert not late
