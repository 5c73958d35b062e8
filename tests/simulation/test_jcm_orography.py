"""The orography that nature runs are post-processed with, against the climate model's own."""

from __future__ import annotations

import numpy as np
import pytest

from phyda_cli.constants import R_D
from phyda_cli.simulation.jcm import SpeedyModel, statics


@pytest.mark.slow
def test_the_orography_is_the_one_that_the_model_integrates_with() -> None:
    """Geopotential of a resting state of one temperature, less its hydrostatic part."""
    pytest.importorskip("jcm")
    model = SpeedyModel(np.datetime64("2001-01-01", "s"), 0.25)._experiment.model
    state = model.dycore.to_physics_state(model.initial_state(random_seed=0))
    lowest = np.asarray(state.geopotential)[-1].T
    warmth = R_D * np.asarray(state.temperature)[-1].T * np.log(1 / 0.95)
    height = (lowest - warmth) / 9.81
    assert np.abs(height - statics()["orography"]).max() < 0.1
    assert statics()["orography"].min() < -400
