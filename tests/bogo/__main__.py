"""See :mod:`bogo.run`."""

from __future__ import annotations

import sys

from bogo.run import main

sys.exit(main())
