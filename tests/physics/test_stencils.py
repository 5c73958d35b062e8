"""The uneven-point derivative and the cached terms."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from phyda_cli.physics.stencils import Derivative, Terms

STEPS = st.lists(st.floats(0.2, 5.0), min_size=2, max_size=7)


@settings(max_examples=40)
@given(STEPS, st.tuples(*[st.floats(-3, 3)] * 3), st.booleans(), st.sampled_from([-1, -2, -3]))
def test_quadratics_are_exact_on_any_points(
    steps: list[float], c: tuple[float, float, float], reverse: bool, dim: int
) -> None:
    x = np.cumsum([0.0, *steps])
    x = x[::-1].copy() if reverse else x
    shape = (-1,) + (1,) * (-dim - 1)
    f = torch.tensor(c[0] + c[1] * x + c[2] * x**2).reshape(shape)
    expected = torch.tensor(c[1] + 2 * c[2] * x).reshape(shape)
    torch.testing.assert_close(Derivative(x, dim)(f), expected, rtol=1e-9, atol=1e-8)


def test_few_points() -> None:
    f = torch.tensor([[3.0, 7.0]])
    torch.testing.assert_close(Derivative(np.array([0.0, 2.0]), -1)(f), torch.tensor([[2.0, 2.0]]))
    assert Derivative(np.array([5.0]), -1)(torch.ones(3, 1)).tolist() == [[0.0]] * 3


def test_a_large_constant_costs_nothing_in_float32() -> None:
    x = np.array([0.0, 1.1, 2.7, 4.4, 5.0])
    assert torch.equal(Derivative(x, -1)(torch.full((5,), 123456.7)), torch.zeros(5))


def test_terms_follow_the_state_and_serve_training_after_sampling() -> None:
    terms = Terms(a=np.array([1.0, 2.0]))
    with torch.inference_mode():
        terms.like(torch.zeros(1))
    f = torch.ones(2, requires_grad=True)
    (f * terms.like(f)["a"]).sum().backward()  # fails on an inference tensor
    assert f.grad is not None
    assert f.grad.tolist() == [1.0, 2.0]
    assert terms.like(torch.zeros(1, dtype=torch.float64))["a"].dtype == torch.float64
    assert terms.like(f)["a"] is terms.like(torch.zeros(3))["a"]
