"""The model card: a checkpoint's facts as Markdown, under the headings that model cards have
(Mitchell et al. 2019, arXiv 1810.03993)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phyda_cli.model.description import NATURE_RUN, SCORES

__all__ = ["card", "mean_error_text"]

UNKNOWN = "not recorded in the checkpoint"


def card(facts: dict[str, Any]) -> str:
    """Markdown of :func:`~phyda_cli.model.description.describe`'s ``facts``."""
    sections = {
        "Model details": _details(facts),
        "Intended use": _use(facts),
        "Training data": _data(facts),
        "Evaluation": _evaluation(facts),
        "Limitations": _limitations(facts),
        "How to use": _commands(facts),
        "Licence": _licence(facts),
    }
    text = "\n\n".join(f"## {title}\n\n{body}" for title, body in sections.items())
    return f"# {facts['name']}\n\n{text}\n"


def _items(pairs: Sequence[tuple[str, Any]]) -> str:
    return "\n".join(
        f"- **{name}**: {UNKNOWN if value in (None, '') else value}" for name, value in pairs
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _details(facts: dict[str, Any]) -> str:
    encoder, denoiser = (facts["networks"][name] for name in ("encoder", "denoiser"))
    kind = "U-Net" if denoiser["kind"] == "unet" else denoiser["kind"]
    spread = [facts["networks"]["spread"]] if "spread" in facts["networks"] else []
    lat, lon = (facts["grid"][axis] for axis in ("latitude", "longitude"))
    place = "global" if facts["grid"]["global"] else "limited area"
    solver, sampler = facts["solver"], facts["sampler"]
    vertical = (
        "no limit in the vertical"
        if solver["radius_log_p"] is None
        else f"{solver['radius_log_p']:g} in log pressure"
    )
    levels = [
        ", ".join(f"{p:g}" for p in v["levels_hPa"]) if v["levels_hPa"] else "surface"
        for v in facts["variables"]
    ]
    rows = [
        (v["name"], v["long_name"], v["units"], level)
        for v, level in zip(facts["variables"], levels, strict=True)
    ]
    items = [
        (
            "Kind",
            "static background-error members for a local ensemble-space analysis, an encoder and "
            "a diffusion denoiser (phyda)",
        ),
        (
            "Grid",
            f"{lon['count']}x{lat['count']}, {place}, latitude {lat['first']:g} to "
            f"{lat['last']:g}, longitude {lon['first']:g} to "
            f"{lon['last']:g}, steps {abs(lat['step']):g} and {lon['step']:g} degrees",
        ),
        ("State", f"{facts['channels']} channels, see the table"),
        (
            "Members",
            f"{facts['members']['count']}, valid from {facts['members']['first']} to "
            f"{facts['members']['last']}",
        ),
        ("Localisation", f"{solver['radius_km']:g} km, {vertical}"),
        ("Encoder", f"U-Net of widths {encoder['widths']}, {encoder['parameters']:,} parameters"),
        (
            "Denoiser",
            f"{kind} of widths {denoiser['widths']}, {denoiser['parameters']:,} parameters; "
            f"{sampler['steps']} noise levels",
        ),
        *[
            ("Background spread", f"U-Net of widths {n['widths']}, {n['parameters']:,} parameters")
            for n in spread
        ],
        *[("Mean error of the background", text) for text in [mean_error_text(facts)] if text],
        ("Files", "safetensors and JSON; `phyda model inspect` verifies their SHA-256"),
    ]
    return f"{_items(items)}\n\n{_table(('variable', 'meaning', 'units', 'levels [hPa]'), rows)}"


def mean_error_text(facts: dict[str, Any]) -> str:
    """What the checkpoint does about the mean error of its backgrounds; empty where nothing."""
    known = facts["mean_error"]
    if known is None:
        return ""
    return (
        f"corrected before the analysis, by a regression on {known['patterns']} patterns of the "
        f"background ({known['products']} of them in products) and on the season"
    )


def _use(facts: dict[str, Any]) -> str:
    needs = facts["background"]
    levels = f", with {needs['levels']}" if needs["levels"] else ""
    surface = f"; at the surface {', '.join(needs['surface'])}" if needs["surface"] else ""
    return (
        "Analyses of the atmosphere: a forecast is corrected with observations, and members say "
        "how uncertain the result is. "
        "Not for warnings or decisions without a check against withheld observations of your "
        "own.\n\n"
        f"A background must contain {needs['required']}. To be complete it has the variables of "
        f"the table{levels}{surface}. "
        f"Helpful besides: {', '.join(needs['helpful'])}. {needs['without'].capitalize()}."
    )


def _data(facts: dict[str, Any]) -> str:
    training, settings = facts["training"], facts["training"]["settings"] or {}
    span = (
        f"{training['first']} to {training['last']}"
        if training["first"] and training["last"]
        else None
    )
    return _items(
        [
            ("Source", training["source"]),
            ("Span", span),
            (
                "Pairs of background and truth",
                training["pairs"]
                and f"{training['pairs']:,} ({training['pairs_kind'] or 'kind unknown'})",
            ),
            ("Simulated analysis cases", settings.get("samples")),
            ("Licence of the data", training["data_license"]),
            ("References", training["references"]),
            ("Hardware", training["hardware"]),
        ]
    )


def _evaluation(facts: dict[str, Any]) -> str:
    if not facts["scores"]:
        return f"Validation scores are {UNKNOWN}."
    rows = [(name, f"{value:.4f}", SCORES.get(name, "")) for name, value in facts["scores"].items()]
    return (
        "On the last part of the training span, kept from training, with simulated random "
        "networks:\n\n"
        f"{_table(('score', 'value', 'meaning'), rows)}"
    )


def _limitations(facts: dict[str, Any]) -> str:
    items = [
        "Increments have the resolution of the model grid, whatever that of the background.",
        "Scores are of simulated observations; real errors are correlated and biased.",
        "Spread is calibrated on average over the training's networks and background errors, not "
        "for every case.",
    ]
    if str(facts["training"]["source"] or "").startswith(NATURE_RUN):
        items.insert(
            0,
            "Trained on simulated weather of an intermediate-complexity model, not on the real "
            "atmosphere: train on your own "
            "forecasts and analyses for serious use.",
        )
    if not facts["grid"]["global"]:
        items.append("Only for its area.")
    if facts["not_recorded"]:
        items.append(f"The checkpoint does not record: {', '.join(facts['not_recorded'])}.")
    return "\n".join(f"- {item}" for item in items)


def _commands(facts: dict[str, Any]) -> str:
    own = "" if facts["bundled"] else " --checkpoint CHECKPOINT"
    inspect = "" if facts["bundled"] else " CHECKPOINT"
    return (
        "```bash\n"
        f"phyda assimilate --obs stations.csv --background fc.nc{own} --out analysis.nc\n"
        f"phyda model inspect{inspect}\n"
        "```"
    )


def _licence(facts: dict[str, Any]) -> str:
    return (
        f"Weights: {facts['license'] or UNKNOWN}. Training data: "
        f"{facts['training']['data_license'] or UNKNOWN}."
    )
