"""Table and picture of cycled experiments from their lines of scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_scores", "write_report"]

SPIN_UP_DAYS = 10
STEPS_PER_DAY = 4
DRAWS = 2000
NOISE = ("truth", "background", "analysis")


def read_scores(path: Path) -> dict[str, np.ndarray]:
    """``background``, ``analysis`` and, where there is one, ``spread`` (T, C), ``time``, ``scale`` and ``seconds`` (T,); ``noise`` (T, 3)
    of truth, background and analysis, missing where it was not measured."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = {k: np.array([r[k] for r in records]) for k in records[0] if k != "noise"}
    nothing = dict.fromkeys(NOISE, np.nan)
    return found | {"noise": np.array([[r.get("noise", nothing)[k] for k in NOISE] for r in records])}


def noise_ratio(noise: np.ndarray) -> dict[str, float]:
    """Noise from the analyses and from the backgrounds over the truth's, of ``noise`` (T, 3), with the 95 % interval of the former."""
    known = noise[np.isfinite(noise).all(axis=1)]
    if not known.size:
        return {}
    drawn = known[np.random.default_rng(0).integers(0, len(known), (DRAWS, len(known)))].mean(axis=1)
    low, high = np.percentile(drawn[:, 2] / drawn[:, 0], [2.5, 97.5])
    truth, background, analysis = known.mean(axis=0)
    return {"analysis": analysis / truth, "background": background / truth, "low": float(low), "high": float(high), "cases": len(known)}


def write_report(folder: Path) -> None:
    """``cycles.md``, ``cycles.json`` and ``cycles.png`` of every method in ``folder``; intervals by a bootstrap over days."""
    scores = {p.stem: read_scores(p) for p in sorted(folder.glob("*.jsonl")) if p.stat().st_size}
    length = min(len(s["time"]) for s in scores.values())
    first = SPIN_UP_DAYS * STEPS_PER_DAY if length > 2 * SPIN_UP_DAYS * STEPS_PER_DAY else length // 2
    days = (length - first) // STEPS_PER_DAY
    draws = np.random.default_rng(0).integers(0, max(days, 1), (DRAWS, max(days, 1)))
    rows = {}
    lines = ["| method | analysis | 95 % | background (6 h) | spread/skill | s/cycle | s/analysis | noise: analysis | background |"]
    lines.append("|---" * 9 + "|")
    for name, s in sorted(scores.items(), key=lambda item: item[1]["analysis"][first:length].mean()):
        analysis = s["analysis"][first:length].mean(axis=1)
        by_day = analysis[: days * STEPS_PER_DAY].reshape(days, -1).mean(axis=1) if days else analysis
        low, high = np.percentile(by_day[draws].mean(axis=1), [2.5, 97.5]) if days else (np.nan, np.nan)
        spread = np.nan
        if "spread" in s:
            spread = float(np.mean(np.sqrt((s["spread"][first:length] ** 2).mean(0) / (s["analysis"][first:length] ** 2).mean(0))))
        row: dict[str, Any] = {
            "analysis": float(analysis.mean()), "low": float(low), "high": float(high),
            "background": float(s["background"][first:length].mean()), "spread_skill": float(spread),
            "noise": noise_ratio(s["noise"][first:length]),
            "seconds": float(np.median(s["seconds"])), "analysis_seconds": float(np.median(s["analysis_seconds"])),
        }  # fmt: skip
        rows[name], told = row, " |"
        if ratio := row["noise"]:
            told = f"{ratio['analysis']:.3f} ({ratio['low']:.3f}–{ratio['high']:.3f}) | {ratio['background']:.3f}"
        lines.append(
            f"| {name} | {row['analysis']:.3f} | {row['low']:.3f}–{row['high']:.3f} | {row['background']:.3f} "
            f"| {row['spread_skill']:.2f} | {row['seconds']:.1f} | {row['analysis_seconds']:.1f} | {told} |"
        )
    lines.append("")
    lines.append(
        f"{length} analyses, the first {first} left out; RMSE over the background-error standard deviation, mean over channels. "
        "Noise: mean |dps/dt| of forecasts of 24 h over that from the truth."
    )
    (folder / "cycles.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "cycles.json").write_text(json.dumps({"analyses": length, "left_out": first, "methods": rows}, indent=1), encoding="utf-8")
    print("\n".join(lines))
    _picture(folder / "cycles.png", scores)


def _picture(path: Path, scores: dict[str, dict[str, np.ndarray]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name, s in scores.items():
        whole = len(s["analysis"]) // STEPS_PER_DAY * STEPS_PER_DAY
        by_day = s["analysis"][:whole].mean(axis=1).reshape(-1, STEPS_PER_DAY).mean(axis=1)
        axes.plot(np.arange(by_day.size) + 0.5, by_day, label=name)
    axes.set(xlabel="day", ylabel="analysis RMSE over the background-error\nstandard deviation, mean over channels", yscale="log")
    axes.grid(True, which="both", alpha=0.3)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend(ncols=2, loc="center right")
    figure.savefig(path, dpi=110)
    plt.close(figure)
