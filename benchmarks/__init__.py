"""Benchmarks: each is a command, ``python -m benchmarks.NAME``."""

import os

# as phyda.app does: on a busy machine threads would else spend more time on waiting than on work
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
