"""Who the other processes are, and work that the first one does for all."""

from __future__ import annotations

import pytest

from phyda_cli.errors import InputError
from phyda_cli.parallel.ranks import Ranks, of_slurm

STEP = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_ID": "1",
    "SLURM_JOB_ID": "1234567",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node07", "node07"),
        ("node[07-10,12]", "node07"),
        ("node[3,5]-ib", "node3-ib"),
        ("gpu1,gpu4", "gpu1"),
    ],
)
def test_a_step_of_srun_is_as_one_of_torchrun(nodes: str, first: str) -> None:
    assert of_slurm(STEP | {"SLURM_STEP_NODELIST": nodes}) == {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "MASTER_ADDR": first,
        "MASTER_PORT": "19568",
    }


def test_a_batch_job_that_starts_one_process_is_alone() -> None:
    assert of_slurm({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"}) == {}
    assert of_slurm(STEP | {"SLURM_STEP_NUM_TASKS": "1"}) == {}


def test_the_first_works_for_all() -> None:
    assert Ranks().first(lambda: 3) == 3

    def fails() -> int:
        raise InputError("gone")

    with pytest.raises(InputError, match="gone"):
        Ranks().first(fails)
