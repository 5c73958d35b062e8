"""Offline pages (HTML): a head of their own, and folded parts below it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from phyda_cli import __version__

__all__ = ["render_page"]


def render_page(template: str, **values: Any) -> str:
    """The page of a ``template`` of this folder that extends ``page.html.j2``: ``values`` are a
    ``title``, the ``sections``, and what its head shows."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=__version__, **values)
