"""Everything that verification finds about one run, for the command, the report and Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from phyda_cli.errors import InputError
from phyda_cli.settings.analysis import QualityControlSettings
from phyda_cli.settings.verification import VerificationSettings
from phyda_cli.verification.collect import Inputs, collect
from phyda_cli.verification.collected import Collected
from phyda_cli.verification.experiments import Scorecard, compare
from phyda_cli.verification.physics import PhysicsReport, assess
from phyda_cli.verification.station_health import StationRow, judge
from phyda_cli.verification.summary import Headline, rows_with_bounds, summarise
from phyda_cli.verification.sums import read_sums
from phyda_cli.verification.tidy import Row

__all__ = ["Examination", "examine"]


@dataclass(frozen=True, eq=False)
class Examination:
    """The pass over the analyses, every score of it, the headline, every station, the comparison
    with another run, and how physical the latest analysis is."""

    collected: Collected
    rows: list[Row]
    headline: Headline
    stations: list[StationRow]
    card: Scorecard | None = None
    physics: PhysicsReport | None = None


def examine(
    inputs: Inputs,
    settings: VerificationSettings,
    controls: QualityControlSettings | None = None,
    against: Inputs | None = None,
    from_sums: Sequence[Path] = (),
    physics: Literal["no", "where possible", "yes"] = "no",
) -> Examination:
    """Compare the analyses of ``inputs`` with all that is given, and with the run ``against``.

    Raises InputError as :func:`collect` and :func:`compare` do, and with ``physics`` "yes" where
    nothing of the physics can be computed.
    """
    found = collect(inputs, settings, controls, physics != "no")
    for path in from_sums:
        found.sums.merge(read_sums([path]))
    rows = rows_with_bounds(found.sums, settings.seed)
    card = None
    if against is not None:
        theirs = collect(against, settings, controls)
        card = compare(found.sums, theirs.sums, settings.seed)
    report = None
    if physics != "no" and found.last is not None:
        file = found.last
        try:
            report = assess(file.fields, found.background, found.truth, file.members)
        except InputError as error:
            if physics == "yes":
                raise
            found.note(f"physics: {error.message}")
    verdict = str(found.attributes.get("phyda_verdict", ""))
    headline = summarise(found, rows, verdict)
    stations = judge(found.stations, settings.station)
    return Examination(found, rows, headline, stations, card, report)
