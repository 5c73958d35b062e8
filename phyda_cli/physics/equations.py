"""The primitive equations in pressure coordinates on the sphere, one small function each.

Source: Holton & Hakim (2013), An Introduction to Dynamic Meteorology, chapters 1-3. All fields are
(..., L, H, W) in SI units.
"""

from __future__ import annotations

import torch
from torch import Tensor

from phyda_cli.constants import KAPPA, R_D
from phyda_cli.physics.column import Column
from phyda_cli.physics.sphere import VECTOR, Sphere

__all__ = [
    "geostrophic_departure",
    "gradient_departure",
    "hydrostatic",
    "mass",
    "momentum",
    "thermodynamic",
    "transport",
]

CALM = 1e-6  # m s-1


def hydrostatic(column: Column, z: Tensor, tv: Tensor) -> Tensor:
    """Thickness less the hypsometric one, [Phi_k - Phi_k+1] - R_d mean(T_v) ln(p_k+1/p_k), per
    layer [m2 s-2].

    ``z`` is geopotential, ``tv`` virtual temperature [K]; k is the upper level and the mean is
    trapezoidal in ln p, exact where T_v is linear in ln p. Layers are in the order of the levels
    (..., L-1, H, W).
    """
    return column.thickness(z) - R_D * column.log_pressure_integral(tv)


def mass(column: Column, divergence: Tensor) -> Tensor:
    """Divergence of the mass of the whole column, integral of D dp [Pa s-1] (..., 1, H, W).

    Its negative is the tendency of surface pressure over flat ground; real columns are balanced to
    some hundredths.
    """
    return column.integral(divergence)


def transport(u: Tensor, v: Tensor, omega: Tensor, f_x: Tensor, f_y: Tensor, f_p: Tensor) -> Tensor:
    """Tendency by advection in three dimensions, -(u f_x + v f_y + omega f_p) [units of f per s].

    For specific humidity this is the moisture equation without sources.
    """
    return -(u * f_x + v * f_y + omega * f_p)


def momentum(
    sphere: Sphere,
    u: Tensor,
    v: Tensor,
    transport_u: Tensor,
    transport_v: Tensor,
    z_x: Tensor,
    z_y: Tensor,
) -> tuple[Tensor, Tensor]:
    """Wind tendencies of frictionless flow [m s-2], from the components' :func:`transport`.

    u_t = -u u_x - v u_y - omega u_p + (f + u tan(phi)/a) v - Phi_x
    v_t = -u v_x - v v_y - omega v_p - (f + u tan(phi)/a) u - Phi_y

    Curvature terms in w and the Coriolis terms in cos(phi) are left out together, as the primitive
    equations require.
    """
    rotation = sphere.coriolis(u) + u * sphere.curvature(u)
    return transport_u + rotation * v - z_x, transport_v - rotation * u - z_y


def thermodynamic(column: Column, t: Tensor, omega: Tensor, transport_t: Tensor) -> Tensor:
    """Adiabatic temperature tendency -V.grad T - omega (T_p - kappa T/p) [K s-1], from
    :func:`transport` of ``t``; kappa of dry air."""
    return transport_t + KAPPA * omega * t / column.pressure(t)


def geostrophic_departure(
    sphere: Sphere, u: Tensor, v: Tensor, z_x: Tensor, z_y: Tensor
) -> tuple[Tensor, Tensor]:
    """Wind less the geostrophic wind, (u + Phi_y/f, v - Phi_x/f) [m s-1]; zero on the equator
    itself, where f is.

    Only meaningful outside the tropics.
    """
    inverse, known = _inverse_coriolis(sphere, u)
    return (u + z_y * inverse) * known, (v - z_x * inverse) * known


def gradient_departure(sphere: Sphere, u: Tensor, v: Tensor, z_x: Tensor, z_y: Tensor) -> Tensor:
    """Wind speed less the speed that balances its own curvature, V + (Phi_n + kappa V^2)/f [m s-1],
    n to the left of the wind.

    kappa V^2 = n.(V.grad)V is the centripetal acceleration along streamlines, which are
    trajectories only where the flow is steady. Gradient balance has no departure; otherwise it is
    (V - V_g)(1 + kappa (V + V_g)/f) for the root V_g of the gradient wind equation, and exists also
    where that has none (sharp anticyclones). Calm air, which has no direction, and the equator have
    zero. Only meaningful outside the tropics. Source: Holton & Hakim (2013), section 3.2.
    """
    (u_x, v_x), (u_y, v_y) = sphere.gradient(torch.stack([u, v]), VECTOR)
    inverse, known = _inverse_coriolis(sphere, u)
    speed = torch.hypot(u, v)
    calm = speed < CALM
    across = u * (u * v_x + v * v_y + z_y) - v * (u * u_x + v * u_y + z_x)
    normal = across / speed.masked_fill(calm, 1.0) + u * speed * sphere.curvature(u)
    return (speed + normal * inverse) * known * ~calm


def _inverse_coriolis(sphere: Sphere, like: Tensor) -> tuple[Tensor, Tensor]:
    """1/f (H, 1) [s], and where it exists: not on the equator."""
    f = sphere.coriolis(like)
    equator = f.abs() < 1e-8
    return 1 / f.masked_fill(equator, 1.0), ~equator
