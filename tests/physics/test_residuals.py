"""The set of residuals: what is there, masks and weights, precision, order of levels and rows,
gradients, faults."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flows import advection

from phyda_cli.errors import InputError
from phyda_cli.fields.grid import Grid
from phyda_cli.physics.residuals import RESIDUAL_UNITS, Residuals

LEVELS = np.array([50.0, 100, 200, 300, 500, 700, 850, 925]) * 100
GRID = Grid(np.linspace(-87.1875, 87.1875, 32), np.arange(64) * 5.625)
State = dict[str, torch.Tensor]


def weather(
    levels: np.ndarray = LEVELS, grid: Grid = GRID, batch: tuple[int, ...] = (2,), seed: int = 0
) -> State:
    """Smooth random fields of realistic size around a standard atmosphere, float64."""
    generator = torch.Generator().manual_seed(seed)
    lat, lon = (torch.tensor(np.deg2rad(a)) for a in grid.mesh)
    height = torch.tensor(-7000 * np.log(levels / 1e5))[:, None, None]
    basis = torch.stack(
        [
            torch.cos(lat) ** m * torch.sin(lat) ** e * torch.cos(m * lon + e + m)
            for m in (1, 2, 5)
            for e in (0, 1)
        ]
    )

    def field(mean: torch.Tensor | float, amplitude: float) -> torch.Tensor:
        noise = torch.randn(
            *batch, levels.size, len(basis), generator=generator, dtype=torch.float64
        )
        return mean + amplitude * torch.einsum("...lk,khw->...lhw", noise, basis)

    return {
        "z": field(9.8 * height, 800.0),
        "t": field(288 - 0.005 * height, 8.0),
        "u": field(10 * torch.cos(lat), 10.0),
        "v": field(0.0, 10.0),
        "q": field(0.01 * torch.exp(-height / 2500), 1e-3) * torch.exp(-height / 2500),
    }


def test_all_residuals_of_a_full_state() -> None:
    fields = Residuals(LEVELS, GRID)(**weather())
    expected = {name: 8 for name in ("momentum_u", "momentum_v", "thermodynamic", "moisture")} | {
        "hydrostatic": 7,
        "mass": 1,
    }
    assert {name: f.shape for name, f in fields.items()} == {
        n: (2, layers, 32, 64) for n, layers in expected.items()
    }
    assert set(fields) < set(RESIDUAL_UNITS)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("zt", {"hydrostatic"}),
        ("ztq", {"hydrostatic"}),
        ("uv", {"mass"}),
        ("zuv", {"mass", "momentum_u", "momentum_v"}),
        ("tuv", {"mass", "thermodynamic"}),
        ("uvq", {"mass", "moisture"}),
        ("zu", set()),
        ("", set()),
    ],
)
def test_what_the_inputs_do_not_allow_is_left_out(given: str, expected: set[str]) -> None:
    state = weather()
    full = Residuals(LEVELS, GRID)(**state)
    part = Residuals(LEVELS, GRID)(**{n: state[n] for n in given})
    assert set(part) == expected
    for name in set(part) - {"hydrostatic"}:
        torch.testing.assert_close(part[name], full[name])


def test_a_single_level_is_horizontal() -> None:
    state = weather(np.array([50000.0]))
    fields = Residuals(np.array([50000.0]), GRID)(**state)
    assert set(fields) == {"momentum_u", "momentum_v", "thermodynamic", "moisture"}
    sphere = Residuals(LEVELS, GRID).sphere
    torch.testing.assert_close(
        fields["thermodynamic"], advection(sphere, state["u"], state["v"], state["t"])
    )


def test_masks_and_weights() -> None:
    residuals = Residuals(LEVELS, GRID)
    assert residuals.mask.shape == residuals.weights.shape == (32, 64)
    assert residuals.weights.sum().item() == pytest.approx(1)
    ones = torch.ones(3, 8, 32, 64)
    polar, tropical, elsewhere = (
        torch.tensor(np.isin(np.arange(32), rows))[:, None] for rows in ([0, 31], [15, 16], [8])
    )
    for name, counted, ignored in (
        ("momentum_u", tropical | elsewhere, polar),
        ("geostrophic_u", elsewhere, polar | tropical),
        ("gradient", elsewhere, polar | tropical),
    ):
        assert residuals.mean_square({name: ones * 2})[name].tolist() == pytest.approx([4, 4, 4])
        assert residuals.mean_square({name: ones * ignored})[name].tolist() == [0, 0, 0]
        assert (residuals.mean_square({name: ones * counted})[name] > 0).all()
    row = residuals.mean_square({"mass": ones[:, :1] * elsewhere})["mass"][0].item()
    assert row == pytest.approx(64 * residuals.weights[8, 0].item())


def test_mean_square_by_layer() -> None:
    residuals = Residuals(LEVELS, GRID)
    fields = residuals(**weather())
    by_layer, overall = residuals.mean_square(fields, by_layer=True), residuals.mean_square(fields)
    assert by_layer["hydrostatic"].shape == (2, 7)
    assert overall["hydrostatic"].shape == (2,)
    torch.testing.assert_close(by_layer["moisture"].mean(-1), overall["moisture"])


def test_geostrophic_grid_entirely_in_the_tropics_counts_nothing() -> None:
    grid = Grid(np.linspace(-15, 15, 7), np.linspace(0, 30, 7))
    state = weather(LEVELS, grid)
    residuals = Residuals(LEVELS, grid)
    departures = residuals.balance(state["z"], state["u"], state["v"])
    assert all(f.isfinite().all() for f in departures.values())  # the grid has a row on the equator
    assert residuals.mean_square(departures)["geostrophic_u"].tolist() == [0, 0]


def test_order_of_levels_and_rows_does_not_matter() -> None:
    state = weather()
    expected = Residuals(LEVELS, GRID)(**state)
    upside_down = Residuals(LEVELS[::-1].copy(), GRID)(**{n: f.flip(-3) for n, f in state.items()})
    north_first = Residuals(LEVELS, Grid(GRID.latitude[::-1].copy(), GRID.longitude))(
        **{n: f.flip(-2) for n, f in state.items()}
    )
    for name, field in expected.items():
        torch.testing.assert_close(upside_down[name].flip(-3), field)
        torch.testing.assert_close(north_first[name].flip(-2), field)


def test_leading_dimensions_are_batch_dimensions() -> None:
    residuals, state = Residuals(LEVELS, GRID), weather(batch=(2, 3))
    batched, single = residuals(**state), residuals(**{n: f[1, 2] for n, f in state.items()})
    for name, field in single.items():
        torch.testing.assert_close(batched[name][1, 2], field)


def test_float32_agrees_with_float64() -> None:
    """The rounding of the inputs themselves (0.008 m2 s-2 in z at 50 hPa) stays far below any
    residual of real weather."""
    residuals, state = Residuals(LEVELS, GRID), weather()
    exact, single = residuals(**state), residuals(**{n: f.float() for n, f in state.items()})
    for name, scale in residuals.mean_square(exact).items():
        error = residuals.mean_square({name: single[name].double() - exact[name]})[name]
        assert single[name].dtype == torch.float32
        assert (error.sqrt() < 1e-4 * scale.sqrt()).all(), name


def test_autocast_and_half_precision_inputs_are_computed_in_float32() -> None:
    residuals, state = Residuals(LEVELS, GRID), {n: f.float() for n, f in weather().items()}
    expected = residuals(**state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = residuals(**state)
    for name, field in expected.items():
        torch.testing.assert_close(under_autocast[name], field)
    assert (
        residuals(u=state["u"].bfloat16(), v=state["v"].bfloat16())["mass"].dtype == torch.float32
    )


def test_gradients_reach_every_input() -> None:
    residuals = Residuals(LEVELS, GRID)
    state = {n: f.float().requires_grad_() for n, f in weather().items()}
    squares = residuals.mean_square(residuals(**state))
    for name, inputs in {
        "hydrostatic": "ztq",
        "mass": "uv",
        "momentum_u": "zuv",
        "momentum_v": "zuv",
        "thermodynamic": "tuv",
        "moisture": "uvq",
    }.items():
        gradients = torch.autograd.grad(
            squares[name].sum(), [state[n] for n in inputs], retain_graph=True
        )
        for gradient in gradients:
            assert gradient.isfinite().all()
            assert gradient.abs().max() > 0


def test_gradients_are_exact() -> None:
    grid = Grid(np.array([-67.5, -22.5, 22.5, 67.5]), np.arange(6) * 60.0)
    levels = np.array([20000.0, 50000.0, 85000.0])
    residuals, state = Residuals(levels, grid), weather(levels, grid, batch=(1,))
    scale = {
        "hydrostatic": 1e3,
        "mass": 1.0,
        "momentum_u": 1e-3,
        "momentum_v": 1e-3,
        "thermodynamic": 1e-4,
        "moisture": 1e-7,
    }

    def scaled(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(f / scale[n] for n, f in residuals(*inputs).items())

    inputs = tuple(state[n].requires_grad_() for n in "ztuvq")
    assert torch.autograd.gradcheck(scaled, inputs, eps=1e-5, atol=1e-4, rtol=1e-3, fast_mode=True)


def test_wrong_shape_names_the_variable() -> None:
    state = weather()
    with pytest.raises(
        InputError, match=r"u: expected shape \(\.\.\., 8, 32, 64\), found \(2, 7, 32, 64\)"
    ):
        Residuals(LEVELS, GRID)(u=state["u"][:, 1:], v=state["v"])


def test_a_grid_without_rows_off_the_poles_is_refused() -> None:
    with pytest.raises(InputError, match="no row away from the poles"):
        Residuals(LEVELS, Grid(np.array([-45.0, 45.0]), np.arange(8) * 45.0))
