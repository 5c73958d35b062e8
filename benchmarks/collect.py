"""``docs/results.json`` from the files that the benchmarks write.

    python -m benchmarks.collect FOLDER [--results docs/results.json]

``FILES`` says which files FOLDER may hold, and which command writes each. A measurement whose file
is there gets new values, and its commit and date. The others stay as they are, and are named. What
the pages show has to be changed by hand: ``tests/test_results.py`` says where.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FILES", "collect", "update"]

Entries = dict[str, dict[str, float]]
Found = dict[str, Entries]
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results.json"
STATION_CASES = {"a": ("gfs", "raw GFS"), "b": ("close", "close background")}
STATION_VARIABLES = ("t2m", "q2m", "u10", "v10", "sp")
PLANTED = {"temperature": "t2m", "humidity": "q2m", "wind": "wind", "pressure": "pressure"}
PERCENT_BELOW = -100.0


def cycles(found: Mapping[str, Any]) -> Found:
    """Of ``cycles.json``: errors of the analysis and the forecast, spread, ranks, and noise."""
    rows = found["methods"]
    noisy = {name: row["noise"]["analysis"]["ratio"] for name, row in rows.items() if row["noise"]}
    phyda, oi = rows["phyda"], rows["oi"]
    gain = 100 * (1 - phyda["analysis"] / oi["analysis"])
    return {
        "cycle": {name: _entry(row["analysis"], row, 3) for name, row in rows.items()},
        "cycle_forecast": {name: _entry(row["background"], {}, 3) for name, row in rows.items()},
        "cycle_spread": {
            name: _entry(row["spread_skill"], {}, 2)
            for name, row in rows.items()
            if np.isfinite(row["spread_skill"])
        },
        "cycle_noise": {name: _entry(ratio, {}, 2) for name, ratio in noisy.items()},
        "cycle_against_oi": {"phyda": _entry(gain, {}, 0)},
        "cycle_crps": {"phyda": _entry(100 * (phyda["crps"] / oi["crps"] - 1), {}, 0)},
        "cycle_flat_ranks": {"phyda": _entry(100 * phyda["flat_ranks"], {}, 0)},
    }


def single(found: Mapping[str, Any]) -> Found:
    """Of ``osse.json``: single analyses of oi and phyda by observing network, noise 1."""
    out: Found = {}
    for row in found["summary"]:
        if row["noise"] != 1 or row["method"] not in ("oi", "phyda"):
            continue
        network, method = row["network"], row["method"]
        out.setdefault(f"single_{method}", {})[network] = _entry(row["ratio"], {}, 3)
        spread = {k: round(row["spread"][k], 2) for k in ("low", "high")}
        out.setdefault(f"single_spread_{method}", {})[network] = spread
        if method == "phyda":
            against = {k: 100 * (v - 1) for k, v in row["against_oi"].items()}
            gain = _entry(against["value"], against, 1)
            out.setdefault("single_against_oi", {})[network] = gain
            out.setdefault("single_crps", {})[network] = _entry(100 * (row["crps"] - 1), {}, 1)
    return out


def limited(name: str, title: str) -> Callable[[Mapping[str, Any]], Found]:
    """Of ``limited-area.json`` of the region ``name``: phyda against oi by number of stations."""

    def read(found: Mapping[str, Any]) -> Found:
        below = {count: found[count]["below_oi"]["phyda"] for count in ("12", "30")}
        values = {
            f"{count} stations": _entry(
                PERCENT_BELOW * row["mean"],
                {  # the highest gain is the lowest number
                    "low": PERCENT_BELOW * row["interval"][1],
                    "high": PERCENT_BELOW * row["interval"][0],
                },
                1,
            )
            for count, row in below.items()
        }
        rounded = {title: _entry(100 * below["12"]["mean"], {}, 0)}
        return {f"region_{name}": values, "region_rounded": rounded}

    return read


def stations(found: Mapping[str, Any]) -> Found:
    """Of ``stations.json``: the RMSE over gridpp's at withheld stations, and the spread."""
    out: Found = {"stations_rounded": {}, "stations_spread": {}}
    for case, (name, title) in STATION_CASES.items():
        rows = {v: found[case][v] for v in STATION_VARIABLES}
        ratios = {v: row["fine"]["rmse"] / row["gridpp"]["rmse"] for v, row in rows.items()}
        ratios["mean"] = float(np.mean(list(ratios.values())))
        out[f"stations_{name}"] = {v: _entry(ratio, {}, 3) for v, ratio in ratios.items()}
        out["stations_rounded"][title] = _entry(100 * (1 - ratios["mean"]), {}, 0)
        spread = [row["fine"]["spread"] for row in rows.values()]
        out["stations_spread"][title] = {
            "low": round(min(spread), 2),
            "high": round(max(spread), 2),
        }
    return out


def regional(found: Mapping[str, Any]) -> Found:
    """Of ``regional.json``: the RMSE of one day by method and field."""
    digits = {"z500": 0, "t850": 2, "msl": 0}
    return {
        f"one_case_{method}": {n: _entry(row[n], {}, d) for n, d in digits.items()}
        for method, row in found["rmse"].items()
    }


def million(found: Mapping[str, Any]) -> Found:
    """Of ``million.json``: seconds and gigabytes of a million observations."""
    whole = found["assimilate"]
    return {
        "cost": {
            "a million observations": _entry(whole["seconds"], {}, 0),
            "a million observations, memory": _entry(np.ceil(whole["peak_mb"] / 1000), {}, 0),
        }
    }


def demo(found: Mapping[str, Any]) -> Found:
    """Of ``cost.json``: seconds and gigabytes of the demo."""
    row = found["demo --members 16"]
    return {
        "cost": {
            "demo": _entry(row["seconds"], {}, 0),
            "demo, memory": _entry(row["peak_mb"] / 1000, {}, 1),
        }
    }


def validation(found: Mapping[str, Any]) -> Found:
    """Of ``model.json``: scores of the bundled weights on cases kept from their training."""
    scores = found["scores"]
    return {"validation": {name: _entry(scores[name], {}, 4) for name in ("oi", "encoder")}}


def planted(found: Mapping[str, Any]) -> Found:
    """Of ``planted.json``: shares of planted errors found, by the check, by default and by SCT."""
    out: Entries = {}
    for group, variable in PLANTED.items():
        for case, (_, title) in STATION_CASES.items():
            rows = found[case][group]
            shares = {
                "spatial check": rows["spatial check, 5"]["found"],
                "defaults": rows["defaults"]["found"],
                "SCT": rows["spatial check, 5"]["SCT"],
            }
            out |= {f"{variable}, {title}, {n}": _entry(100 * v, {}, 0) for n, v in shares.items()}
    return {"planted": out}


def fgat(found: Mapping[str, Any]) -> Found:
    """Of ``fgat.json``: the RMSE over that with simultaneous observations."""
    rows = {name: found[name] for name in ("FGAT", "no FGAT")}
    return {
        "fgat": {
            name: _entry(row["ratio"], dict(zip(("low", "high"), row["bounds"], strict=True)), 3)
            for name, row in rows.items()
        }
    }


# Three dots stand for the inputs: nature runs, stores of pairs, checkpoints; ``--help`` names them.
FILES: dict[str, tuple[str, Callable[[Mapping[str, Any]], Found]]] = {
    "cycles/cycles.json": ("python -m benchmarks.cycles … --out FOLDER/cycles", cycles),
    "osse/osse.json": ("python -m benchmarks.osse … --noises 1 --out FOLDER/osse", single),
    "weurope/limited-area.json": (
        "python -m benchmarks.limited_area weurope … --out FOLDER/weurope",
        limited("weurope", "western Europe"),
    ),
    "iberia/limited-area.json": (
        "python -m benchmarks.limited_area iberia … --out FOLDER/iberia",
        limited("iberia", "Iberia"),
    ),
    "stations.json": ("python -m benchmarks.stations … --json FOLDER/stations.json", stations),
    "regional.json": ("python -m benchmarks.regional … --json FOLDER/regional.json", regional),
    "million.json": ("python -m benchmarks.million --json FOLDER/million.json", million),
    "cost.json": ("python -m benchmarks.cost --json FOLDER/cost.json", demo),
    "planted.json": ("python -m benchmarks.planted … --json FOLDER/planted.json", planted),
    "fgat.json": ("python -m benchmarks.fgat … --json FOLDER/fgat.json", fgat),
    "model.json": ("phyda model inspect --json > FOLDER/model.json", validation),
}


def collect(folder: Path) -> dict[str, tuple[Entries, dict[str, Any]]]:
    """By measurement: what the files in ``folder`` say, and when and of which commit."""
    out: dict[str, tuple[Entries, dict[str, Any]]] = {}
    for name, (_, read) in FILES.items():
        path = folder / name
        if not path.exists():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        origin = {key: found[key] for key in ("commit", "measured") if key in found}
        for measurement, entries in read(found).items():
            values, _ = out.get(measurement, ({}, {}))
            out[measurement] = (values | entries, origin)
    return out


def update(results: dict[str, Any], folder: Path) -> list[str]:
    """Put what ``folder`` holds into ``results``. Returns the measurements that stay as they
    were."""
    found = collect(folder)
    stayed = []
    for measurement in results["measurements"]:
        if measurement["id"] not in found:
            stayed.append(measurement["id"])
            continue
        values, origin = found[measurement["id"]]
        # A method or a region that was not run again keeps its number.
        measurement["values"] |= {k: v for k, v in values.items() if k in measurement["values"]}
        measurement.pop("note", None)
        measurement.update(origin)
    return stayed


def _entry(value: float, bounds: Mapping[str, float], digits: int) -> dict[str, float]:
    """``value`` with its ``bounds``, as the pages show them."""
    named = {"value": value} | {k: bounds[k] for k in ("low", "high") if k in bounds}
    rounded = {k: round(float(v), digits) for k, v in named.items() if np.isfinite(v)}
    return {k: int(v) if digits == 0 else v for k, v in rounded.items()}


def main() -> None:
    """Update the file of results and say what stays as it was."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results = json.loads(arguments.results.read_text(encoding="utf-8"))
    for name, (command, _) in FILES.items():
        state = "read" if (arguments.folder / name).exists() else "not there, from"
        print(f"{name:28} {state}  {command}")
    stayed = update(results, arguments.folder)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    arguments.results.write_text(text + "\n", encoding="utf-8")
    print(f"as before: {', '.join(stayed) or 'nothing'}")


if __name__ == "__main__":
    main()
