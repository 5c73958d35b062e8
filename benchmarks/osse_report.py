"""Rows and table of the observing-system simulation experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.methods import METHODS
from benchmarks.osse_cost import costs
from benchmarks.osse_scores import flat_share
from benchmarks.outcome import write
from phyda_cli.model.checkpoint import Checkpoint
from phyda_cli.verification.significance import bounds_of, resampled_ratios

__all__ = ["write_report"]

Record = dict[str, Any]
DRAWS = 2000


class Group:
    """The analyses of one network and noise; sums over the cases that a bootstrap draws."""

    def __init__(self, records: list[Record], variables: list[str]) -> None:
        self.by_method: dict[str, dict[int, Record]] = {}
        for r in records:
            self.by_method.setdefault(r["method"], {})[r["case"]] = r
        self.variables = np.array(variables)

    def cases(self, method: str) -> np.ndarray:
        """The case numbers of ``method``."""
        return np.array(sorted(self.by_method[method]))

    def stack(self, method: str, name: str, cases: np.ndarray) -> np.ndarray:
        """``name`` of ``method`` for ``cases`` (n, C)."""
        return np.array([self.by_method[method][c][name] for c in cases.tolist()])

    def rmse(self, method: str, cases: np.ndarray) -> np.ndarray:
        """RMSE over the background's by channel (C,)."""
        return np.sqrt(
            self.stack(method, "square", cases).mean(0) / self.stack(method, "prior", cases).mean(0)
        )

    def draws(self, method: str, cases: np.ndarray) -> np.ndarray:
        """The same in resamples of the cases (DRAWS, C), which lie days apart."""
        square, prior = (self.stack(method, name, cases) for name in ("square", "prior"))
        return resampled_ratios(square, prior, block=1, count=DRAWS)

    def against_oi(self, method: str) -> tuple[float, float, float]:
        """Ratio of the RMSE, averaged over channels, to that of oi on the same cases, with its 95 %
        interval over cases."""
        cases = self.cases(method)
        ours, theirs = (self.draws(m, cases).mean(1) for m in (method, "oi"))
        low, high = bounds_of(ours / theirs)
        return (
            float(self.rmse(method, cases).mean() / self.rmse("oi", cases).mean()),
            float(low),
            float(high),
        )

    def worst_variable(self, method: str) -> tuple[str, float]:
        """The variable whose RMSE, averaged over its levels, is highest against oi's, and that
        ratio."""
        cases = self.cases(method)
        ours, theirs = self.rmse(method, cases), self.rmse("oi", cases)
        ratios = {
            v: float(ours[self.variables == v].mean() / theirs[self.variables == v].mean())
            for v in np.unique(self.variables)
        }
        worst = max(ratios, key=lambda v: ratios[v])
        return worst, ratios[worst]

    def spread_skill(self, method: str) -> dict[str, float]:
        """By variable: root of the mean square spread over that of the error."""
        cases = self.cases(method)
        width, square = (
            self.stack(method, "width", cases).mean(0),
            self.stack(method, "square", cases).mean(0),
        )
        return {
            v: float(
                np.sqrt(width[self.variables == v].mean() / square[self.variables == v].mean())
            )
            for v in np.unique(self.variables)
        }

    def crps(self, method: str) -> float:
        """CRPS over that of oi on the same cases, mean over channels."""
        cases = self.cases(method)
        return float(
            (
                self.stack(method, "crps", cases).mean(0) / self.stack("oi", "crps", cases).mean(0)
            ).mean()
        )

    def flat_ranks(self, method: str) -> float:
        """Share of the variables with a flat rank histogram."""
        cases = self.cases(method)
        if "ranks" not in self.by_method[method][cases[0]]:
            return float("nan")
        counts = self.stack(method, "ranks", cases).sum(0)
        # levels of one place are not independent
        each = [counts[self.variables == v].mean(0) for v in np.unique(self.variables)]
        return flat_share(np.stack(each), METHODS[method].networks != "none")

    def residuals(self, method: str) -> dict[str, float]:
        """By equation: rms residual over the truth's, layers averaged."""
        cases = self.cases(method)
        out = {}
        for name in self.by_method[method][cases[0]]["residual"]:
            values = np.array(
                [self.by_method[method][c]["residual"][name] for c in cases.tolist()]
            ).mean(0)
            out[name] = float(np.sqrt((values[0] / values[1]).mean()))
        return out


def rows_of(
    group: Group,
    network: str,
    noise: float,
    checkpoint: Checkpoint,
    cost: dict[str, dict[str, float]],
) -> list[Record]:
    """One row for each method, variable and level."""
    rows = []
    unit = checkpoint.state.column("background_std").ravel()
    for method in group.by_method:
        cases = group.cases(method)
        square, prior, width, crps = (
            group.stack(method, k, cases).mean(0) for k in ("square", "prior", "width", "crps")
        )
        shared = {
            "network": network,
            "noise": noise,
            "method": method,
            "cases": int(cases.size),
            "residual_ratio": group.residuals(method),
            "seconds": float(
                np.median([group.by_method[method][c]["seconds"] for c in cases.tolist()])
            ),
            "peak_mb": cost.get(method, {}).get("peak_mb"),
        }
        low, high = bounds_of(group.draws(method, cases))
        for i, channel in enumerate(checkpoint.state.channel_list):
            rows.append(
                shared
                | {
                    "variable": channel.variable,
                    "level": channel.level,
                    "rmse": float(np.sqrt(square[i]) * unit[i]),
                    "ratio": float(np.sqrt(square[i] / prior[i])),
                    "ratio_low": float(low[i]),
                    "ratio_high": float(high[i]),
                    "crps": float(crps[i] * unit[i]),
                    "spread_skill": float(np.sqrt(width[i] / square[i])),
                }
            )
    return rows


def summary_of(group: Group, method: str) -> Record:
    """What the table shows of ``method``, averaged over channels."""
    spread = list(group.spread_skill(method).values())
    return {
        "method": method,
        "ratio": float(group.rmse(method, group.cases(method)).mean()),
        "against_oi": dict(zip(("value", "low", "high"), group.against_oi(method), strict=True)),
        "crps": group.crps(method),
        "spread": {"low": min(spread), "high": max(spread)},
    }


def table_of(group: Group) -> list[str]:
    """Lines of Markdown, a row for each method."""
    equations = list(group.residuals("oi"))
    head = [
        "method",
        "cases",
        "RMSE / background",
        "RMSE / oi (95 %)",
        "worst variable / oi",
        "CRPS / oi",
        "spread/skill",
        "flat ranks",
    ]
    lines = [
        "| " + " | ".join([*head, *equations, "s"]) + " |",
        "|---" * (len(head) + len(equations) + 1) + "|",
    ]
    for method in sorted(group.by_method, key=lambda m: -group.rmse(m, group.cases(m)).mean()):
        cases = group.cases(method)
        ratio, low, high = group.against_oi(method)
        worst, by = group.worst_variable(method)
        spread = group.spread_skill(method).values()
        seconds = np.median([group.by_method[method][c]["seconds"] for c in cases.tolist()])
        ranks = group.flat_ranks(method)
        cells = [
            method,
            str(cases.size),
            f"{group.rmse(method, cases).mean():.3f}",
            f"{ratio:.3f} ({low:.3f}–{high:.3f})",
            f"{worst} {by:.3f}",
            f"{group.crps(method):.3f}",
            f"{min(spread):.2f}–{max(spread):.2f}" if max(spread) else "",
            "" if np.isnan(ranks) else f"{100 * ranks:.0f} %",
        ]
        lines.append(
            "| "
            + " | ".join(
                [*cells, *(f"{v:.2f}" for v in group.residuals(method).values()), f"{seconds:.1f}"]
            )
            + " |"
        )
    return lines


def write_report(out: Path, records: list[Record], checkpoint: Checkpoint) -> None:
    """``osse.json`` and ``osse.md`` in ``out``, the latter printed too."""
    variables = [c.variable for c in checkpoint.state.channel_list]
    cost = costs(checkpoint.path)
    rows: list[Record] = []
    summaries: list[Record] = []
    lines = [f"# Single analyses, model {checkpoint.metadata.name}", ""]
    for network, noise in dict.fromkeys((r["network"], r["noise"]) for r in records):
        group = Group(
            [r for r in records if (r["network"], r["noise"]) == (network, noise)], variables
        )
        if "oi" not in group.by_method:
            continue
        rows += rows_of(group, network, noise, checkpoint, cost)
        summaries += [
            {"network": network, "noise": noise, **summary_of(group, m)} for m in group.by_method
        ]
        lines += [f"## {network}, noise x{noise:g}", "", *table_of(group), ""]
    lines += ["## Cost", "", "| method | seconds | peak MB |", "|---|---|---|"]
    lines += [f"| {m} | {c['seconds']:.2f} | {c['peak_mb']:.0f} |" for m, c in cost.items()]
    (out / "osse.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write(
        out / "osse.json",
        {"model": checkpoint.metadata.name, "cost": cost, "summary": summaries, "rows": rows},
    )
    print("\n".join(lines))
