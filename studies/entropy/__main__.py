"""Measure what each part of a model's entropy parameters is worth, at equal picture.

    python -m studies.entropy [--model sphere-dvc] [--minutes 30] [--jobs 2] [--seeds 2]

The model's latents of patches of films are recorded once. Then hyperpriors are trained on them from scratch, alike but
for the part that each goes without, and compared on films that neither they nor the model have seen. Run it again to
go on where it was broken off.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.evaluation.environment import environment
from deepsphere_codec.evaluation.json_file import write_json
from deepsphere_codec.evaluation.script import run
from deepsphere_codec.models import DEFAULT_MODEL, load_model
from deepsphere_codec.runtime.memory import keep_freed_memory
from studies.ablation.jobs import run_all
from studies.ablation.script import CLIP_FRAMES, chosen, prepare
from studies.entropy.ablation import FULL, VARIANTS, Job, Variant, measure_own, run_job
from studies.entropy.latents import PARTS, Plan, collect, places

MINUTES, STEPS = 30.0, 3000
"""So many steps of each hyperprior take so long, on two cores, with two seeds."""
DESCRIPTION = (
    "Hyperpriors trained from scratch on the same latents of a model whose transforms stand still, each without one "
    "part of the entropy parameters; estimated bits per node and frame of patches of test clips, side information "
    "included. Savings are per cent more bits than the full one's, mean over qualities and seeds. rounding_db is the "
    "signal-to-noise ratio of the latents, scaled back; where it changes, so does the picture. 'own' is the model's "
    "hyperprior, as it is, on the same patches; 'as before' is what there was up to the middle of version 0.5: 48 "
    "channels wide, all channels of the latents at once, one distribution for each channel of the hyper-latents, told "
    "neither the motion nor the quality (but in 8 bits)."
)

Json = dict[str, Any]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Bits that each part of the entropy parameters saves.")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or folder (sphere-dvc)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="that all of it takes on two cores (30)")
    parser.add_argument("--steps", type=int, help="of each training, in place of a number that follows from --minutes")
    parser.add_argument("--rate", type=float, default=3e-3, help="of learning (0.003)")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each variant (2)")
    parser.add_argument("--jobs", type=int, default=2, help="trainings side by side, one thread each (2)")
    names = [variant.name for variant in VARIANTS]
    parser.add_argument("--variants", nargs="+", default=names, choices=names, metavar="NAME", help="some of them")
    patches = parser.add_argument_group("samples")
    patches.add_argument("--nside", type=int, default=256)
    patches.add_argument("--side", type=int, default=128, help="nodes along a patch (128)")
    patches.add_argument("--frames", type=int, default=8, help="of a chain: one I-frame, then P-frames (8)")
    patches.add_argument("--places", type=int, default=24, help="blocks of the sphere to train on (24)")
    patches.add_argument("--chains", type=int, default=16, help="at each of them (16)")
    patches.add_argument("--singles", type=int, default=64, help="I-frames besides at each of them (64)")
    parser.add_argument("--films", type=Path, default=Path("../shared/data/train"), help="films to train on")
    parser.add_argument("--clips", type=Path, default=Path("../shared/data/test/video"), help="films to measure on")
    parser.add_argument("--prepared", type=Path, default=Path("runs/clips"), help="where films to train on are kept")
    parser.add_argument("--runs", type=Path, default=Path("runs/entropy_ablation"), help="where the rest is kept")
    parser.add_argument("--out", type=Path, default=Path("results/entropy.json"))
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    torch.set_num_threads(1)
    variants = chosen(args, VARIANTS, "minutes", "steps", "rate", "places", "chains")
    plan = make_plan(args)
    prepare(args.films, plan.films, 64)
    prepare(args.clips, plan.clips, CLIP_FRAMES)
    with_bar(collect, places(plan), args.jobs, "place")
    results = bring_together(with_bar(run_job, list_jobs(args, plan, variants), args.jobs, "run"), plan)
    write_json(args.out, results)
    print(table(results))


def make_plan(args: argparse.Namespace) -> Plan:
    model = load_model(args.model)
    return Plan(
        model=args.model,
        name=model.name,
        weights_hash=model.weights_hash,
        config=model.config,
        films=args.prepared,
        clips=args.runs / "clips",
        folder=args.runs,
        data=PatchSettings(args.nside, args.side, args.frames),
        places=args.places,
        chains=args.chains,
        singles=args.singles,
        steps=args.steps or max(1, round(STEPS * args.minutes / MINUTES)),
        rate=args.rate,
    )


def list_jobs(args: argparse.Namespace, plan: Plan, variants: Sequence[Variant]) -> list[Job]:
    """One seed after the other, so that the first results are whole when half of the time has passed."""
    seeds = range(1, args.seeds + 1)
    return [Job(plan, each, part, seed) for seed in seeds for part in PARTS for each in variants if part in each.parts]


def with_bar(task: Callable[[Any], Any], tasks: Sequence[Any], at_once: int, unit: str) -> list[Any]:
    return list(tqdm(run_all(task, tasks, at_once), total=len(tasks), unit=unit, disable=None))


def bring_together(runs: Sequence[Json], plan: Plan) -> Json:
    """The results, ready to be written."""
    found = {(each["variant"], each["seed"], each["part"]): each["points"] for each in runs}
    names = [variant.name for variant in VARIANTS if any(variant.name == name for name, _, _ in found)]
    seeds = sorted({seed for _, seed, _ in found})
    rows = []
    for name in names:
        for seed in seeds:
            latents = {part: found[name, seed, part] for part in PARTS if (name, seed, part) in found}
            rows.append({"name": name, "seed": seed, "latents": latents})
    settings = {**plan.settings, "seeds": seeds, "clips": sorted(path.stem for path in plan.clips.glob("*.npy"))}
    own_row = {"latents": {part: measure_own(plan, part) for part in PARTS}}
    head = {"name": "entropy", "description": DESCRIPTION, "settings": settings, "own": own_row, "variants": rows}
    return {**head, "savings": savings(rows, names), "environment": environment()}


def savings(rows: Sequence[Json], names: Sequence[str]) -> Json:
    """Results of each variant but the full one, by part."""
    full = {row["seed"]: row for row in rows if row["name"] == FULL}
    return {
        name: {
            part: _against(
                [(_points(row, part), _points(full[row["seed"]], part)) for row in rows if row["name"] == name]
            )
            for part in PARTS
            if any(row["name"] == name and _points(row, part) for row in rows)
        }
        for name in names
        if name != FULL
    }


def _points(row: Json, part: str) -> list[Json]:
    return row["latents"].get(part, [])


def _against(pairs: Sequence[tuple[list[Json], list[Json]]]) -> Json:
    """Of one part: points of a variant and of the full one, for each seed."""
    percent = [
        [100 * (a["bits_per_node"] / b["bits_per_node"] - 1) for a, b in zip(*pair, strict=True)] for pair in pairs
    ]
    per_seed = [round(statistics.fmean(each), 2) for each in percent]
    per_quality = [round(statistics.fmean(each), 2) for each in zip(*percent, strict=True)]
    changes = [
        a["rounding_db"] - b["rounding_db"]
        for pair in pairs
        for a, b in zip(*pair, strict=True)
        if a.get("rounding_db") is not None and b.get("rounding_db") is not None
    ]
    mean = {"percent": round(statistics.fmean(per_seed), 2), "per_seed": per_seed, "per_quality": per_quality}
    return {**mean, "rounding_db": round(statistics.fmean(changes), 3)} if changes else mean


def table(results: Json) -> str:
    """As text: bits of the full one, then what each other one spends more, with the change of rounding's error."""
    width = max(len(row["name"]) for row in results["variants"])
    full = [row for row in results["variants"] if row["name"] == FULL]
    lines = [
        "bits per node of the model's own and of the full one, mean over qualities and seeds; of the others, per cent",
        "more (± half the range over seeds), and the change of the latents' signal-to-noise ratio (0: equal picture)",
        " " * width + "".join(part.rjust(28) for part in PARTS),
        "own".ljust(width) + "".join(_bits([results["own"]], part).rjust(28) for part in PARTS),
        FULL.ljust(width) + "".join(_bits(full, part).rjust(28) for part in PARTS),
    ]
    for name, parts in results["savings"].items():
        lines.append(name.ljust(width) + "".join(_cell(parts.get(part)).rjust(28) for part in PARTS))
    return "\n".join(lines)


def _bits(rows: Sequence[Json], part: str) -> str:
    return f"{statistics.fmean(point['bits_per_node'] for row in rows for point in _points(row, part)):.4f}"


def _cell(saving: Json | None) -> str:
    if saving is None:
        return "-"
    spread = (max(saving["per_seed"]) - min(saving["per_seed"])) / 2
    about = f" ± {spread:.2f}" if len(saving["per_seed"]) > 1 else ""
    change = f" {saving['rounding_db']:+.3f} dB" if "rounding_db" in saving else ""
    return f"{saving['percent']:+.2f}{about} %{change}"


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(run(main))
