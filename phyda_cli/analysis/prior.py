"""What is known before the observations: the background and the covariance of its errors, on the
model grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse

from phyda_cli.analysis.background_scale import BackgroundScale
from phyda_cli.analysis.ensemble_filter import hybrid
from phyda_cli.analysis.localisation import Localisation
from phyda_cli.analysis.reconstruction import Ensemble
from phyda_cli.errors import InputError, UsageError
from phyda_cli.fields.grid import Fields
from phyda_cli.fields.layered import Layered, plane
from phyda_cli.fields.remap import increments_to_fields, to_grid
from phyda_cli.fields.state import StateSpec
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.model.encoder import conditions
from phyda_cli.observations.atmosphere import most_humidity
from phyda_cli.settings.analysis import AnalysisSettings

__all__ = [
    "Forecasts",
    "Prior",
    "add",
    "as_fields",
    "choose_device",
    "corrected",
    "expected_error",
    "in_channel_order",
    "model_background",
    "prior_of_fields",
]


@dataclass(frozen=True, eq=False)
class Forecasts:
    """The members of the user's ensemble; ``centred`` where the background is their mean."""

    members: Sequence[Fields]
    centred: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Prior:
    """Background and B on the model grid; C channels, H x W points.

    ``state`` (C, H, W) is the background in physical units, ``conditions`` (N_CONDITIONS, H, W)
    its place and time as networks see them, and ``available`` (C,) says which channels it really
    has. Increments are normalised by ``unit`` (C, 1, 1), the standard deviation of the background's
    errors; so is ``ensemble``, which B is made of, and so are the ``anomalies`` of the user's own
    ensemble, whose mean is the background where they are ``centred``.
    """

    spec: StateSpec
    state: np.ndarray
    conditions: np.ndarray
    available: np.ndarray
    unit: np.ndarray
    ensemble: Ensemble
    anomalies: Ensemble | None = None
    centred: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        state: np.ndarray,
        spec: StateSpec,
        statics: Mapping[str, np.ndarray],
        time: np.datetime64,
        lead_hours: float,
        ensemble: Ensemble,
    ) -> Prior:
        """A whole background ``state`` (C, H, W) [physical units], valid at ``time``.

        ``statics`` are ``orography`` [m] and ``lsm`` [1], each (H, W)."""
        return cls(
            spec=spec,
            state=state,
            conditions=conditions(
                spec.grid, statics["orography"], statics["lsm"], time, lead_hours
            ),
            available=np.ones(spec.n_channels, bool),
            unit=spec.column("background_std"),
            ensemble=ensemble,
        )

    @classmethod
    def static(
        cls,
        checkpoint: Checkpoint,
        state: np.ndarray,
        time: np.datetime64,
        lead_hours: float,
        where: Localisation | None = None,
    ) -> Prior:
        """The same with the static members of ``checkpoint``, localised as it says or as ``where``
        does."""
        spec = checkpoint.state
        where = where or Localisation.of(spec, checkpoint.metadata.solver)
        ensemble = Ensemble(checkpoint.members(time), where)
        return cls.of(state, spec, checkpoint.statics, time, lead_hours, ensemble)

    @property
    def normalised(self) -> np.ndarray:
        """(x_b - mean) / std of the climate (C, H, W), as networks see it."""
        return normalised(self.state, self.spec)

    @property
    def variables(self) -> list[str]:
        """The variable of each channel."""
        return [c.variable for c in self.spec.channel_list]

    def scaled(self, scale: BackgroundScale) -> Prior:
        """The same with errors ``scale`` times as large: ensembles are normalised, so that only the
        unit changes."""
        factor = scale.of_channels(self.spec.channel_list).astype(np.float32)[:, None, None]
        return replace(self, unit=self.unit * factor)


def normalised(states: np.ndarray, spec: StateSpec) -> np.ndarray:
    """``states`` (..., C, H, W) in standard deviations of the climate from its mean."""
    return np.asarray((states - spec.column("mean")) / spec.column("std"), np.float32)


def choose_device(name: str) -> torch.device:
    """The device called ``auto``, ``cpu`` or ``cuda``. Raises UsageError when CUDA is asked for and
    absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "--device cuda: this machine has no usable CUDA device", hint="use --device auto or cpu"
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def expected_error(
    checkpoint: Checkpoint, state: np.ndarray, time: np.datetime64
) -> np.ndarray | None:
    """Truth minus background (C, H, W) [physical units] as the checkpoint expects it of the
    background ``state`` (C, H, W) alone, where it knows anything."""
    known = checkpoint.mean_error
    return None if known is None else np.asarray(known(state[None], np.array([time]))[0])


def corrected(background: Fields, checkpoint: Checkpoint) -> Fields:
    """``background`` with its expected error taken off, on its own grid; itself where nothing is
    known of that."""
    spec = checkpoint.state
    if checkpoint.mean_error is None:
        return background
    state, _, _ = model_background(background, spec)
    error = expected_error(checkpoint, state, background.time)
    assert error is not None
    return add(background, increments_to_fields(error, spec.channel_list, spec.grid, background))


def add(
    background: Fields, increment: Fields, humid: bool = True, condensing: bool = True
) -> Fields:
    """Background plus increment; variables without one stay as they are. Unless ``humid`` is
    false, humidity is not negative where the background's is not, and with ``condensing`` not
    beyond saturation over water."""

    def level(name: str, k: int) -> np.ndarray:
        values = plane(background.upper, name, k)
        if name not in increment.upper:
            return values
        total = np.asarray(values + plane(increment.upper, name, k))
        if not humid or name != "q":
            return total
        total = np.maximum(total, np.minimum(values, 0.0))
        if not condensing or "t" not in background.upper:
            return total
        before, pressure = plane(background.upper, "t", k), background.levels[k : k + 1]
        return np.minimum(total, most_humidity(values, before, level("t", k), pressure))

    surface = {
        k: v + increment.surface[k] if k in increment.surface else v
        for k, v in background.surface.items()
    }
    upper = Layered(background.upper, background.levels.size, level)
    return replace(background, upper=upper, surface=surface)


def prior_of_fields(
    background: Fields,
    checkpoint: Checkpoint,
    settings: AnalysisSettings,
    forecasts: Forecasts | None = None,
) -> Prior:
    """``background`` on the model grid. B is that of the static members, of ``forecasts``, or of
    both.

    Raises InputError when the background has no channel of the model."""
    spec, solver, own = checkpoint.state, checkpoint.metadata.solver, settings.ensemble
    state, available, notes = model_background(background, spec)
    device = choose_device(settings.device)

    def static() -> torch.Tensor:
        return checkpoint.members(background.time).to(device)

    anomalies = None
    if forecasts is None:
        ensemble = Ensemble(static(), Localisation.of(spec, solver))
    else:
        radii = {n: r for n in ("radius_km", "radius_log_p") if (r := getattr(own, n)) is not None}
        where = Localisation.of(spec, solver.model_copy(update=radii))
        found, more = ensemble_anomalies(forecasts.members, spec)
        members = torch.from_numpy(found).to(device)
        notes += more
        ensemble = anomalies = Ensemble(members, where)
        if settings.method != "letkf":
            ensemble = Ensemble(hybrid(members, static(), own.hybrid_weight), where)
    prior = Prior.of(
        state, spec, checkpoint.statics, background.time, background.lead_hours, ensemble
    )
    return replace(
        prior,
        available=available,
        anomalies=anomalies,
        centred=forecasts is not None and forecasts.centred,
        notes=tuple(notes),
    )


def model_background(fields: Fields, spec: StateSpec) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The background on the model grid: (C, H, W) float32, which channels it really has (C,), and
    notes on what was filled.

    Missing channels, and points outside a limited-area background, take the climatological mean.
    Raises InputError when no channel at all is available.
    """
    values, available = _on_model_grid(fields, spec)
    missing = [key for key, has in zip(spec.channels, available, strict=True) if not has]
    notes = (
        [f"not in the background, climatology used as network input: {', '.join(missing)}"]
        if missing
        else []
    )
    gaps = np.isnan(values[available])
    outside = gaps.all(axis=0)
    if lacking := int((gaps.any(axis=0) & ~outside).sum()):
        notes.append(
            f"{lacking} of {outside.size} points of the model grid hold climatology where the "
            "background is missing"
        )
    if outside.any():
        notes.append(
            f"{outside.mean():.0%} of the model grid lies outside the background and holds "
            "climatology"
        )
    return (
        np.where(np.isnan(values), spec.column("mean"), values).astype(np.float32),
        available,
        notes,
    )


def _on_model_grid(fields: Fields, spec: StateSpec) -> tuple[np.ndarray, np.ndarray]:
    """Values (C, H, W), NaN where ``fields`` have none, and which channels there are (C,).
    InputError when there is none."""
    values, available = to_grid(fields, spec.channel_list, spec.grid)
    if not available.any():
        found = sorted({c.key for c in fields.channels})
        if {c.key for c in spec.channel_list} & set(found):
            raise InputError(
                "the background covers no point of the model's grid, whose points are "
                f"{spec.grid.spacing:.3g} degrees apart",
                hint="take a forecast of a larger area, or a checkpoint trained for this region",
            )
        raise InputError(
            "the background shares no level and variable with the model; found "
            f"{', '.join(found[:12])}; "
            f"the model works on {', '.join(spec.channels)}"
        )
    return values, available


def ensemble_anomalies(members: Sequence[Fields], spec: StateSpec) -> tuple[np.ndarray, list[str]]:
    """Anomalies of N ``members`` about their mean over sqrt(N - 1), in units of s_b, (N, C, H, W)
    float32, and notes.

    Zero where a member lacks a channel or a point, such as outside a limited area or below its
    ground: the others alone would say something else of the error there.
    """
    stack = np.stack([_on_model_grid(member, spec)[0] for member in members])
    missing = np.isnan(stack)
    differing = int((missing.any(axis=0) & ~missing.all(axis=0)).any(axis=0).sum())
    notes = [
        f"{differing} points of the model grid are missing in some members only: the ensemble says "
        "nothing of what is missing there"
    ]
    anomalies = (stack - stack.mean(axis=0)) / spec.column("background_std")
    anomalies = np.nan_to_num(anomalies / np.sqrt(len(members) - 1)).astype(np.float32)
    return anomalies, notes if differing else []


def as_fields(stack: np.ndarray, spec: StateSpec, like: Fields, available: np.ndarray) -> Fields:
    """A channel stack (C, H, W) as fields on the model grid; unavailable (variable, level) slices
    are NaN, as readers do."""
    levels = np.array(sorted({c.pressure for c in spec.channel_list if c.pressure is not None}))
    upper: dict[str, np.ndarray] = {}
    surface: dict[str, np.ndarray] = {}
    for index, channel in enumerate(spec.channel_list):
        if not available[index]:
            continue
        if channel.pressure is None:
            surface[channel.variable] = stack[index]
            continue
        empty = np.full((levels.size, *spec.grid.shape), np.nan, stack.dtype)
        upper.setdefault(channel.variable, empty)[np.searchsorted(levels, channel.pressure)] = (
            stack[index]
        )
    return Fields(spec.grid, like.time, levels, upper, surface, like.lead_hours)


def in_channel_order(
    matrix: sparse.csr_matrix, layout: Fields, spec: StateSpec
) -> sparse.csr_matrix:
    """An operator (P, n) on ``layout.vector()`` as one (P, C*H*W) on the flattened channel
    stack."""
    size = spec.grid.size
    where = {channel: index for index, channel in enumerate(spec.channel_list)}
    start = np.array([where.get(channel, -1) for channel in layout.channels])
    coo = matrix.tocoo()
    target = start[coo.col // size]
    keep = target >= 0
    column = target[keep] * size + coo.col[keep] % size
    return sparse.coo_matrix(
        (coo.data[keep], (coo.row[keep], column)), shape=(matrix.shape[0], spec.n_channels * size)
    ).tocsr()
