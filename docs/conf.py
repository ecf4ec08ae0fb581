"""How Sphinx builds this folder: ``nox -s docs``."""

from __future__ import annotations

import tlsprovider

project = "tlsprovider"
author = copyright = "The tlsprovider authors"
release = version = tlsprovider.__version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

html_theme = "alabaster"
html_theme_options = {"description": "TLS 1.3 for Twisted, trio and plain sockets", "page_width": "1100px"}
html_show_sphinx = False
