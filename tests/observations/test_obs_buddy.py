"""The buddy check: planted outliers, groups that agree, and optimal interpolation by hand."""

import numpy as np
import pandas as pd
import pytest

from phyda_cli.observations.qc import buddy_check
from phyda_cli.observations.qc.buddy import predict, soar
from phyda_cli.observations.table import QC, make


def network(side: int = 5, step: float = 1.0) -> pd.DataFrame:
    latitude, longitude = (
        a.ravel()
        for a in np.meshgrid(50 + step * np.arange(side), 8 + step * np.arange(side), indexing="ij")
    )
    names = np.array([f"s{i}" for i in range(latitude.size)], object)
    return make(
        station_id=names,
        time=np.datetime64("2020-10-01"),
        latitude=latitude,
        longitude=longitude,
        variable="t2m",
        value=np.zeros(latitude.size),
        error=1.0,
    )


def one_pattern(n: int, sigma: float = 3.0) -> np.ndarray:
    """Background errors that are the same everywhere."""
    return np.full((n, 1), sigma)


def test_prediction_from_one_neighbour_is_the_scalar_analysis() -> None:
    place, anomalies = np.array([[0.0, 0, 0], [300.0, 0, 0]]), one_pattern(2)
    d, error, near = np.array([0.0, 4.0]), np.array([1.0, 2.0]), np.array([[1, 0]])
    mean, width, share = predict(
        d, error, anomalies, place, np.array([0]), near, np.array([[True, False]])
    )
    covariance = 9 * soar(np.array(300.0), 1000.0)
    gain = covariance / (9 + 4)
    assert mean[0] == pytest.approx(gain * 4)
    assert width[0] == pytest.approx(np.sqrt(9 - gain * covariance + 1))
    assert share[0] == pytest.approx(gain * covariance / 9)


def test_a_planted_outlier_is_flagged_and_its_neighbours_stay() -> None:
    rows = network()
    innovation = np.random.default_rng(1).standard_normal(25) + 2.0
    innovation[12] -= 12.0  # 3.2 standard deviations of the first-guess check, which lets it pass
    codes = buddy_check(rows, innovation, one_pattern(25))["qc"].to_numpy()
    assert codes[12] == QC.BUDDY
    assert (np.delete(codes, 12) == 0).all()


def test_stations_that_agree_against_the_background_are_kept() -> None:
    assert (buddy_check(network(), np.full(25, 15.0), one_pattern(25))["qc"] == 0).all()


def test_neighbours_whose_errors_are_unrelated_have_no_say() -> None:
    innovation = np.zeros(25)
    innovation[12] = 99.0
    assert (buddy_check(network(), innovation, 3 * np.eye(25))["qc"] == 0).all()


def test_two_outliers_beside_each_other_are_both_found() -> None:
    innovation = np.zeros(25)
    innovation[[12, 13]] = [14.0, -13.0]
    codes = buddy_check(network(), innovation, one_pattern(25))["qc"].to_numpy()
    assert np.flatnonzero(codes).tolist() == [12, 13]


def test_without_neighbours_nothing_is_flagged() -> None:
    far = network(side=3).assign(latitude=0.0, longitude=40.0 * np.arange(9))
    innovation = np.zeros(9)
    innovation[4] = 99.0
    assert (buddy_check(far, innovation, one_pattern(9))["qc"] == 0).all()


def test_a_station_is_no_neighbour_of_itself_and_passive_rows_have_no_say() -> None:
    rows = network(side=2)
    own = pd.concat([rows.iloc[:1]] * 6, ignore_index=True)
    assert (buddy_check(own, np.array([30.0, 0, 0, 0, 0, 0]), one_pattern(6))["qc"] == 0).all()
    passive = network().assign(qc=np.array([0] + [1] * 24, np.int16))
    assert (
        buddy_check(passive, np.where(np.arange(25) == 0, 30.0, 0.0), one_pattern(25))["qc"].iloc[0]
        == 0
    )


def test_many_rows_are_checked_in_pieces_with_the_same_result() -> None:
    rng = np.random.default_rng(3)
    rows = network(side=60, step=0.2)
    innovation = rng.standard_normal(3600)
    planted = rng.choice(3600, 40, replace=False)
    innovation[planted] += 15.0
    found = np.flatnonzero(buddy_check(rows, innovation, one_pattern(3600))["qc"])
    assert set(found) == set(planted)
