"""``phyda demo``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from phyda_cli.commands.arguments import METHOD, OUTPUT, AsJson, Checkpoint, Overwrite
from phyda_cli.commands.console import emit, emit_json, say
from phyda_cli.commands.tables import departure_table, field_table, observation_table, verdict_text
from phyda_cli.errors import OutputError
from phyda_cli.files.publish import publish
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.settings.options import RUNNING, Chosen, Flag, takes_settings
from phyda_cli.verification.ratios import mean_ratio

__all__ = ["BUNDLED_CASE", "demo"]

SHOWN = (
    "z500",
    "t850",
    "t500",
    "u850",
    "v850",
    "u500",
    "v500",
    "u200",
    "v200",
    "q700",
    "msl",
    "t2m",
    "u10",
    "v10",
)
BUNDLED_CASE = Path(__file__).resolve().parents[1] / "demo"


@takes_settings(
    {
        AnalysisSettings: (
            Flag("method", METHOD),
            Flag("members", METHOD),
            Flag("seed", METHOD),
            Flag("device", RUNNING),
        )
    },
    (METHOD, OUTPUT, RUNNING),
)
def demo(
    chosen: Chosen,
    checkpoint: Checkpoint = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Folder for the outputs; made if missing.",
            rich_help_panel=OUTPUT,
            readable=False,
        ),
    ] = Path("phyda-demo"),
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Assimilate the bundled stations into the bundled 24-hour forecast, and score the result
    against the truth.

    Nothing is downloaded. The case is simulated: its truth is a run of the SPEEDY climate model,
    from which the stations were drawn with errors, some of them gross; a fifth of the stations is
    withheld from the analysis and only compared with it. The folder `inputs` gets copies of the
    files, to try other commands on.

    ```
    phyda demo
    phyda demo --out /tmp/demo --method oi --json
    ```
    """
    from phyda_cli.analysis.assimilate import Request, assimilate
    from phyda_cli.model.checkpoint import BUNDLED

    settings = chosen.settings(AnalysisSettings)
    try:
        (out / "inputs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {out}: {error.strerror}", hint="choose another one with --out"
        ) from error
    for source in BUNDLED_CASE.iterdir():  # to try other commands on
        with publish(out / "inputs" / source.name, overwrite=True) as copy:
            shutil.copyfile(source, copy)
    stations = [BUNDLED_CASE / "stations.csv"]
    request = Request(
        obs=stations,
        background=BUNDLED_CASE / "background.nc",
        out=out / "analysis.nc",
        feedback=out / "feedback.nc",
        withhold_file=BUNDLED_CASE / "withheld.txt",
        checkpoint=checkpoint or BUNDLED,
        overwrite=overwrite,
    )
    report = assimilate(request, settings).report
    picture, page = out / "increment.png", out / "report.html"
    fresh = report["status"] != "up to date"
    if fresh or not page.exists():
        from phyda_cli.verification.collect import Inputs
        from phyda_cli.verification.report import report_on

        files = Inputs(
            [out / "analysis.nc"], [BUNDLED_CASE / "truth.nc"], [], [out / "feedback.nc"]
        )
        report_on(page, files, overwrite=True)
    _show(out, stations, picture if fresh or not picture.exists() else None, as_json, report)
    say(
        f"{out}/report.html, analysis.nc, feedback.nc and increment.png "
        + (f"written in {report['seconds']} s" if fresh else "are up to date")
        + f" ({verdict_text(report)})"
    )


def _show(
    out: Path, obs: list[Path], picture: Path | None, as_json: bool, report: dict[str, Any]
) -> None:
    """Score what lies in ``out``, as a user would: everything comes from the files."""
    from phyda_cli.formats.background import read_background
    from phyda_cli.observations.departures import summarise_feedback
    from phyda_cli.observations.feedback import read_feedback
    from phyda_cli.observations.read.read import read_observations
    from phyda_cli.verification.analysis_file import read_analysis
    from phyda_cli.verification.fields import score_fields
    from phyda_cli.verification.plots import draw_channel

    file, truth = (
        read_analysis(out / "analysis.nc"),
        read_background(BUNDLED_CASE / "truth.nc").fields,
    )
    scores = score_fields(file.fields, truth, file.background, file.spread)
    ratio = mean_ratio(s.ratio for s in scores)
    rows = read_feedback(out / "feedback.nc")
    summary = summarise_feedback(rows)
    if picture is not None:
        draw_channel(picture, file, file.background, feedback=rows, overwrite=True)
    read = read_observations(obs)
    counts = {
        "rows": {
            "read": read.rows_read,
            "with_values": read.rows_with_values,
            "without_values": read.rows_without_values,
            "unreadable": read.rows_unreadable,
        },
        "observations": summary.account,
    }
    withheld = mean_ratio(d.ratio for d in summary.passive)
    if as_json:
        kinds = {"used": summary.used, "withheld": summary.passive}
        departures = {k: [d.as_dict() for d in v] for k, v in kinds.items()}
        emit_json(
            {
                "schema": 1,
                "out": str(out),
                "status": report["status"],
                "verdict": report["verdict"],
                "seconds": report["seconds"],
                **counts,
            }
            | {
                "fields": [s.as_dict() for s in scores],
                "mean_ratio": ratio,
                "departures": departures,
                "withheld_mean_ratio": withheld,
            }
        )
        return
    emit(observation_table(counts))
    for problem in read.problems:
        say(f"rejected: {problem}")
    emit(field_table(scores, "Background (bg) and analysis (an) against the truth", SHOWN))
    emit(departure_table(summary.passive, "Background and analysis against the withheld stations"))
