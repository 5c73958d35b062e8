"""Stands in for ``phyda assimilate`` and ``phyda obs inspect``, where the cycle around them is what
a test is about.

It takes the options that the cycle gives, reads one number from each input, and ends as the file
says: ``fail 5`` in a background exits with 5, ``hang`` sleeps; one that ``grows`` does, and
``lead 96`` states its length. Observations that are ``damaged`` cannot be read. The real command is
run as well, in test_cycle_command.py.
"""

import json
import sys
import time
from pathlib import Path


def observations(path: str) -> list[str]:
    """The reports in a file."""
    found = Path(path).read_text().split()
    if "damaged" in found:
        print(f"FATAL ERROR: {path} cannot be read", file=sys.stderr)
        sys.exit(3)
    return found


if sys.argv[1:3] == ["obs", "inspect"]:
    observations(sys.argv[4])
    sys.exit()
words = sys.argv[2:]
given: dict[str, list[str]] = {}
for name, value in zip(words, [*words[1:], ""], strict=True):
    if name.startswith("--"):
        given.setdefault(name, []).append(value)
background = Path(given["--background"][0]).read_text()
if background.startswith("fail"):
    print(f"FATAL ERROR: {background}", file=sys.stderr)
    sys.exit(int(background.split()[1]))
lagged = [Path(path).read_text() for path in given.get("--lagged", [])]
if "fail 3" in lagged:
    print("FATAL ERROR: a lagged forecast cannot be read", file=sys.stderr)
    sys.exit(3)
if background.startswith("hang"):
    time.sleep(60)
if background.startswith("grows"):
    Path(given["--background"][0]).write_text(f"{background}, ")
values = [value for path in given.get("--obs", []) for value in observations(path)]
if not values and "--allow-no-obs" not in given:
    print("FATAL ERROR: no usable observation", file=sys.stderr)
    sys.exit(4)
variables = sorted({value[0] for value in values})
rejected = sum(value.endswith("!") for value in values)
for name in ("--out", "--feedback"):
    Path(given[name][0]).write_text(f"{background} {sorted(values)}")
counts = {v: {"used": sum(x[0] == v for x in values)} for v in variables}
status = "degraded" if background == "degraded" else "ok"
report = {
    "status": status if values else "background_only",
    "observations": {
        "in": len(values),
        "used": len(values) - rejected,
        "rejected": {"too far from the background": rejected},
        "variables": counts,
    },
    "lead_hours": float(background.split()[1]) if background.startswith("lead") else 0.0,
    "departures": {"used": {}, "passive": {}},
}
print(json.dumps(report))
