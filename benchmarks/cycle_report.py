"""Table and picture of cycled experiments from their lines of scores."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.osse_scores import flat_share, rank_counts
from benchmarks.outcome import write

__all__ = ["Scores", "noise_ratios", "read_scores", "write_report"]

SPIN_UP_DAYS = 10
RANKED_DAYS = 2  # between analyses whose ranks count
STEPS_PER_DAY = 4
DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Scores:
    """Lines of scores of T analyses, C channels: ``background``, ``analysis`` and, where there is
    one, ``spread`` and ``crps`` (T, C), and ``ranks`` (T, C, places) of the truth among
    ``members``, which come in ``pairs`` around their mean or not; ``seconds`` and
    ``analysis_seconds`` (T,); ``noise`` [Pa/h] of forecasts
    from ``truth``, ``background``, ``analysis`` and those of other checkpoints (N,), at the
    analyses ``noisy`` (N,) where it was measured."""

    background: np.ndarray
    analysis: np.ndarray
    spread: np.ndarray | None
    crps: np.ndarray | None
    ranks: np.ndarray | None
    members: int
    pairs: bool
    seconds: np.ndarray
    analysis_seconds: np.ndarray
    noise: dict[str, np.ndarray]
    noisy: np.ndarray


def read_scores(path: Path) -> Scores:
    """The scores of a method."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    scores = {
        k: np.array([r[k] for r in records])
        for k in ("background", "analysis", "seconds", "analysis_seconds")
    }

    def optional(name: str) -> np.ndarray | None:
        return np.array([r[name] for r in records]) if name in records[0] else None

    noisy = np.array([i for i, r in enumerate(records) if "noise" in r], int)
    names = records[noisy[0]]["noise"] if noisy.size else ()
    return Scores(
        **scores,
        spread=optional("spread"),
        crps=optional("crps"),
        ranks=optional("ranks") if "members" in records[0] else None,  # else they are counts
        members=records[0].get("members", 0),
        pairs=records[0].get("pairs", False),
        noisy=noisy,
        noise={k: np.array([records[i]["noise"][k] for i in noisy]) for k in names},
    )


def noise_ratios(noise: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Noise over the truth's of everything else in ``noise`` (N,), with 95 % intervals by a
    bootstrap over cases."""
    truth = noise.get("truth", np.zeros(0))
    if not truth.size:
        return {}
    draws = np.random.default_rng(0).integers(0, truth.size, (DRAWS, truth.size))
    found = {}
    for name, values in noise.items():
        low, high = np.percentile(
            values[draws].mean(axis=1) / truth[draws].mean(axis=1), [2.5, 97.5]
        )
        found[name] = {
            "ratio": float(values.mean() / truth.mean()),
            "low": float(low),
            "high": float(high),
            "cases": truth.size,
        }
    return {name: row for name, row in found.items() if name != "truth"}


def write_report(folder: Path) -> None:
    """``cycles.md``, ``cycles.json`` and ``cycles.png`` of every method in ``folder``; intervals by
    a bootstrap over days."""
    scores = {p.stem: read_scores(p) for p in sorted(folder.glob("*.jsonl")) if p.stat().st_size}
    length = min(len(s.analysis) for s in scores.values())
    first = (
        SPIN_UP_DAYS * STEPS_PER_DAY if length > 2 * SPIN_UP_DAYS * STEPS_PER_DAY else length // 2
    )
    rows = {name: _row(s, slice(first, length)) for name, s in scores.items()}
    rows = dict(sorted(rows.items(), key=lambda item: item[1]["analysis"]))
    lines = [
        "| method | analysis | 95 % | background (6 h) | spread/skill | CRPS | flat ranks "
        "| s/cycle | s/analysis | noise: analysis | background |"
    ]
    lines.append("|---" * 11 + "|")
    for name, row in rows.items():
        noise = row["noise"]
        lines.append(
            f"| {name} | {row['analysis']:.3f} | {row['low']:.3f}–{row['high']:.3f} | "
            f"{row['background']:.3f} | {_known(row['spread_skill'], '.2f')} "
            f"| {_known(row['crps'], '.3f')} | {_known(row['flat_ranks'], '.0%')} "
            f"| {row['seconds']:.1f} | {row['analysis_seconds']:.1f} "
            + (
                f"| {_told(noise['analysis'])} | {noise['background']['ratio']:.3f} |"
                if noise
                else "| | |"
            )
        )
    lines += [
        "",
        f"{length} analyses, the first {first} left out; RMSE over the background-error standard "
        "deviation, mean over channels. "
        "Noise: mean |dps/dt| of forecasts of 24 h over that from the truth.",
    ]
    for name, row in rows.items():
        others = {k: v for k, v in row["noise"].items() if k not in ("analysis", "background")}
        if others:
            told = ", ".join(f"{other} {_told(ratio)}" for other, ratio in others.items())
            own = _told(row["noise"]["analysis"])
            lines += [
                "",
                "Noise of other analyses of the same observations and backgrounds as those of "
                f"{name} ({own}): {told}.",
            ]
    (folder / "cycles.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write(folder / "cycles.json", {"analyses": length, "left_out": first, "methods": rows})
    print("\n".join(lines))
    _picture(folder / "cycles.png", scores)


def _row(scores: Scores, part: slice) -> dict[str, Any]:
    """Means of a method over the analyses of ``part``."""
    analysis = scores.analysis[part].mean(axis=1)
    days = len(analysis) // STEPS_PER_DAY
    low, high, spread, crps, flat = (np.nan,) * 5
    if days:
        by_day = analysis[: days * STEPS_PER_DAY].reshape(days, -1).mean(axis=1)
        draws = np.random.default_rng(0).integers(0, days, (DRAWS, days))
        low, high = np.percentile(by_day[draws].mean(axis=1), [2.5, 97.5])
    if scores.spread is not None:
        spread = float(
            np.mean(
                np.sqrt((scores.spread[part] ** 2).mean(0) / (scores.analysis[part] ** 2).mean(0))
            )
        )
    if scores.crps is not None:
        crps = float(scores.crps[part].mean())
    if scores.ranks is not None:
        found = scores.ranks[part][:: RANKED_DAYS * STEPS_PER_DAY].transpose(1, 2, 0)
        flat = flat_share(rank_counts(found, scores.members), scores.pairs)
    chosen = (scores.noisy >= part.start) & (scores.noisy < part.stop)
    return {
        "analysis": float(analysis.mean()),
        "low": float(low),
        "high": float(high),
        "background": float(scores.background[part].mean()),
        "spread_skill": float(spread),
        "crps": crps,
        "flat_ranks": flat,
        "noise": noise_ratios({k: v[chosen] for k, v in scores.noise.items()}),
        "seconds": float(np.median(scores.seconds)),
        "analysis_seconds": float(np.median(scores.analysis_seconds)),
    }


def _known(value: float, form: str) -> str:
    return "" if np.isnan(value) else f"{value:{form}}"


def _told(ratio: dict[str, float]) -> str:
    return f"{ratio['ratio']:.3f} ({ratio['low']:.3f}–{ratio['high']:.3f})"


def _picture(path: Path, scores: dict[str, Scores]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name, s in scores.items():
        whole = len(s.analysis) // STEPS_PER_DAY * STEPS_PER_DAY
        by_day = s.analysis[:whole].mean(axis=1).reshape(-1, STEPS_PER_DAY).mean(axis=1)
        axes.plot(np.arange(by_day.size) + 0.5, by_day, label=name)
    axes.set(
        xlabel="day",
        ylabel="analysis RMSE over the background-error\nstandard deviation, mean over channels",
        yscale="log",
    )
    axes.grid(True, which="both", alpha=0.3)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend(ncols=2, loc="center right")
    figure.savefig(path, dpi=110)
    plt.close(figure)
