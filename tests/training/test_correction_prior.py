"""What the training tells the analysis of the weight of the correction, on cases with a known
answer."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from phyda_cli.model.encoder import Encoder, Posterior
from phyda_cli.settings.model import CorrectionSettings
from phyda_cli.training.cases import Batch, Cases
from phyda_cli.training.scores import expected_weights

VARIABLES = ["t", "u", "v"]
AREA = torch.tensor([[0.5], [1.5]])


class TwoCases:
    """Two cases whose error after stage 1 is one everywhere; the background is the correction that
    the encoder below takes it for, by case and channel."""

    count = 2

    def __init__(self, correction: list[list[float]]) -> None:
        self.correction = torch.tensor(correction)[:, :, None, None].expand(2, 3, 2, 4)

    def batch(self, numbers: np.ndarray, device: torch.device) -> Batch:
        linear = torch.full((2, 3, 2, 4), 7.0)
        parts = (linear, linear, linear, linear)
        return Batch(self.correction, parts, linear, linear + 1.0, linear, linear)


def correcting(background: Tensor, increment: Tensor, *_: Tensor) -> Posterior:
    return Posterior(increment + background, increment, [])


def found(correction: list[list[float]]) -> dict[str, tuple[float, float]]:
    encoder, cases = cast(Encoder, correcting), cast(Cases, TwoCases(correction))
    return expected_weights(encoder, cases, AREA, VARIABLES).groups


def test_mean_and_deviation_are_those_of_the_cases() -> None:
    """Corrections of 2 and 1 fit best with 1/2 and 1: weighted by their squares 4 and 1, the mean
    is 0.6 and the standard deviation 0.2."""
    usual = CorrectionSettings().deviation
    groups = found([[2.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    assert set(groups) == {"temperature", "wind"}
    assert groups["temperature"] == pytest.approx((0.6, np.hypot(0.2, usual)), abs=1e-6)
    assert groups["wind"] == pytest.approx((1.0, usual), abs=1e-6)


def test_a_wrong_sign_is_expected_to_be_nothing_and_no_correction_says_nothing() -> None:
    groups = found([[-1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    assert set(groups) == {"temperature"}
    assert groups["temperature"][0] == 0.0
