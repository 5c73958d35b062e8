"""What a run does over several cycles, and what it leaves."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from fnmatch import fnmatch
from pathlib import Path

import pytest
from feeds import FIRST, Feeds, hours

from phyda_cli.cycle.clock import stamp
from phyda_cli.cycle.folder import CycleFolder
from phyda_cli.cycle.gather import copies_of
from phyda_cli.cycle.policy import FAULTS


def test_every_cycle_that_is_due_is_made_in_order(feeds: Feeds) -> None:
    times = [hours(6 * i) for i in range(4)]  # over the leap day
    feeds.both(*times)
    assert [o.code for o in feeds.run(hours(18.5))] == [0, 0, 0, 0]
    assert feeds.published == [stamp(t) for t in times]
    assert [feeds.report(t)["previous"].get("cycle") for t in times] == [
        None,
        *(stamp(t) for t in times[:3]),
    ]
    assert feeds.run(hours(19)) == []


def test_the_zone_of_the_machine_does_not_matter(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setenv("TZ", "America/St_Johns")
    time.tzset()
    feeds.both(FIRST)
    assert [o.code for o in feeds.run(hours(1))] == [0]
    assert feeds.published == ["20200228T1800Z"]
    monkeypatch.undo()
    time.tzset()


def test_a_gap_does_not_stop_the_chain(feeds: Feeds) -> None:
    feeds.both(FIRST, hours(12))
    assert [o.code for o in feeds.run(hours(16))] == [0, 4, 0]
    assert feeds.report(hours(12))["previous"]["cycle"] == stamp(FIRST)


def test_after_an_outage_only_the_newest_if_so_wished(feeds: Feeds) -> None:
    feeds.both(FIRST, hours(6), hours(12))
    assert [o.time for o in feeds.run(hours(13), catch_up="newest")] == [hours(12)]


def test_once_makes_one(feeds: Feeds) -> None:
    feeds.both(FIRST, hours(6))
    assert len(feeds.run(hours(9), once=True)) == 1


def test_latest_follows_the_report(feeds: Feeds) -> None:
    feeds.both(FIRST, hours(6))
    feeds.run(hours(9))
    link = feeds.root / "cycle" / "latest"
    assert os.readlink(link) == f"cycles/{stamp(hours(6))}"
    link.unlink()
    link.symlink_to("cycles/gone")
    feeds.run(hours(9))
    assert os.readlink(link) == f"cycles/{stamp(hours(6))}"


def test_what_an_interrupted_run_left_goes(feeds: Feeds) -> None:
    feeds.both(FIRST)
    left = feeds.root / "cycle" / f".{stamp(FIRST)}.part"
    left.mkdir(parents=True)
    (left / "analysis.nc").write_text("half")
    feeds.run(hours(1))
    assert not left.exists()
    folder = feeds.root / "cycle"
    assert sorted(p.name for p in folder.iterdir()) == [
        "cycles",
        "events.jsonl",
        "latest",
        "lock",
        "status.json",
    ]


def test_late_observations_replace_the_analysis_at_once(feeds: Feeds) -> None:
    feeds.both(FIRST)
    feeds.run(hours(1))
    before = feeds.report(FIRST)["outputs"]
    feeds.observe(FIRST, "v1 v2", name="metar_late")
    late = feeds.root / f"metar_{FIRST:%Y%m%d%H}_late.csv"
    late.write_text("t8 u9")
    assert feeds.run(hours(2)) == []
    assert [o.code for o in feeds.run(hours(2), late="replace")] == [0]
    assert feeds.report(FIRST)["outputs"] != before
    assert len(feeds.report(FIRST)["observations"]) == 2
    assert feeds.run(hours(2), late="replace") == []
    late.write_text("t8 u9 u10")
    assert feeds.run(hours(4), late="replace") == []  # after the cut-off


def test_files_that_vanish_replace_nothing(feeds: Feeds) -> None:
    feeds.both(FIRST)
    feeds.observe(FIRST, "t8 u9", name="metar_x")
    patterns = [{"pattern": f"{feeds.root}/metar*_{{time:%Y%m%d%H}}*.csv"}]
    changes = {"late": "replace", "observations": patterns}
    feeds.run(hours(1), **changes)
    assert len(feeds.report(FIRST)["observations"]) == 2
    (feeds.root / f"metar_{FIRST:%Y%m%d%H}.csv").unlink()
    assert feeds.run(hours(2), **changes) == []
    feeds.observe(FIRST, "v1 v2 v3", name="metar_y")  # one is gone and another has come
    assert feeds.run(hours(2), **changes) == []
    feeds.observe(FIRST, "t1 t2 u1 u2")
    assert [o.code for o in feeds.run(hours(2), **changes)] == [0]
    assert len(feeds.report(FIRST)["observations"]) == 3


def test_a_file_that_is_empty_now_replaces_nothing(feeds: Feeds) -> None:
    feeds.both(FIRST)
    feeds.run(hours(1))
    before = feeds.report(FIRST)
    used = Path(before["observations"][0]["path"])
    late = used.with_name(f"{used.stem}_late.csv")
    late.write_text("t8 u9")
    used.write_text("")
    assert feeds.run(hours(2), late="replace") == []
    assert feeds.report(FIRST) == before


def test_files_of_one_name_in_different_folders_are_all_used(feeds: Feeds) -> None:
    feeds.forecast(FIRST)
    for folder, text in (("a", "t1 t2"), ("b", "u1"), ("c", "v1 v2")):
        (feeds.root / folder).mkdir()
        (feeds.root / folder / "metar.csv").write_text(text)
    feeds.run(hours(1), observations=[{"pattern": f"{feeds.root}/?/metar.csv", "decimal": "point"}])
    report = feeds.report(FIRST)
    copies = [f["copy"] for f in report["observations"]]
    assert copies[0] == "observations/00_metar.csv"
    assert len(set(copies)) == 3
    assert all(fnmatch(Path(copy).name, copies_of(0)) for copy in copies)
    assert report["analysis"]["observations"]["in"] == 5


def test_a_cycle_waits_until_its_cut_off(feeds: Feeds) -> None:
    feeds.forecast(FIRST)
    settings = feeds.settings(cutoff_minutes=30, settle_seconds=10)
    from phyda_cli.cycle.clock import Clock
    from phyda_cli.cycle.run import Cycle

    class Feeding(Clock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.now() > FIRST + timedelta(minutes=20):
                feeds.observe(FIRST)

    clock = Feeding(hours(0.1))
    from feeds import QUICK

    (found,) = Cycle(settings, clock, feeds.said.append, QUICK).run()
    assert (found.code, found.status) == (0, "ok")
    assert timedelta(minutes=20) < clock.now() - FIRST < timedelta(minutes=22)


def test_retention_keeps_the_latest_and_what_it_refers_to(feeds: Feeds) -> None:
    times = [hours(6 * i) for i in range(6)]
    feeds.both(*times)
    feeds.run(hours(30), retention={"cycles": 2})
    assert feeds.published == [stamp(t) for t in times[-2:]]
    assert len(list(feeds.root.glob("metar_*"))) == 6  # inputs stay
    feeds.run(hours(30), retention={"cycles": 2, "bytes": 1})
    assert feeds.published == [stamp(t) for t in times[-2:]]


def test_a_cycle_that_is_published_later_is_not_stopped_any_more(feeds: Feeds) -> None:
    feeds.both(FIRST)
    feeds.run(hours(13))
    folder = CycleFolder(feeds.root / "cycle")
    assert [e["cycle"] for e in folder.stopped(FIRST)] == [stamp(hours(6)), stamp(hours(12))]
    with (folder.root / "events.jsonl").open("a") as file:
        file.write('{"at": "20')  # the machine stopped here
    assert len(folder.stopped(None)) == 2
    feeds.both(hours(6))
    feeds.run(hours(7))
    last = folder.last()
    assert last is not None
    assert [e["cycle"] for e in folder.stopped(last.time)] == [stamp(hours(12))]


def test_events_and_status(feeds: Feeds) -> None:
    feeds.both(FIRST)
    feeds.run(hours(7))
    lines = [
        json.loads(line)
        for line in (feeds.root / "cycle" / "events.jsonl").read_text().splitlines()
    ]
    assert [(e["event"], e["cycle"], e["code"]) for e in lines] == [
        ("published", stamp(FIRST), 0),
        ("stopped", stamp(hours(6)), 4),
    ]
    status = json.loads((feeds.root / "cycle" / "status.json").read_text())
    assert (status["last"], status["status"]) == (stamp(FIRST), "ok")
    assert [s["cycle"] for s in status["stopped"]] == [stamp(hours(6))]
    assert len([line for line in feeds.said if line.startswith("cycle ")]) == 2
    assert feeds.said[-1].strip() == FAULTS["observations_none"].means


def test_the_record_names_what_was_used(feeds: Feeds, tmp_path: Path) -> None:
    from phyda_cli.files.publish import sha256

    feeds.both(FIRST)
    feeds.run(hours(1))
    report = feeds.report(FIRST)
    (file,) = report["observations"]
    assert file["sha256"] == sha256(file["path"])
    assert report["background"]["sha256"] == sha256(report["background"]["path"])
    made = feeds.root / "cycle" / "cycles" / stamp(FIRST)
    assert report["outputs"]["analysis.nc"] == sha256(made / "analysis.nc")


@pytest.mark.parametrize(("hours_back", "leads"), [(0, []), (12, [12]), (24, [12, 24])])
def test_forecasts_of_earlier_starts_go_beside_the_background(
    feeds: Feeds, hours_back: int, leads: list[int]
) -> None:
    feeds.both(FIRST)
    for lead in (12, 24, 30):
        feeds.forecast(FIRST, lead)
    pattern = f"{feeds.root}/fc_{{start:%Y%m%d%H}}_f{{lead:03d}}.nc"
    feeds.run(hours(1), background=[{"pattern": pattern, "lagged_hours": hours_back}])
    report = feeds.report(FIRST)
    files = [
        str(feeds.root / f"fc_{FIRST - timedelta(hours=lead):%Y%m%d%H}_f{lead:03d}.nc")
        for lead in leads
    ]
    assert [f["path"] for f in report["lagged"]] == files
    words = report["command"]
    assert [words[i + 1] for i, w in enumerate(words) if w == "--lagged"] == files
