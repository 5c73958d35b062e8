"""One offline page about an analysis: the verdict and what it rests on first, all else folded.

The page needs no network and no script, holds file names but no paths, and is the same for the same
input.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from phyda_cli.files.publish import publish_text
from phyda_cli.settings.verification import VerificationSettings
from phyda_cli.verification.collect import Inputs
from phyda_cli.verification.collected import Collected
from phyda_cli.verification.examine import Examination, examine
from phyda_cli.verification.history import control_limits
from phyda_cli.verification.largest import largest_increments
from phyda_cli.verification.limits import Broken
from phyda_cli.verification.page import render_page
from phyda_cli.verification.readable import READABLE
from phyda_cli.verification.report_blocks import Section
from phyda_cli.verification.report_sections import rejections, sections_of
from phyda_cli.verification.screen import number
from phyda_cli.verification.station_health import StationRow
from phyda_cli.verification.summary import Headline, span_of
from phyda_cli.verification.tidy import Row

__all__ = ["render", "report_on", "write_report"]

MOST_SUSPICIOUS = 10


def report_on(
    path: Path,
    inputs: Inputs,
    settings: VerificationSettings | None = None,
    overwrite: bool = False,
) -> None:
    """Read the files of a run and write the page about them. Raises InputError, OutputError."""
    settings = settings or VerificationSettings()
    examination = examine(inputs, settings, physics="where possible")
    write_report(path, examination, history=settings.history, overwrite=overwrite)


def write_report(
    path: Path,
    examination: Examination,
    broken: Sequence[Broken] = (),
    history: int = 30,
    overwrite: bool = False,
) -> None:
    """Write what :func:`render` makes. Raises OutputError."""
    publish_text(path, render(examination, broken, history), overwrite)


def render(examination: Examination, broken: Sequence[Broken] = (), history: int = 30) -> str:
    """The page as HTML."""
    found, rows, head = examination.collected, examination.rows, examination.headline
    stations = examination.stations
    sections = sections_of(found, rows, stations, examination.card, examination.physics, history)
    suspicious = [s for s in stations if s.reasons]
    return render_page(
        "report.html.j2",
        title=f"Analysis of {span_of(head.times)}",
        head=_head(found, head, broken),
        withheld=_withheld(rows),
        used=_used(found, head, history),
        fields_line=_field_lines(head),
        increments=[i.as_cells() for i in largest_increments(found)],
        suspicious=[
            {"station": s.station, "variable": s.variable, "reasons": "; ".join(s.reasons)}
            for s in suspicious[:MOST_SUSPICIOUS]
        ],
        more_suspicious=max(len(suspicious) - MOST_SUSPICIOUS, 0),
        no_suspicion=_no_suspicion(found, stations),
        missing=_missing(found, rows, sections),
        sections=sections,
    )


def _head(found: Collected, head: Headline, broken: Sequence[Broken]) -> dict[str, Any]:
    """Time, traffic light, verdict and its reasons."""
    word, _, reasons = str(found.attributes.get("phyda_verdict", "")).partition(": ")
    listed = [r for r in reasons.split("; ") if r] + [f"broken limit: {b.text}" for b in broken]
    lights = {"ok": "good", "suspect": "warn", "background_only": "bad"}
    texts = {
        "ok": "ok",
        "suspect": "suspect",
        "background_only": "background only: no observation was used",
        "": "no verdict in the file",
    }
    light, text = lights.get(word, "none"), texts.get(word, word)
    if broken:
        light, text = "bad", f"{len(broken)} broken limits" if len(broken) > 1 else "a broken limit"
    change = ""
    if head.ratio is not None:
        change = f"{100 * (head.ratio - 1):+.1f} %".replace("-", "−")
    return {
        "times": span_of(head.times),
        "light": light,
        "verdict": text,
        "reasons": listed,
        "change": change,
        "variables": head.variables,
        "n": head.n,
    }


def _withheld(rows: Sequence[Row]) -> list[dict[str, str]]:
    """rms of O-B and O-A of withheld stations by variable."""
    scores: dict[str, dict[str, Row]] = {}
    for row in rows:
        if (
            row.source == "observations"
            and row.independence == "withheld"
            and row.region == "all"
            and not row.level
            and not row.group
        ):
            scores.setdefault(row.variable, {})[f"{row.state} {row.score}"] = row
    found = []
    for name, own in scores.items():
        after, before = own["analysis rmse"], own.get("background rmse")
        units, factor = READABLE.get(after.units, (after.units, 1.0))
        ratio = own.get("analysis ratio")
        found.append(
            {
                "name": name,
                "units": units,
                "n": str(after.n),
                "before": number(None if before is None else before.value * factor),
                "after": number(after.value * factor),
                "ratio": number(None if ratio is None else ratio.value, ".2f"),
            }
        )
    return found


def _used(found: Collected, head: Headline, history: int) -> dict[str, Any] | None:
    if head.used is None:
        return None
    before = [m.used for m in found.moments[:-1]][-history:]
    limits = control_limits(before)
    median = "used"
    if limits is not None:
        usual = "as usual" if limits.low <= head.used <= limits.high else "UNUSUAL"
        median = f"used; the last {len(before)} had a median of {limits.median:.0f} ({usual})"
    reasons = [] if found.rows is None else rejections(found.rows)
    return {
        "now": str(head.used),
        "median": median,
        "rejected": f"{head.rejected} rejected" + (":" if reasons else ""),
        "reasons": reasons,
        "chi2": "" if head.chi2 is None else f"chi2 of O−B {head.chi2:.2f} (1 as expected)",
    }


def _field_lines(head: Headline) -> list[str]:
    if head.field_ratio is None:
        return []
    known = {"withheld": "independent", "same_origin": "of the same origin: not independent"}
    said = known.get(head.truth_is, "independence unknown")
    return [
        f"Truth ({said}): RMSE {100 * (head.field_ratio - 1):+.1f} %".replace("-", "−")
        + f", mean of {head.fields} fields"
    ]


def _no_suspicion(found: Collected, stations: Sequence[StationRow]) -> str:
    if not stations:
        return "No feedback file was given."
    days = len({t.astype("datetime64[D]") for t in found.stations.times})
    few = " Biases are judged from 8 reports in five days on." if days < 3 else ""
    return f"None of {len({s.station for s in stations})}.{few}"


def _missing(found: Collected, rows: Sequence[Row], sections: Sequence[Section]) -> list[str]:
    """What the page cannot say for want of input."""
    out = []
    if found.rows is None:
        out.append("feedback of the analysis (--feedback): no departures, no stations")
    elif not any(r.independence == "withheld" for r in rows):
        out.append("withheld stations (phyda assimilate --withhold 0.1)")
    if found.last is not None and found.background is None:
        out.append("increments, or the background (--background)")
    if found.last is not None and found.last.spread is None and not found.last.members:
        out.append("spread of the analysis: no calibration")
    if found.truth is None:
        out.append("a truth to verify fields against (--truth)")
    if len(found.moments) < 6:
        out.append("earlier analyses and their feedback: no series, no control limits")
    return out + found.notes
