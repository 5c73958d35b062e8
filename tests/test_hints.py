"""Every hint about an input has a test that does what it says: a new one needs a line here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from phyda_cli import app

PACKAGE = Path(app.__file__).parent
TESTS = Path(__file__).parent
OBS, FORECAST = "commands/test_obs_hints.py", "formats/test_forecast_hints.py"
TRAPS, BAD_OBS = "observations/test_obs_traps.py", "commands/test_assimilate_bad_obs.py"
BAD_FORECAST = "commands/test_assimilate_bad_background.py"
OUTPUT = "commands/test_assimilate_output.py"
FED_BACK = {  # where a hint is given: the tests that follow it
    "formats/axes.py _axis": f"{FORECAST}::test_renames_in_hints formats/test_traps.py::"
    "test_radians_are_no_degrees",
    "formats/axes.py _unsupported": f"{FORECAST}::test_grids_in_hints",
    "formats/axes.py _refuse_eta": "formats/test_conventions.py::"
    "test_wrf_output_is_refused_for_its_grid_first",
    "formats/by_time.py __init__": "simulation/test_osse.py::test_a_time_is_given_once",
    "formats/checks.py _refused": f"{FORECAST}::test_a_variable_left_out",
    "formats/checks.py _other_units": f"{FORECAST}::test_units_attributes",
    "formats/checks.py check_range": f"{FORECAST}::test_units_attributes",
    "formats/classic.py reject_truncated": "formats/test_bad_background.py::test_truncated_netcdf",
    "formats/columns.py _refused": f"{FORECAST}::test_levels_in_hints",
    "formats/cut.py area_of": f"{OUTPUT}::test_what_hints_about_outputs_say_works",
    "formats/cut.py levels_of": f"{OUTPUT}::test_what_hints_about_outputs_say_works",
    "formats/ensemble.py read_ensemble": f"{FORECAST}::test_members_in_hints",
    "formats/grib_messages.py _decoding": f"{BAD_FORECAST}::test_truncated_grib",
    "formats/grib_messages.py _main_grid": "formats/test_grib.py::test_unsupported_grids",
    "formats/grib_write.py check_background": f"{OBS}::test_output_in_grib",
    "formats/inputs.py file_kind": f"{FORECAST}::test_copies_that_are_whole",
    "formats/inputs.py find_inputs": f"{FORECAST}::test_folders_in_hints",
    "formats/lagged.py read_lagged": "commands/test_assimilate_lagged.py::"
    "test_older_forecasts_are_members",
    "formats/netcdf.py open_netcdf": "formats/test_bad_background.py::test_truncated_netcdf",
    "formats/recognise.py find_sources": f"{BAD_FORECAST}::test_unknown_names_and_how_to_map_them",
    "formats/recognise.py _source": f"{FORECAST}::test_a_variable_left_out",
    "formats/recognise.py Finding": "formats/test_conventions.py::test_hints_work",
    "formats/series.py choose_member": f"{FORECAST}::test_members_in_hints",
    "formats/times.py decode": f"{FORECAST}::test_calendars_in_hints",
    "formats/times.py _stated": f"{FORECAST}::test_times_in_hints",
    "formats/times.py choose": f"{FORECAST}::test_times_in_hints",
    "formats/xarray_frames.py frame": "formats/test_bad_background.py::test_truncated_netcdf",
    "formats/xarray_frames.py read": "formats/test_bad_background.py::test_truncated_netcdf",
    "formats/write.py check_format": f"{OUTPUT}::test_what_hints_about_outputs_say_works",
    "formats/zarr.py open_zarr": f"{FORECAST}::test_copies_that_are_whole",
    "observations/convert.py format_of": f"{OBS}::test_files_and_formats",
    "observations/feedback.py read_feedback": f"{OBS}::test_a_feedback_made_again",
    "observations/feedback.py _checked": f"{OBS}::test_rows_that_are_no_feedback",
    "observations/feedback.py refuse_csv": "commands/test_obs_rejected.py::"
    "test_feedback_as_csv_is_refused_where_it_would_be_read",
    "observations/files.py _matches": f"{OBS}::test_files_and_formats",
    "observations/qc/account.py require_usable": f"{BAD_OBS}::test_times_outside_the_window "
    f"{BAD_OBS}::test_some_times_outside_the_window",
    "observations/qc/account.py unit_hints": f"{OBS}::test_every_unit_that_values_may_look_like "
    f"{OBS}::test_pressures_in_hectopascal {OBS}::test_pressures_of_a_map "
    f"{OBS}::test_a_bufr_file_with_values_out_of_range",
    "observations/read/bufr.py _refuse": f"{OBS}::test_other_kinds_of_bufr",
    "observations/read/bufr_messages.py split": f"{OBS}::test_other_kinds_of_bufr",
    "observations/read/cells.py column": f"{OBS}::test_a_name_in_a_map",
    "observations/read/columns.py load_mapping": f"{OBS}::test_examples_of_maps",
    "observations/read/csv.py more cells": f"{BAD_OBS}::test_decimal_commas "
    f"{OBS}::test_a_decimal_comma {OBS}::test_a_decimal_comma_in_an_analysis "
    f"{OBS}::test_a_decimal_comma_in_verify",
    "observations/read/decode.py readinto": f"{OBS}::test_a_packed_file_that_grows",
    "observations/read/header.py recognise": f"{OBS}::test_a_table_without_known_values",
    "observations/read/header.py _variables": f"{OBS}::test_a_column_left_out",
    "observations/read/header.py _refuse_incomplete": f"{OBS}::test_a_column_that_a_map_names "
    f"{OBS}::test_every_name_that_a_column_may_have "
    f"{OBS}::test_a_position_that_is_not_in_the_file",
    "observations/read/header.py _time": f"{TRAPS}::test_statistics_of_a_day_are_no_observations",
    "observations/read/header.py _zone": f"{OBS}::test_a_time_zone",
    "observations/read/hidden_levels.py refuse_hidden_levels": f"{TRAPS}::"
    "test_levels_that_nothing_names_as_such",
    "observations/read/ioda.py read_ioda": f"{OBS}::test_ioda_variables",
    "observations/read/netcdf.py read_netcdf": "observations/test_obs_netcdf.py::"
    "test_cut_off_files_are_refused observations/test_obs_netcdf.py::"
    "test_other_netcdf_is_refused_with_what_it_holds",
    "observations/read/odb.py read_odb": "observations/test_obs_netcdf.py::"
    "test_an_odb_file_written_by_its_library",
    "observations/read/plan.py planned": f"{OBS}::test_a_table_without_known_values",
    "observations/read/plan.py _refuse_local_times": f"{TRAPS}::"
    "test_a_table_about_the_station_comes_first",
    "observations/read/plan.py read_stations_table": f"{OBS}::test_a_table_of_stations",
    "observations/read/plan.py _winds": f"{OBS}::test_a_wind_without_a_unit",
    "observations/read/plan.py _doubted": f"{TRAPS}::test_fractions_are_no_percentages",
    "observations/read/prepbufr.py _refuse": "observations/test_obs_prepbufr.py::"
    "test_another_dump_is_named_with_what_to_do",
    "observations/read/read.py read_observations": f"{BAD_OBS}::test_a_row_of_text",
    "observations/read/rows.py _expected": f"{TRAPS}::test_dates_of_two_columns",
    "observations/read/rows.py _rejected": f"{OBS}::test_a_decimal_comma",
    "observations/stations.py read_rules": f"{OBS}::test_lists_of_stations",
}
NOTHING_TO_DO = {  # hints that ask for nothing that could be done to the same input
    "observations/read/cells.py split_cells": "where to look; no known input comes so far",
    "observations/read/netcdf.py _refuse_impossible_sizes": "the file is damaged",
}
IN_TEXT = {  # hints within other messages
    "formats/recognise.py Finding",
    "observations/qc/account.py unit_hints",
    "observations/read/csv.py more cells",
    "observations/read/plan.py _winds",
    "observations/read/plan.py _doubted",
    "observations/read/rows.py _expected",
    "observations/read/rows.py _rejected",
}


def places(node: ast.AST, name: str = "") -> Iterator[str]:
    """The innermost function around each argument ``hint``."""
    for child in ast.iter_child_nodes(node):
        inside = child.name if isinstance(child, ast.FunctionDef) else name
        if isinstance(child, ast.Call) and any(k.arg == "hint" for k in child.keywords):
            yield inside
        yield from places(child, inside)


def given() -> set[str]:
    return {
        f"{path.relative_to(PACKAGE).as_posix()} {name}"
        for folder in ("observations", "formats")
        for path in (PACKAGE / folder).rglob("*.py")
        for name in places(ast.parse(path.read_text()))
    }


def test_every_hint_has_its_test() -> None:
    assert given() | IN_TEXT == set(FED_BACK) | set(NOTHING_TO_DO)


@pytest.mark.parametrize("tests", sorted(set(" ".join(FED_BACK.values()).split())))
def test_the_tests_are_there(tests: str) -> None:
    path, name = tests.split("::")
    assert f"def {name}(" in (TESTS / path).read_text()
