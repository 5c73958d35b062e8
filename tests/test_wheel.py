"""The installed wheel, as a service has it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("setpriv", "unshare")


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run it as another user")
@pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}")
def test_another_user_with_a_read_only_home_and_no_network() -> None:
    done = subprocess.run([ROOT / ".ci" / "wheel"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "the wheel works for another user" in done.stdout
