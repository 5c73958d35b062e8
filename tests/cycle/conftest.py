from pathlib import Path

import pytest
from feeds import Feeds


@pytest.fixture
def feeds(tmp_path: Path) -> Feeds:
    return Feeds(tmp_path)
