"""Settings of Sphinx: `make docs` builds the pages of this folder into build/docs."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

from phyda_cli import __version__  # noqa: E402

project = "phyda"
author = "the phyda developers"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "reference"]
html_theme = "furo"
html_title = f"phyda {release}"
exclude_patterns = ["_ext", "logs"]
highlight_language = "none"
myst_heading_anchors = 3
myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
suppress_warnings = ["myst.header"]
html_show_copyright = False
autodoc_typehints = "description"
autodoc_member_order = "bysource"
