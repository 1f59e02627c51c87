#!/usr/bin/env python3
"""Make a released model from a training run, and add its measured results to its card.

scripts/release.py NAME CONFIG.toml [--set key=value …] [--hardware WORDS]
scripts/release.py NAME --measured results/NAME.json [--remarks WORDS]
scripts/release.py NAME|DIR|planar-ssf2020 --complexity
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.evaluation.anchors.ssf2020.settings import SsfSettings, is_ssf2020, load_ssf2020_stages
from deepsphere_codec.evaluation.anchors.ssf2020.trainer import network_of
from deepsphere_codec.evaluation.anchors.ssf2020.weights import save_ssf
from deepsphere_codec.evaluation.complexity import complexity_of
from deepsphere_codec.evaluation.environment import environment
from deepsphere_codec.evaluation.results import read_results
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.geometry import nside_multiple, whole_grid
from deepsphere_codec.models.macs import complexity
from deepsphere_codec.models.zoo import save_model
from deepsphere_codec.training.checkpoint import load_checkpoint, read_state
from deepsphere_codec.training.settings import GENERATED, load_stages

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deepsphere_codec" / "models" / "weights"
LICENCE = (
    "Research use. Trained on footage of which some is CC BY-NC-SA 4.0 and some comes from research pages "
    "that state no licence."
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a released model, or note on its card what it reaches.")
    parser.add_argument("name")
    parser.add_argument("config", nargs="?", type=Path, help="that it was trained with")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as it was trained with")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run is (runs)")
    parser.add_argument("--measured", type=Path, help="results of scripts/evaluate.py, for the card")
    parser.add_argument("--remarks", default="", help="what else to know of the training, for the card")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--hardware", default="two CPU cores", help="what it was trained on, for the card")
    parser.add_argument("--complexity", action="store_true", help="print parameters and operations of a model, no more")
    args = parser.parse_args(arguments)
    if sum(map(bool, (args.measured, args.config, args.complexity))) != 1:
        parser.error("give the configuration that it was trained with, or --measured, or --complexity")
    try:
        if args.complexity:
            print(f"{args.name}: {complexity_of(args.name).in_words()}")
        elif args.measured:
            note(args.out / args.name / "card.json", args.measured, args.remarks)
        elif is_ssf2020(args.config, args.set):
            release_ssf2020(args)
        else:
            release(args)
    except CodecError as error:
        print(f"release: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def release(args: argparse.Namespace) -> None:
    """Write the weights of the last trained stage, with a card that describes all stages.

    Args:
        args: Options.
    Raises:
        UsageError: there is no checkpoint.
    """
    paths = [args.runs / stage.name / "checkpoint.safetensors" for stage in load_stages(args.config, args.set)]
    paths = [path for path in paths if path.exists()]
    if not paths:
        raise UsageError(f"{args.runs} holds no checkpoint of {args.config}; train it first")
    states = {path.parent.name: read_state(path) for path in paths}
    settings = states[paths[-1].parent.name]["settings"]
    config = ModelConfig(**settings["model"])
    network = SphereDVC(config, whole_grid(config.geometry, nside_multiple(config.geometry)))
    load_checkpoint(paths[-1], network)
    card = {
        "licence": LICENCE,
        "data": f"{_footage(list(states.values()))}; {_patches(settings['data'])}",
        "hardware": args.hardware,
        "commit": environment().get("commit"),
        "training": _before(states) | {name: _training(state) for name, state in states.items()},
    }
    save_model(args.out / args.name, args.name, network, card)
    shutil.copy(ROOT / "LICENSE-weights", args.out / args.name)
    print(f"{args.name}: {complexity(config).in_words()}")


def release_ssf2020(args: argparse.Namespace) -> None:
    """Write a folder for each trained rate; each card describes the stages up to its own.

    Args:
        args: Options.
    Raises:
        UsageError: there is no checkpoint.
    """
    trained: dict[str, SsfSettings] = {}
    for stage in load_ssf2020_stages(args.config, args.set):
        path = args.runs / stage.name / "checkpoint.safetensors"
        if not path.exists():
            continue
        state = read_state(path)
        trained[stage.name] = stage
        network = network_of(stage)
        load_checkpoint(path, network)
        card = {
            "licence": LICENCE,
            "data": f"{_footage([state])}; patches of {stage.data.columns}×{stage.data.rows} pixels",
            "hardware": args.hardware,
            "training": state["settings"]["train"]
            | {"steps": state["step"], **_time(state), "frames": stage.data.frames},
            "stages": list(trained),
        }
        save_ssf(args.out / args.name / f"quality-{stage.train.quality}", network, stage.train.quality, card)
        shutil.copy(ROOT / "LICENSE-weights", args.out / args.name)
    if not trained:
        raise UsageError(f"{args.runs} holds no checkpoint of {args.config}; train it first")


def _footage(states: list[dict]) -> str:
    """Films that the stages were trained on, in words; the largest numbers if stages differ."""
    told = [state["footage"] for state in states if "footage" in state]
    if not told:  # a checkpoint of version 0.1
        return "films that the checkpoint does not tell of"
    most = {key: max(each[key] for each in told) for key in told[0]}
    kind = "generated 360° video" if states[-1]["settings"]["films"] == GENERATED else "360° video"
    panoramas = f" and {most['panoramas']} panorama{'s' * (most['panoramas'] > 1)}" if most["panoramas"] else ""
    clips = f"{most['clips']} clips of {most['frames']} frames of {kind}"
    return f"{clips}{panoramas}, {most['width']}×{most['width'] // 2}"


def _before(states: dict[str, dict]) -> dict:
    """Card's entry on released weights with which the training began; stages by model and name."""
    start = next(iter(states.values()))["settings"]["train"]["start"]
    card = Path(start).parent / "card.json"
    if not start or not card.exists():
        return {}
    about = json.loads(card.read_text())
    return {name if "/" in name else f"{about['name']}/{name}": stage for name, stage in about["training"].items()}


def _training(state: dict) -> dict:
    """Card's entry on training: the steps done, which may be fewer than planned, and the samples."""
    schedule, samples = state["settings"]["train"], state["settings"]["data"]
    return {
        **schedule,
        "steps": state["step"],
        "steps_planned": schedule["steps"],
        **_time(state),
        "frames": samples["frames"],
        "samples": samples,
    }


def _time(state: dict) -> dict:
    """Processor time of one process, if the checkpoint records it."""
    return {"cpu_minutes": round(state["cpu_seconds"] / 60, 1)} if "cpu_seconds" in state else {}


def _patches(data: dict) -> str:
    """Samples of a step, in words."""
    if "side" in data:
        return f"patches of {data['side']}×{data['side']} nodes at nside {data['nside']}"
    return f"patches of {data['rows']}×{data['columns']} pixels"


def note(card: Path, measured: Path, remarks: str) -> None:
    """Write the mean rate and distortion of a results file to the card of the measured weights.

    Args:
        card: Card.
        measured: Results file.
        remarks: Remarks for the card.
    Raises:
        CodecError: other weights were measured.
    """
    about, results = json.loads(card.read_text()), read_results(measured)[0]
    if results.settings.get("weights_hash") != about["weights_hash"]:
        raise CodecError(f"{measured} was measured with other weights than {card.parent}'s")
    points = [{"quality": p.quality, "bpp": p.bpp, "ws-psnr-yuv": p.ws_psnr_yuv} for p in results.mean]
    about["measured"] = {"clips": len(results.clips), "frames": results.settings["frames"], "points": points}
    if remarks:
        about["remarks"] = remarks
    card.write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
