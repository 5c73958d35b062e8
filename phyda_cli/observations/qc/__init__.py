"""Quality control, one kind of check a file.

A check looks at the rows that pass so far (qc 0 or 1) and returns a new table; values never change.
"""

from phyda_cli.observations.qc.account import require_usable, summary, unit_hints
from phyda_cli.observations.qc.background import first_guess_check
from phyda_cli.observations.qc.boxes import Superobs, superob, thin
from phyda_cli.observations.qc.buddy import buddy_check
from phyda_cli.observations.qc.codes import set_codes
from phyda_cli.observations.qc.preliminary import WINDOW, bounds_check, preliminary_qc
from phyda_cli.observations.qc.repeats import nearest_report
from phyda_cli.observations.qc.winds import wind_pairs

__all__ = [
    "WINDOW",
    "Superobs",
    "bounds_check",
    "buddy_check",
    "first_guess_check",
    "nearest_report",
    "preliminary_qc",
    "require_usable",
    "set_codes",
    "summary",
    "superob",
    "thin",
    "unit_hints",
    "wind_pairs",
]
