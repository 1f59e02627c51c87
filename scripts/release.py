"""Make a released model of trained checkpoints: `scripts/release.py NAME --intra RUN --inter RUN`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open

from deepsphere_codec.errors import CodecError
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.zoo import save_model
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.training.checkpoint import load_checkpoint

FOLDER = Path(__file__).parents[1] / "deepsphere_codec" / "models" / "weights"
LICENCE = (
    "Research use. Trained on footage of which some is CC BY-NC-SA 4.0 and some comes from research pages "
    "that state no licence."
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--intra", type=Path, required=True, help="checkpoint that the I-frames' weights come from")
    parser.add_argument("--inter", type=Path, required=True, help="checkpoint that the P-frames' weights come from")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--hardware", default="two CPU cores", help="what it was trained on, for the card")
    args = parser.parse_args(arguments)
    try:
        release(args)
    except CodecError as error:
        print(f"release: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def release(args: argparse.Namespace) -> None:
    states = {part: _state(getattr(args, part)) for part in ("intra", "inter")}
    config = ModelConfig.from_dict(states["inter"]["settings"]["model"])
    torch.manual_seed(0)
    network = SphereDVC(config, HealpixGrid.cached(64))
    load_checkpoint(args.inter, network)
    inter = {name: p.detach().clone() for name, p in network.inter.named_parameters()}
    load_checkpoint(args.intra, network)
    for name, p in network.inter.named_parameters():
        p.data.copy_(inter[name])
    card = {
        "licence": LICENCE,
        "data": "64 clips of 32 frames of 360° video and 44 panoramas, 1024×512; patches of 128×128 nodes at nside 256",
        "hardware": args.hardware,
        "training": {
            part: {"steps": state["step"], **state["settings"]["train"], "frames": state["settings"]["data"]["frames"]}
            for part, state in states.items()
        },
    }
    save_model(args.out / args.name, args.name, network, card)


def _state(path: Path) -> dict:
    try:
        with safe_open(path, "pt") as file:
            return json.loads(file.metadata()["state"])
    except Exception as error:
        raise CodecError(f"{path} is not a checkpoint: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
