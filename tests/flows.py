"""Quantities of a flow that the tests of the derivatives on the sphere look at."""

from __future__ import annotations

from torch import Tensor

from phyda_cli.physics.sphere import VECTOR, Sphere


def vorticity(sphere: Sphere, u: Tensor, v: Tensor) -> Tensor:
    """v_x - u_y + u tan(phi)/a [s-1]."""
    return sphere.ddx(v) - sphere.ddy(u, VECTOR) + u * sphere.curvature(u)


def advection(sphere: Sphere, u: Tensor, v: Tensor, f: Tensor) -> Tensor:
    """The tendency -(u f_x + v f_y) of a scalar that the wind carries [units of f per s]."""
    f_x, f_y = sphere.gradient(f)
    return -(u * f_x + v * f_y)
