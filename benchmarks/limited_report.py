"""Scores of a limited area from the records of single analyses, with intervals over days, as JSON
and Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.outcome import write

__all__ = ["missed", "summary", "write_report"]

METHODS = ("oi", "corrected oi", "phyda")
BARS = {12: 0.22, 30: 0.16}
RATIO = (0.9, 1.1)  # of spread to skill
BLOCK_DAYS, DRAWS = 10, 2000
Records = list[dict[str, Any]]
PARTS = ("square", "prior", "width", "crps")


def summary(records: Records, channels: tuple[str, ...]) -> dict[str, Any]:
    """By number of stations: scores of each of METHODS by channel, and how far their RMSE lies
    below oi's."""
    out: dict[str, Any] = {}
    for count in sorted({r["stations"] for r in records}):
        by_method = {m: _arrays(records, count, m) for m in METHODS}
        times = by_method["oi"][0]
        if not all(np.array_equal(times, found) for found, _ in by_method.values()):
            raise SystemExit("the methods have different days: run the same command again")
        squares = {
            m: np.stack([parts["square"] for parts in (by_method["oi"][1], by_method[m][1])])
            for m in METHODS[1:]
        }
        out[str(count)] = {m: _scores(parts, channels) for m, (_, parts) in by_method.items()} | {
            "days": times.size,
            "first": str(times[0]),
            "last": str(times[-1]),
            "below_oi": {m: _comparison(pair, times, channels) for m, pair in squares.items()},
        }
    return out


def _arrays(records: Records, count: int, method: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Times (n,) in order, and each of PARTS (n, C)."""
    rows = sorted(
        (r for r in records if r["stations"] == count and r["method"] == method),
        key=lambda r: r["time"],
    )
    return np.array([r["time"] for r in rows], "datetime64[s]"), {
        p: np.array([r[p] for r in rows]) for p in PARTS
    }


def _scores(parts: dict[str, np.ndarray], channels: tuple[str, ...]) -> dict[str, dict[str, float]]:
    square, prior, width, crps = (parts[p].mean(axis=0) for p in PARTS)
    table = {
        "mse_over_background": square / prior,
        "rmse": np.sqrt(square),
        "spread_skill": np.sqrt(width / square),
        "crps": crps,
    }
    return {
        name: dict(zip(channels, values.tolist(), strict=True)) for name, values in table.items()
    }


def _comparison(
    squares: np.ndarray, times: np.ndarray, channels: tuple[str, ...]
) -> dict[str, Any]:
    by_channel = _below(squares.sum(axis=1))
    return {
        "channels": dict(zip(channels, by_channel.tolist(), strict=True)),
        "mean": float(by_channel.mean()),
        "interval": _interval(squares, times),
    }


def _below(squares: np.ndarray) -> np.ndarray:
    """One minus the ratio of RMSE, from sums of squares (2, ..., C) of oi and another method."""
    return np.asarray(1 - np.sqrt(squares[1] / squares[0]))


def _interval(squares: np.ndarray, times: np.ndarray) -> list[float]:
    """95 % interval of the mean over channels of :func:`_below`, by bootstrap over blocks of days;
    ``squares`` (2, n, C)."""
    _, block = np.unique((times - times[0]) // np.timedelta64(BLOCK_DAYS, "D"), return_inverse=True)
    sums = np.stack([squares[:, block == b].sum(axis=1) for b in range(block.max() + 1)], axis=1)
    drawn = np.random.default_rng(0).integers(0, sums.shape[1], (DRAWS, sums.shape[1]))
    return np.quantile(_below(sums[:, drawn].sum(axis=2)).mean(axis=1), (0.025, 0.975)).tolist()


def missed(result: dict[str, Any]) -> list[str]:
    """The bars that are missed."""
    out = []
    for count, row in result.items():
        below = row["below_oi"]["phyda"]["mean"]
        if below < BARS[int(count)]:
            out.append(f"{count} stations: {below:.1%} below oi, not {BARS[int(count)]:.0%}")
        for channel, ratio in row["phyda"]["spread_skill"].items():
            if not RATIO[0] <= ratio <= RATIO[1]:
                out.append(f"{count} stations: spread over skill of {channel} {ratio:.2f}")
    return out


def write_report(folder: Path, result: dict[str, Any], name: str) -> None:
    """``limited-area.json`` and ``limited-area.md``."""
    write(folder / "limited-area.json", result)
    channels = list(next(iter(result.values()))["oi"]["rmse"])
    lines = [
        f"{name}: {' / '.join(channels)}; CRPS in SI units",
        "",
        "| stations | method | mse over background's | rmse below oi | spread/skill | CRPS |",
        "|---|---|---|---|---|---|",
    ]

    def cells(values: dict[str, float], form: str) -> str:
        return " / ".join(format(v, form) for v in values.values())

    for count, row in result.items():
        for method in METHODS:
            scores, below = row[method], ""
            if method in row["below_oi"]:
                found = row["below_oi"][method]
                low, high = found["interval"]
                below = (
                    f"{cells(found['channels'], '.1%')}, mean **{found['mean']:.1%}** "
                    f"({low:.1%}–{high:.1%})"
                )
            lines.append(
                f"| {count} | {method} | {cells(scores['mse_over_background'], '.3f')} | {below} | "
                f"{cells(scores['spread_skill'], '.2f')} | {cells(scores['crps'], '.3g')} |"
            )
    days = next(iter(result.values()))
    lines += ["", f"{days['days']} days from {days['first'][:10]} to {days['last'][:10]}."]
    (folder / "limited-area.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
