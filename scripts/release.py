"""Make a released model of trained checkpoints, and note on its card what it reaches.

scripts/release.py NAME --intra CHECKPOINT --inter CHECKPOINT [--motion CHECKPOINT]
scripts/release.py NAME --measured results/NAME.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open

from deepsphere_codec.errors import CodecError
from deepsphere_codec.evaluation.results import read_results
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.zoo import save_model
from deepsphere_codec.sphere import HealpixGrid
from deepsphere_codec.training.checkpoint import load_checkpoint

FOLDER = Path(__file__).parents[1] / "deepsphere_codec" / "models" / "weights"
PREFIXES = {"intra": "intra.", "inter": "inter.", "motion": "inter.estimator."}
"""Of the weights' names, in the order in which they are put in place."""
LICENCE = (
    "Research use. Trained on footage of which some is CC BY-NC-SA 4.0 and some comes from research pages "
    "that state no licence."
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a released model, or note on its card what it reaches.")
    parser.add_argument("name")
    parser.add_argument("--intra", type=Path, help="checkpoint that the I-frames' weights come from")
    parser.add_argument("--inter", type=Path, help="checkpoint that the P-frames' weights come from")
    parser.add_argument("--motion", type=Path, help="checkpoint that the motion estimator's weights come from")
    parser.add_argument("--measured", type=Path, help="results of scripts/evaluate.py, for the card")
    parser.add_argument("--remarks", default="", help="what else to know of the training, for the card")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--hardware", default="two CPU cores", help="what it was trained on, for the card")
    args = parser.parse_args(arguments)
    if bool(args.measured) == bool(args.intra and args.inter):
        parser.error("give --intra and --inter, or --measured")
    try:
        if args.measured:
            note(args.out / args.name / "card.json", args.measured, args.remarks)
        else:
            release(args)
    except CodecError as error:
        print(f"release: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def release(args: argparse.Namespace) -> None:
    parts = {part: path for part in PREFIXES if (path := getattr(args, part))}
    states = {part: _state(path) for part, path in parts.items()}
    config = ModelConfig.from_dict(states["inter"]["settings"]["model"])
    torch.manual_seed(0)
    network = SphereDVC(config, HealpixGrid.cached(64))
    for part, path in parts.items():
        load_checkpoint(path, network, only=PREFIXES[part])
    card = {
        "licence": LICENCE,
        "data": f"64 clips of {states['inter']['settings']['film_frames']} frames of 360° video and 44 panoramas, "
        "1024×512; patches of 128×128 nodes at nside 256",
        "hardware": args.hardware,
        "training": {
            part: _training(state["settings"]["train"], state["step"], state["settings"]["data"]["frames"])
            for part, state in states.items()
        },
    }
    save_model(args.out / args.name, args.name, network, card)


def _training(schedule: dict, step: int, frames: int) -> dict:
    """What the card says: the steps that were done, which may be fewer than were planned."""
    return {**schedule, "steps": step, "steps_planned": schedule["steps"], "frames": frames}


def note(card: Path, measured: Path, remarks: str) -> None:
    """Put the mean rate and distortion of a results file on the card of the weights that they were measured with."""
    about, results = json.loads(card.read_text()), read_results(measured)[0]
    if results.settings.get("weights_hash") != about["weights_hash"]:
        raise CodecError(f"{measured} was measured with other weights than {card.parent}'s")
    points = [{"quality": p.quality, "bpp": p.bpp, "ws-psnr-yuv": p.ws_psnr_yuv} for p in results.mean]
    about["measured"] = {"clips": len(results.clips), "frames": results.settings["frames"], "points": points}
    if remarks:
        about["remarks"] = remarks
    card.write_text(json.dumps(about, indent=2) + "\n")


def _state(path: Path) -> dict:
    try:
        with safe_open(path, "pt") as file:
            return json.loads(file.metadata()["state"])
    except Exception as error:
        raise CodecError(f"{path} is not a checkpoint: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
