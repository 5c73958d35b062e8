"""NCEP prepBUFR with its tables inside the file: the newest event counts, quality marks reject."""

from __future__ import annotations

import numpy as np
import pytest

from phyda_cli.errors import InputError
from phyda_cli.observations.read.bufr import read_bufr
from phyda_cli.observations.table import QC, check

ELEMENTS = {  # mnemonic: (descriptor, scale, reference, bits)
    "SID": (1194, 0, 0, 64),
    "XOB": (6240, 2, -18000, 16),
    "YOB": (5240, 2, -9000, 15),
    "DHR": (4215, 3, -24000, 16),
    "ELV": (10199, 0, -1000, 17),
    "CAT": (8193, 0, 0, 6),
    "POB": (7245, 1, 0, 14),
    "PQM": (7246, 0, 0, 5),
    "TOB": (12245, 1, -2732, 14),
    "TQM": (12246, 0, 0, 5),
    "TPC": (12247, 0, 0, 5),
    "QOB": (13245, 0, 0, 16),
    "QQM": (13246, 0, 0, 5),
    "UOB": (11003, 1, -4096, 13),
    "VOB": (11004, 1, -4096, 13),
    "WQM": (11240, 0, 0, 5),
    "BYTCNT": (63000, 0, 0, 16),
    "BITPAD": (63255, 0, 0, 1),
}
REPLICATIONS = {"DRP8BIT": (360002, [101000, 31001]), "DRPSTAK": (360003, [101000, 31001])}
SEQUENCES = {  # a level's stacks of events ([..] of NCEP: 360003), its levels ({..}: 360002)
    "P_EVENT": (348001, ["POB", "PQM"]),
    "T_EVENT": (348002, ["TOB", "TQM", "TPC"]),
    "Q_EVENT": (348003, ["QOB", "QQM"]),
    "W_EVENT": (348004, ["UOB", "VOB", "WQM"]),
    "LEVEL": (348005, ["CAT", "[P_EVENT", "[T_EVENT", "[Q_EVENT", "[W_EVENT"]),
    "ADPUPA": (348010, ["SID", "XOB", "YOB", "DHR", "ELV", "{LEVEL"]),
    "ADPSFC": (348011, ["SID", "XOB", "YOB", "DHR", "ELV", "{LEVEL"]),
    "NC002001": (348012, ["SID"]),
}


def code(word: str) -> list[int]:
    if word[0] in "[{":
        return [360003 if word[0] == "[" else 360002, SEQUENCES[word[1:]][0]]
    return [ELEMENTS[word][0]]


def message(category: int, descriptors: list[int], count: int, data: bytes) -> bytes:
    one = bytes([0, 0, 18, 0, 0, 7, 0, 0, category, 0, 13, 0, 20, 10, 1, 6, 0, 0])
    codes = b"".join(bytes([(d // 100000 << 6) + d // 1000 % 100, d % 1000]) for d in descriptors)
    three = (7 + len(codes)).to_bytes(3, "big") + b"\0" + count.to_bytes(2, "big") + b"\x80" + codes
    four = (4 + len(data)).to_bytes(3, "big") + b"\0" + data
    body = one + three + four + b"7777"
    return b"BUFR" + (8 + len(body)).to_bytes(3, "big") + b"\3" + body


def tables() -> bytes:
    out = bytes([3])
    for i, name in enumerate(("ADPUPA", "ADPSFC", "NC002001")):
        out += f"{102 + i:03d}".encode() + name.ljust(64).encode()
    out += bytes([len(ELEMENTS)])
    for name, (descriptor, scale, reference, bits) in ELEMENTS.items():
        unit = "CCITT IA5" if name == "SID" else "NUMERIC"
        sign = "-" if reference < 0 else "+"
        numbers = f"+{scale:3d}{sign}{abs(reference):10d}{bits:3d}"
        out += f"{descriptor:06d}{name:64}{unit:24}{numbers}".encode()
    written = {n: (d, [c for w in words for c in code(w)]) for n, (d, words) in SEQUENCES.items()}
    out += bytes([len(REPLICATIONS | written)])
    for name, (descriptor, codes) in (REPLICATIONS | written).items():
        out += f"{descriptor:06d}{name:64}".encode() + bytes([len(codes)])
        out += b"".join(f"{c:06d}".encode() for c in codes)
    entries = [103000, 31001, 1, 2, 3, 101000, 31001, 300004]
    entries += [105000, 31001, 300003, 205064, 101000, 31001, 30]
    return message(11, entries, 1, out)


def bits(word: str, value: object) -> str:
    _, scale, reference, width = ELEMENTS[word]
    if word == "SID":
        return "".join(f"{c:08b}" for c in str(value).ljust(8).encode())
    raw = (1 << width) - 1 if value is None else round(float(value) * 10**scale) - reference  # type: ignore[arg-type]
    return f"{raw:0{width}b}"


def report(station: str, levels: list[dict[str, list[tuple]]]) -> bytes:
    text = bits("SID", station) + bits("XOB", 8.5) + bits("YOB", 50.0) + bits("DHR", -0.5)
    text += bits("ELV", 111) + f"{len(levels):08b}"
    for level in levels:
        text += bits("CAT", 1)
        for name in ("P_EVENT", "T_EVENT", "Q_EVENT", "W_EVENT"):
            events = level.get(name, [])
            text += f"{len(events):08b}"
            for event in events:
                text += "".join(map(bits, SEQUENCES[name][1], event))
    pad = -len(text) % 8
    text += f"{pad:08b}" + "0" * pad
    data = int(text, 2).to_bytes(len(text) // 8, "big")
    return (len(data) + 2).to_bytes(2, "big") + data


def prepbufr(kind: str, *reports: bytes) -> bytes:
    descriptors = [63000, SEQUENCES[kind][0], 102000, 31001, 206001, 63255]
    return tables() + message(102, descriptors, len(reports), b"".join(reports))


SOUNDING = report(
    "10637",
    [
        {
            "P_EVENT": [(1000.0, 2)],
            "T_EVENT": [(11.2, 2, 8), (10.0, 2, 1)],
            "Q_EVENT": [(7000, 2)],
            "W_EVENT": [(3.0, -4.0, 2)],
        },
        {"P_EVENT": [(500.0, 2)], "T_EVENT": [(-20.0, 9, 1)], "W_EVENT": [(30.0, 5.0, 2)]},
    ],
)


def test_a_sounding_has_the_newest_event_of_each_quantity() -> None:
    result = read_bufr(prepbufr("ADPUPA", SOUNDING, SOUNDING), "x")
    check(result.table)
    rows = result.table[["variable", "pressure", "value", "qc"]].iloc[:7].to_numpy().tolist()
    expected = [
        ["tv", 100000.0, 284.35, QC.PASS],
        ["q", 100000.0, 0.007, QC.PASS],
        ["u", 100000.0, 3.0, QC.PASS],
        ["v", 100000.0, -4.0, QC.PASS],
        ["t", 50000.0, 253.15, QC.PRE_QC],
        ["u", 50000.0, 30.0, QC.PASS],
        ["v", 50000.0, 5.0, QC.PASS],
    ]
    assert [row[0] for row in rows] == [row[0] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row[1:] == pytest.approx(other[1:])
    first = result.table.iloc[0]
    assert (first["station_id"], first["latitude"], first["longitude"]) == ("10637", 50.0, 8.5)
    assert first["elevation"] == 111
    assert first["time"] == np.datetime64("2020-10-01T05:30")
    assert len(result.table) == 14
    assert any("prepBUFR" in note.text for note in result.notes)


def test_a_surface_report_is_of_the_surface() -> None:
    level = {"P_EVENT": [(996.5, 2)], "T_EVENT": [(11.2, 2, 1)], "W_EVENT": [(3.0, -4.0, 9)]}
    table = read_bufr(prepbufr("ADPSFC", report("EDDF", [level])), "x").table
    good = table[table["qc"] == 0]
    found = dict(zip(good["variable"], good["value"], strict=True))
    assert found == pytest.approx({"sp": 99650.0, "t2m": 284.35})
    assert table["pressure"].isna().all()


def test_another_dump_is_named_with_what_to_do() -> None:
    text = int(bits("SID", "A"), 2).to_bytes(8, "big")
    dump = tables() + message(2, [63000, SEQUENCES["NC002001"][0]], 1, b"\0\x0a" + text)
    with pytest.raises(InputError, match="NC002001") as caught:
        read_bufr(dump, "x")
    assert "IODA" in caught.value.hint


def test_any_damage_is_a_problem_or_a_refusal() -> None:
    whole = prepbufr("ADPUPA", SOUNDING)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(20, len(whole) - 4)] = rng.integers(0, 256)
        try:
            check(read_bufr(bytes(damaged), "x").table)
        except InputError:
            continue


def test_an_independent_decoder_finds_the_same() -> None:
    decoder = pytest.importorskip("pybufrkit.decoder")
    content = prepbufr("ADPUPA", SOUNDING, SOUNDING)
    messages = list(decoder.generate_bufr_message(decoder.Decoder(), content))
    data = messages[-1].template_data.value
    table = read_bufr(content, "x").table
    for subset, labels in enumerate(data.decoded_descriptors_all_subsets):
        values = data.decoded_values_all_subsets[subset]
        theirs = [(d.id, v) for d, v in zip(labels, values, strict=True)]
        ours = table.iloc[7 * subset : 7 * subset + 7]
        for mnemonic, names, factor, offset in (
            ("TOB", ["tv", "t"], 1.0, 273.15),
            ("UOB", ["u"], 1.0, 0.0),
            ("VOB", ["v"], 1.0, 0.0),
            ("QOB", ["q"], 1e-6, 0.0),
        ):
            found = [v * factor + offset for d, v in theirs if d == ELEMENTS[mnemonic][0]]
            kept = found[:1] + found[2:] if mnemonic == "TOB" else found  # the newest event counts
            assert ours["value"][ours["variable"].isin(names)].tolist() == pytest.approx(kept)
        levels = [v * 100 for d, v in theirs if d == ELEMENTS["POB"][0]]
        assert sorted(set(ours["pressure"])) == pytest.approx(sorted(levels))


def test_the_outline_of_a_dump_is_named() -> None:
    """Messages of tables and of a category of NCEP's own, without anything that is understood."""
    outline = message(11, [301011], 1, b"\0" * 8) * 2 + message(102, [301011], 1, b"\0" * 8)
    with pytest.raises(InputError, match="prepBUFR") as caught:
        read_bufr(outline, "x")
    assert "bufr2ioda" in caught.value.hint
