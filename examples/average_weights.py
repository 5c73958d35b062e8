"""A checkpoint with the mean of two checkpoints' network weights; everything else is the second's.

    python examples/average_weights.py runs/third/checkpoint runs/speedy-64x32/checkpoint OUT
    [--linear t50 ...]

Both must have the same state, members and sizes, the second's training having continued the
first's. Often better than either (Wortsman et al. 2022, arXiv 2203.05482).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch import nn

from phyda_cli.model.checkpoint import Checkpoint, save_checkpoint


def average(first: nn.Module, second: nn.Module) -> None:
    """Move the weights of ``second`` half the way to those of ``first``."""
    own = second.state_dict()
    second.load_state_dict(
        {name: (value + own[name]) / 2 for name, value in first.state_dict().items()}
    )


def main() -> None:
    """Average and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--linear", nargs="*", default=[], help="channels that stage 1 keeps")
    args = parser.parse_args()
    first, second = Checkpoint.open(args.first), Checkpoint.open(args.second)
    pairs = [
        *zip(first.networks(), second.networks(), strict=True),
        (first.background_spread(), second.background_spread()),
    ]
    for a, b in pairs:
        if a is not None and b is not None:
            average(a, b)
    known = second.metadata.model_dump(exclude={"format", "files"})
    network = second.metadata.network.model_copy(update={"linear": tuple(args.linear)})
    training = second.metadata.training | {
        "averaged_with": f"{first.metadata.name}, model.json {first.sha256}"
    }
    metadata = known | {"state": second.state, "network": network, "training": training}
    encoder, denoiser = (b for _, b in pairs[:2])
    save_checkpoint(
        args.out,
        metadata,
        second.statics,
        second.all_members(),
        encoder,
        denoiser,
        pairs[2][1],
        second.mean_error,
    )


if __name__ == "__main__":
    main()
