"""One test for each line of the policy's table, under the name of the fault."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from feeds import FIRST, Feeds, hours

from phyda_cli.cycle.clock import stamp
from phyda_cli.cycle.policy import FAULTS
from phyda_cli.errors import BusyError, OutputError
from phyda_cli.files.lock import locked
from phyda_cli.files.publish import sha256

LATE = hours(4)  # after the cut-off of the first cycle
MODES = ("strict", "degrade", "background_only")


def outcome(feeds: Feeds, **changes: object) -> tuple[int, str, tuple[str, ...]]:
    """Code, status and reasons of the first cycle, after its cut-off."""
    (found,) = feeds.run(LATE, **changes)
    return found.code, found.status, found.reasons


def test_every_fault_has_a_test() -> None:
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert set(FAULTS) <= tests


@pytest.mark.parametrize("mode", MODES)
def test_observations_late(feeds: Feeds, mode: str) -> None:
    feeds.both(FIRST)
    streams = [
        {"pattern": f"{feeds.root}/metar_{{time:%Y%m%d%H}}*.csv"},
        {"pattern": f"{feeds.root}/sonde_{{time:%Y%m%d%H}}*.csv"},
    ]
    code, status, reasons = outcome(feeds, observations=streams, policy=mode)
    assert (code, status, reasons) == (0, "degraded", ("observations_late",))


def test_observations_missing(feeds: Feeds) -> None:
    feeds.both(FIRST)
    streams = [
        {"pattern": f"{feeds.root}/metar_{{time:%Y%m%d%H}}*.csv"},
        {"pattern": f"{feeds.root}/sonde_{{time:%Y%m%d%H}}*.csv", "required": True},
    ]
    assert outcome(feeds, observations=streams, policy="strict")[0] == 3
    assert feeds.published == []
    assert outcome(feeds, observations=streams)[:2] == (0, "degraded")


def test_observations_half_written(feeds: Feeds) -> None:
    feeds.both(FIRST)
    growing = feeds.root / f"metar_{FIRST:%Y%m%d%H}_b.csv"
    growing.touch()
    assert outcome(feeds, policy="strict")[0] == 3
    code, status, reasons = outcome(feeds)
    assert (code, status, reasons) == (0, "degraded", ("observations_half_written",))
    assert [f["bytes"] for f in feeds.report(FIRST)["observations"]] == [15]


def test_observations_grew(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
    feeds.both(FIRST)
    from phyda_cli.cycle import gather

    copy = gather.shutil.copyfile

    def growing(source: Path, target: Path) -> None:
        copy(source, target)
        with source.open("a") as file:
            file.write(" v9")

    monkeypatch.setattr(gather.shutil, "copyfile", growing)
    assert outcome(feeds) == (0, "degraded", ("observations_grew",))
    (file,) = feeds.report(FIRST)["observations"]
    copied = feeds.root / "cycle" / "cycles" / stamp(FIRST) / file["copy"]
    assert (file["bytes"], copied.stat().st_size) == (15, 15)


@pytest.mark.parametrize("mode", MODES)
def test_observations_unreadable(feeds: Feeds, mode: str) -> None:
    feeds.both(FIRST)
    feeds.forecast(FIRST, 12)
    bad = feeds.root / f"metar_{FIRST:%Y%m%d%H}_b.csv"
    bad.write_text("damaged")
    code, _, reasons = outcome(feeds, policy=mode)
    assert reasons == ("observations_unreadable", str(bad))
    assert code == (3 if mode == "strict" else 0)
    if code == 0:
        report = feeds.report(FIRST)
        assert report["status"] == "degraded"
        assert [f["path"] for f in report["left_out"]] == [str(bad)]
        assert len(report["observations"]) == 1
        assert report["background"]["lead_hours"] == 6
        assert feeds.run(hours(2), policy=mode, late="replace") == []  # it is known


@pytest.mark.parametrize(("mode", "code"), [("degrade", 4), ("background_only", 0)])
def test_no_observation_file_can_be_read(feeds: Feeds, mode: str, code: int) -> None:
    feeds.both(FIRST)
    feeds.observe(FIRST, "damaged")
    found = outcome(feeds, policy=mode)
    assert found[0] == code
    assert {"observations_unreadable", "observations_none"} <= set(found[2])


def test_a_damaged_background_beside_a_damaged_file(feeds: Feeds) -> None:
    feeds.both(FIRST)
    feeds.forecast(FIRST, 6, "fail 3")
    feeds.forecast(FIRST, 12)
    (feeds.root / f"metar_{FIRST:%Y%m%d%H}_b.csv").write_text("damaged")
    code, _, reasons = outcome(feeds)
    assert code == 0
    assert {"background_unreadable", "observations_unreadable"} <= set(reasons)


def test_replacement_poorer(feeds: Feeds) -> None:
    feeds.both(FIRST)
    feeds.forecast(FIRST, 12)
    feeds.run(hours(1))
    before = feeds.report(FIRST)
    youngest = Path(before["background"]["path"])
    text = youngest.read_text()
    (feeds.root / f"metar_{FIRST:%Y%m%d%H}_late.csv").write_text("t8 u9")
    youngest.unlink()
    (found,) = feeds.run(hours(2), late="replace", cutoff_minutes=120)
    assert (found.code, found.reasons) == (3, ("replacement_poorer", "background_late"))
    youngest.write_text(text)
    feeds.observe(FIRST, "damaged")
    (found,) = feeds.run(hours(2), late="replace")
    assert (found.code, "replacement_poorer" in found.reasons) == (3, True)
    assert feeds.report(FIRST) == before


def test_an_older_fallback_is_poorer(feeds: Feeds) -> None:
    feeds.observe(FIRST)
    twelve, eighteen = feeds.forecast(FIRST, 12), feeds.forecast(FIRST, 18)
    (found,) = feeds.run(hours(1))
    assert found.reasons == ("background_late",)
    twelve.unlink()
    assert eighteen.exists()
    (feeds.root / f"metar_{FIRST:%Y%m%d%H}_late.csv").write_text("t8 u9")
    (found,) = feeds.run(hours(2), late="replace")
    assert (found.code, "replacement_poorer" in found.reasons) == (3, True)
    assert feeds.report(FIRST)["background"]["lead_hours"] == 12


def test_a_file_of_the_same_size_can_be_late(feeds: Feeds) -> None:
    feeds.both(FIRST)
    path = feeds.observe(FIRST, "t1 u2")
    feeds.run(hours(1))
    assert feeds.run(hours(2), late="replace") == []
    path.write_text("t3 u2")
    (found,) = feeds.run(hours(2), late="replace")
    assert (found.code, found.reasons) == (0, ())
    (file,) = feeds.report(FIRST)["observations"]
    assert file["sha256"] == sha256(path)


def test_observations_repeated(feeds: Feeds) -> None:
    feeds.both(FIRST, hours(6))
    feeds.observe(hours(6), feeds.observe(FIRST).read_text())
    codes = [o.code for o in feeds.run(hours(12))]
    assert codes == [0, 4, 4]
    assert feeds.published == [stamp(FIRST)]


@pytest.mark.parametrize(("mode", "code"), [("strict", 4), ("degrade", 4), ("background_only", 0)])
@pytest.mark.parametrize("text", [None, " "])
def test_observations_none(feeds: Feeds, mode: str, code: int, text: str | None) -> None:
    feeds.forecast(FIRST)
    if text is not None:
        feeds.observe(FIRST, text)
    found = outcome(feeds, policy=mode)
    assert found[0] == code
    assert feeds.published == [stamp(FIRST)] * (code == 0)
    if code == 0:
        assert feeds.report(FIRST)["status"] == "background_only"
        assert "observations_none" in found[2]


def test_observations_few(feeds: Feeds) -> None:
    feeds.both(FIRST, hours(6))
    feeds.observe(FIRST, " ".join(f"t{i} u{i}" for i in range(20)))
    first, second = feeds.run(hours(6))
    assert (first.reasons, second.reasons) == ((), ("observations_few",))
    feeds.both(hours(12))
    feeds.observe(hours(12), "t1 u1")
    (third,) = feeds.run(hours(12), policy="strict")
    assert third.code == 5


def test_one_type(feeds: Feeds) -> None:
    feeds.both(FIRST, hours(6))
    feeds.observe(hours(6), "t1 t2 t3")
    assert [o.reasons for o in feeds.run(hours(6))] == [(), ("one_type",)]


def test_background_late(feeds: Feeds) -> None:
    feeds.observe(FIRST)
    feeds.forecast(FIRST, 12)
    feeds.forecast(FIRST, 18)
    assert outcome(feeds, policy="strict")[0] == 3
    assert outcome(feeds) == (0, "degraded", ("background_late",))
    assert feeds.report(FIRST)["background"]["lead_hours"] == 12


def test_background_unreadable(feeds: Feeds) -> None:
    feeds.observe(FIRST)
    feeds.forecast(FIRST, 6, "fail 3")
    feeds.forecast(FIRST, 12)
    assert outcome(feeds, policy="strict")[0] == 3
    assert outcome(feeds)[:2] == (0, "degraded")
    assert feeds.report(FIRST)["background"]["lead_hours"] == 12


@pytest.mark.parametrize("option", ["--blacklist", "--whitelist", "--withhold-file"])
def test_a_damaged_list_of_stations_is_not_blamed_on_the_background(
    feeds: Feeds, option: str
) -> None:
    damaged = feeds.root / "stations.txt"
    damaged.write_bytes(b"EDDF \xff\xfe")
    feeds.observe(FIRST)
    feeds.forecast(FIRST, 6, "fail 3")
    code, status, reasons = outcome(feeds, arguments=[option, str(damaged)])
    assert (code, status, reasons[0]) == (3, "stopped", "analysis_failed")
    assert str(damaged) in reasons[1]
    damaged.write_text("EDDF")
    assert outcome(feeds, arguments=[option, str(damaged)])[2][0] == "background_unreadable"


def test_a_background_that_grows_while_it_is_used(feeds: Feeds) -> None:
    feeds.observe(FIRST)
    feeds.forecast(FIRST, 6, "grows")
    assert outcome(feeds, policy="strict")[0] == 3
    assert outcome(feeds)[0] == 3
    feeds.forecast(FIRST, 12)
    assert outcome(feeds)[:2] == (0, "degraded")
    assert feeds.report(FIRST)["background"]["lead_hours"] == 12
    made = feeds.root / "cycle" / "cycles" / stamp(FIRST) / "analysis.nc"
    assert made.read_text().startswith(f"{FIRST:%d%H}+12")


def with_lagged(feeds: Feeds, hours: int) -> list[dict[str, object]]:
    pattern = f"{feeds.root}/fc_{{start:%Y%m%d%H}}_f{{lead:03d}}.nc"
    return [{"pattern": pattern, "lagged_hours": hours}]


def test_lagged_unreadable(feeds: Feeds) -> None:
    feeds.both(FIRST)
    feeds.forecast(FIRST, 12)
    feeds.forecast(FIRST, 18, "fail 3")
    source = with_lagged(feeds, 24)
    assert outcome(feeds, policy="strict", background=source)[0] == 3
    assert feeds.published == []
    code, status, reasons = outcome(feeds, background=source)
    assert (code, status, reasons) == (0, "degraded", ("lagged_unreadable",))
    report = feeds.report(FIRST)
    assert report["lagged"] == []
    assert "--lagged" not in report["command"]


def test_a_damaged_background_is_not_blamed_on_lagged_forecasts(feeds: Feeds) -> None:
    feeds.observe(FIRST)
    feeds.forecast(FIRST, 6, "fail 3")
    feeds.forecast(FIRST, 12)
    feeds.forecast(FIRST, 18)
    code, _, reasons = outcome(feeds, background=with_lagged(feeds, 24))
    assert (code, reasons) == (0, ("background_unreadable", "background_late"))
    assert [Path(f["path"]).name[-7:] for f in feeds.report(FIRST)["lagged"]] == ["f018.nc"]


@pytest.mark.parametrize("mode", MODES)
def test_background_missing(feeds: Feeds, mode: str) -> None:
    feeds.observe(FIRST)
    feeds.forecast(FIRST, 30)  # too old
    assert outcome(feeds, policy=mode) == (3, "stopped", ("background_missing",))
    assert feeds.published == []


def test_a_forecast_that_says_itself_how_long_it_is(feeds: Feeds) -> None:
    feeds.both(FIRST)
    latest = feeds.root / "latest.nc"
    source = {"pattern": str(latest), "max_lead_hours": 24}
    latest.write_text("lead 96")
    code, _, reasons = outcome(feeds, background=[source])
    assert (code, reasons[0]) == (3, "background_missing")
    assert "96 h" in reasons[1]
    pattern = f"{feeds.root}/fc_{{start:%Y%m%d%H}}_f{{lead:03d}}.nc"
    code, _, reasons = outcome(feeds, background=[source, {"pattern": pattern}])
    assert (code, reasons) == (0, ("background_late",))
    assert feeds.report(FIRST)["background"]["lead_hours"] == 6


@pytest.mark.parametrize("lagged", [0, 24])
def test_a_forecast_of_one_name_is_tried_once(feeds: Feeds, lagged: int) -> None:
    feeds.both(FIRST)
    latest = feeds.root / "latest.nc"
    source = {"pattern": str(latest), "max_lead_hours": 24, "lagged_hours": lagged}
    latest.write_text("lead 9")
    assert outcome(feeds, background=[source]) == (0, "ok", ())
    report = feeds.report(FIRST)
    assert (report["background"]["lead_hours"], report["lagged"]) == (9, [])
    feeds.both(hours(6))
    latest.write_text("fail 3")
    (found,) = feeds.run(hours(6), background=[source])
    assert found.reasons[0] == "background_unreadable"
    assert "background_late" not in found.reasons


def test_a_source_whose_starts_are_all_too_long_ago(feeds: Feeds) -> None:
    feeds.both(FIRST)
    pattern = f"{feeds.root}/fc_{{start:%Y%m%d%H}}_f{{lead:03d}}.nc"
    daily = {"pattern": pattern, "starts_every_hours": 24, "max_lead_hours": 9}
    assert outcome(feeds, background=[daily]) == (3, "stopped", ("background_missing",))
    code, _, reasons = outcome(feeds, background=[daily, {"pattern": pattern}])
    assert (code, reasons) == (0, ("background_late",))


def test_a_command_makes_the_background(feeds: Feeds) -> None:
    feeds.both(FIRST)
    feeds.observe(hours(6), "t7 u7")
    model = (
        sys.executable,
        "-c",
        "import sys; open(sys.argv[2], 'w').write('from ' + sys.argv[1])",
    )
    sources = [
        {"pattern": f"{feeds.root}/fc_{{start:%Y%m%d%H}}_f{{lead:03d}}.nc"},
        {"run": [*model, "{time:%H} {previous}", "{out}"], "max_lead_hours": 6},
    ]
    first, second = feeds.run(hours(6), background=sources)
    assert (first.code, second.code, second.reasons) == (0, 0, ("background_late",))
    made = feeds.root / "cycle" / "cycles" / stamp(hours(6))
    assert (made / "analysis.nc").read_text().startswith("from 00 ")
    assert stamp(FIRST) in (made / "background_01.nc").read_text()


@pytest.mark.parametrize("field", ["{nothing}", "{time.__class__}", "{previous[0]}"])
def test_a_command_has_no_other_fields(feeds: Feeds, field: str) -> None:
    with pytest.raises(ValueError, match="is not a field"):
        feeds.settings(background=[{"run": ["model", field]}])


def test_memory_lost(feeds: Feeds) -> None:
    feeds.both(FIRST, hours(6), hours(12), hours(18))
    assert feeds.run(FIRST)[0].reasons == ()
    kept = feeds.root / "cycle" / "cycles" / stamp(FIRST) / "feedback.nc"
    kept.write_text("half")
    assert feeds.run(hours(6), policy="strict")[0].code == 3
    assert feeds.run(hours(6))[0].reasons == ("memory_lost",)
    assert "--previous" not in feeds.report(hours(6))["command"]
    assert feeds.run(hours(12))[0].reasons == ()
    report = feeds.report(hours(12))
    at = report["command"].index("--previous") + 1
    assert report["command"][at] == f"../{stamp(hours(6))}/feedback.nc"
    assert report["memory"]["cycle"] == stamp(hours(6))
    assert report["memory"]["sha256"] == feeds.report(hours(6))["outputs"]["feedback.nc"]
    assert feeds.run(hours(18), remember=False)[0].reasons == ()
    assert feeds.report(hours(18))["memory"] == {}


@pytest.mark.parametrize("arguments", [("--previous", "own.nc"), ("--previous=own.nc",)])
def test_the_users_memory_is_the_one(feeds: Feeds, arguments: tuple[str, ...]) -> None:
    feeds.both(FIRST, hours(6))
    feeds.run(hours(6), arguments=arguments)
    report = feeds.report(hours(6))
    assert report["memory"] == {}
    assert report["command"][-len(arguments) :] == list(arguments)
    assert "--previous" not in report["command"][: -len(arguments)]


@pytest.mark.parametrize("joined", [False, True])
def test_checkpoint_changed(feeds: Feeds, tmp_path: Path, joined: bool) -> None:
    feeds.both(FIRST, hours(6), hours(12))
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.json").write_text("1")
    arguments = (f"--checkpoint={model}",) if joined else ("--checkpoint", str(model))
    assert feeds.run(FIRST, arguments=arguments)[0].reasons == ()
    (model / "model.json").write_text("2")
    assert feeds.run(hours(6), arguments=arguments)[0].reasons == ("checkpoint_changed",)
    (model / "model.json").write_text("3")
    (stopped,) = feeds.run(hours(12), arguments=arguments, allow_checkpoint_change=False)
    assert stopped.code == 2


def test_analysis_degraded(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
    feeds.both(FIRST)
    feeds.forecast(FIRST, text="degraded")
    assert outcome(feeds, policy="strict")[0] == 5
    assert outcome(feeds) == (0, "degraded", ("analysis_degraded",))


def test_gate(feeds: Feeds) -> None:
    feeds.both(FIRST, hours(6))
    feeds.observe(FIRST, "t1! t2! u1")
    first, second = feeds.run(hours(6))
    assert (first.code, second.code) == (5, 0)
    assert feeds.published == [stamp(hours(6))]
    kept = feeds.root / "cycle" / "rejected" / stamp(FIRST)
    assert sorted(p.name for p in kept.iterdir() if p.suffix) == [
        "analysis.nc",
        "feedback.nc",
        "log.txt",
        "report.json",
    ]


def test_a_rejected_cycle_waits_for_other_inputs(feeds: Feeds) -> None:
    feeds.both(FIRST)
    feeds.observe(FIRST, "t1! t2! u1")
    assert [o.code for o in feeds.run(LATE)] == [5]
    (again,) = feeds.run(LATE)
    assert "rejected before with the same inputs" in again.reasons
    feeds.observe(FIRST, "t1 t2 u1")
    assert [o.code for o in feeds.run(LATE)] == [0]


@pytest.mark.parametrize(("text", "code"), [("fail 1", 1), ("fail 5", 5), ("hang", 124)])
def test_analysis_failed(feeds: Feeds, text: str, code: int) -> None:
    feeds.both(FIRST)
    feeds.forecast(FIRST, text=text)
    found = outcome(feeds, minutes=0.01)
    assert found[0] == code
    assert feeds.published == []


def test_busy(feeds: Feeds) -> None:
    feeds.both(FIRST)
    with locked(feeds.root / "cycle" / "lock", "busy"), pytest.raises(BusyError):
        feeds.run(LATE)
    assert [o.code for o in feeds.run(LATE)] == [0]


def test_disk(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
    feeds.both(FIRST)
    from phyda_cli.cycle import folder

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folder, "_sync_tree", full)
        assert outcome(feeds)[0] == 2
    assert feeds.published == []
    assert [p.name for p in (feeds.root / "cycle").glob(".*.part")] == []
    assert outcome(feeds)[0] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(feeds: Feeds) -> None:
    feeds.both(FIRST)
    (feeds.root / "cycle").mkdir(mode=0o500)
    with pytest.raises(OutputError):
        feeds.run(LATE)


def test_clock(feeds: Feeds) -> None:
    feeds.both(FIRST)
    feeds.run(LATE)
    with pytest.raises(OutputError):
        feeds.run(hours(-6))
    assert feeds.published == [stamp(FIRST)]
