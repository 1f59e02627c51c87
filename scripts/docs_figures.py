#!/usr/bin/env python3
"""Write the tables of README.md and docs/ from results/: `scripts/docs_figures.py [--check]`.

A page holds them between `<!-- figures: NAME; … -->` and `<!-- /figures -->`; PARTS says which names there are.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean

from deepsphere_codec.evaluation.bdrate import bd_rows
from deepsphere_codec.evaluation.bootstrap import bd_intervals
from deepsphere_codec.evaluation.results import Results, read_results
from studies.ablation.tables import in_percent

ROOT = Path(__file__).resolve().parents[1]
METRICS = ("ws-psnr-yuv", "s-psnr-i-y", "ws-ssim-y", "viewport-psnr-y")
HEADLINE = ("ws-psnr-yuv", "ws-ssim-y", "viewport-psnr-y")
MARKERS = re.compile(r"(<!-- figures: (\w+);.*?-->\n).*?(<!-- /figures -->)", re.S)


def headline(results: Path) -> str:
    """Make the README's table of BD-rates against other codecs."""
    report = json.loads((results / "report.json").read_text())
    lines = ["| against | WS-PSNR-YUV | WS-SSIM-Y | viewport PSNR-Y |", "|---|---|---|---|"]
    for codec in report["codecs"]:
        if codec["codec"] != report["default"]:
            figures = [_interval(codec["default_against"].get(metric)) for metric in HEADLINE]
            lines.append(f"| {' | '.join([codec['name'], *figures])} |")
    return "\n".join(lines) + "\n"


def reach(results: Path) -> str:
    """Make the tables of rate and distortion, and of BD-rates."""
    report = json.loads((results / "report.json").read_text())
    codecs = {codec["codec"]: codec for codec in report["codecs"]}
    frames = max(report["frames"])
    lines = [
        f"Means over {len(report['films'])} test clips of 1024×512, first {frames} frames, one I-frame:",
        "",
        "| sphere-dvc, quality | bpp | WS-PSNR-YUV, dB | P-frame / I-frame, bits | encode, s/frame | decode, s/frame |",
        "|---|---|---|---|---|---|",
    ]
    for point in codecs[report["default"]]["mean"]:
        seconds = [point[key] / frames for key in ("encode_seconds", "decode_seconds")]
        lines.append(
            f"| {point['quality']:g} | {point['bpp']:.3f} | {point['ws-psnr-yuv']:.2f} "
            f"| {point['bpp-p'] / point['bpp-i']:.2f} | {seconds[0]:.2f} | {seconds[1]:.2f} |"
        )
    lines += ["", "| x265 medium, crf | bpp | WS-PSNR-YUV, dB |", "|---|---|---|"]
    lines += [f"| {p['quality']:g} | {p['bpp']:.3f} | {p['ws-psnr-yuv']:.2f} |" for p in codecs["x265"]["mean"]]
    lines += ["", *fight(report)]
    if (path := results / "sphere-dvc-low-delay.json").exists():
        lines += ["", low_delay(read_results(results / "x265-zerolatency.json")[0], read_results(path)[0])]
    if (path := results / "fair.json").exists():
        lines += ["", *from_nothing(json.loads(path.read_text()))]
    for name, top in report["ceilings"].items():
        lines += ["", f"Resampling alone, at full resolution ({name}): {top:.1f} dB YUV."]
    return "\n".join(lines) + "\n"


def study(name: str, table: Callable[[dict], list[str]]) -> Callable[[Path], str]:
    """Make the part of one study, from results/NAME.json; it is empty if there are no results.

    Args:
        name: Name of the study.
        table: Function that formats its results.
    Returns:
        Function from the folder of the results to the text.
    """

    def part(results: Path) -> str:
        path = results / f"{name}.json"
        return "\n".join(table(json.loads(path.read_text()))) + "\n" if path.exists() else ""

    return part


def resolution(results: Path) -> str:
    """Make the table of one model at several resolutions."""
    paths = sorted((results / "resolution").glob("*.json"))
    return "\n".join(resolutions([read_results(path)[0] for path in paths])) + "\n" if paths else ""


def fight(summary: dict) -> list[str]:
    """Make the table of the default model against each of the other codecs."""
    frames = " or ".join(map(str, summary["frames"]))
    target = "report-full" if "out/report-full" in summary["command"] else "report"
    lines = [
        f"{summary['default']} against each of the others, {len(summary['films'])} clips, {frames} frames. BD-rates "
        f"are means over clips with 95 % intervals over the choice of clips, negative where {summary['default']} needs "
        "fewer bits. Steps are training steps of I- and of P-frames. kMAC are thousands of multiply-accumulates per "
        f"ERP pixel of a P-frame, at an nside of a quarter of the width. Made by `make {target}`:",
        "",
        "| against | steps, I / P | parameters, M | kMAC, encode / decode | WS-PSNR-YUV | S-PSNR-I-Y | WS-SSIM-Y "
        "| viewport PSNR-Y | overlap |",
        "|---" * 9 + "|",
    ]
    lines += _duels(summary, _effort)
    trained = [(codec["name"], (codec["training"] or {}).get("hardware")) for codec in summary["codecs"]]
    return [*lines, "", "Training time:", "", *(f"- {name}: {took}." for name, took in trained if took)]


def low_delay(anchor: Results, ours: Results) -> str:
    """Write the sentence on the BD-rate of low-delay coding against an encoder without B-frames.

    Args:
        anchor: Results of the encoder.
        ours: Results of the model.
    Returns:
        Sentence.
    """
    found = bd_intervals(anchor, ours)
    means, curve = found.mean_of_clips.pchip, found.mean_curve
    assert means is not None and means.low is not None, "the curves do not meet"
    return (
        f"With `--low-delay`, against {anchor.name}: {means.estimate:+.1f} % [{means.low:+.0f}, {means.high:+.0f}] "
        f"(WS-PSNR-YUV, {len(found.per_clip)} clips, overlap {curve.overlap:.0%}; "
        "`scripts/evaluate.py --codec sphere-dvc --low-delay`)."
    )


def from_nothing(summary: dict) -> list[str]:
    """Make the table of short trainings on the sphere and the plane with equal steps and time."""
    lines = [
        "### From nothing",
        "",
        "The sphere and its planar twins, each trained from random weights, for an equal number of steps, samples, and "
        f"nodes or pixels; {len(summary['films'])} test clips, {max(summary['frames'])} frames. Minutes are "
        "those of one core. BD-rates of the sphere against each, as above. Made by `make fair`:",
        "",
        "| against | steps, I / P | minutes | WS-PSNR-YUV | S-PSNR-I-Y | WS-SSIM-Y | viewport PSNR-Y | overlap |",
        "|---" * 8 + "|",
    ]
    return [*lines, *_duels(summary, _steps_and_minutes)]


def _duels(summary: dict, effort: Callable[[dict], list[str]]) -> Iterator[str]:
    """Rows for each codec: its effort, and BD-rates of the default against it."""
    for codec in summary["codecs"]:
        against = codec["default_against"]
        figures = [_interval(against.get(metric)) for metric in METRICS]
        name, overlap = codec["name"], _overlap(against.get(METRICS[0]), len(summary["films"]))
        if codec["codec"] == summary["default"]:
            name += " itself"
        yield f"| {' | '.join([name, *effort(codec), *figures, overlap])} |"


def _steps_and_minutes(codec: dict) -> list[str]:
    minutes = codec["training"].get("cpu_minutes")
    return [_effort(codec)[0], "" if minutes is None else f"{minutes:.0f}"]


def _effort(codec: dict) -> list[str]:
    """Training, size and computation of a model."""
    steps, cost = (codec["training"] or {}).get("steps", {}), codec.get("cost")
    parts = [steps["all"]] if "all" in steps else [steps.get(part, 0) for part in ("intra", "inter")]
    trained = " / ".join(map(str, parts)) if steps else ""
    if not cost:
        return [trained, "", ""]
    macs = cost["macs"]
    return [
        trained,
        f"{cost['parameters'] / 1e6:.2f}",
        f"{macs['inter'] / 1e3:.0f} / {macs['inter_decoder'] / 1e3:.0f}",
    ]


def _overlap(bd: dict | None, clips: int) -> str:
    """Overlap of the curves in dB, and the number of clips for which they overlap, if not all."""
    if not bd:
        return ""
    return f"{bd['overlap']:.0%}" + (f", {bd['clips']} clips" if bd["clips"] < clips else "")


def _interval(bd: dict | None) -> str:
    if not bd:
        return ""
    ends = "" if bd["low"] is None else f" [{bd['low']:+.0f}, {bd['high']:+.0f}]"
    return f"{bd['mean_of_clips']:+.1f} %{ends}"


def resolutions(measured: list[Results]) -> list[str]:
    """Make the table of one model at several resolutions."""
    measured = sorted(measured, key=lambda each: each.settings["nside"])
    clips, frames = len(measured[0].clips), measured[0].settings["frames"]
    lines = [
        f"{measured[0].codec} on {clips} training clips, {frames} frames: bpp and WS-PSNR-YUV in dB at each of the "
        "networks' qualities, and BD-rate against the largest nside; made with `scripts/evaluate.py … --nside N`:",
        "",
        f"| nside | {' | '.join(f'{point.quality:g}' for point in measured[-1].mean)} | BD-rate |",
        "|---" * (2 + len(measured[-1].mean)) + "|",
    ]
    for each in measured:
        bd = None if each is measured[-1] else bd_rows(measured[-1], [each])[0].mean_curve.pchip
        points = {point.quality: f"{point.bpp:.4f}, {point.ws_psnr_yuv:.2f}" for point in each.mean}
        cells = [points.get(point.quality, "") for point in measured[-1].mean]
        lines.append(f"| {' | '.join([str(each.settings['nside']), *cells, _percent(bd)])} |")
    return lines


def equal_time(results: dict) -> list[str]:
    """Make the table of the losses of each variant after equal processor time."""
    parts = {part: results[part] for part in ("intra", "inter") if part in results}
    first = next(iter(parts.values()))["settings"]
    lines = [
        f"Each variant trained from random weights for {first['moments'][-1] / 60:.0f} minutes of one core "
        f"({results['environment']['cpu']}), in {first['precision']}; loss on patches of the test clips after a number "
        f"of seconds, and BD-rate against {first['anchor']} at the end, mean over seeds:",
    ]
    titles = {"intra": "I-frames", "inter": "P- and B-frames"}
    for part, found in parts.items():
        moments = [f"{moment:.0f} s" for moment in found["settings"]["moments"]]
        lines += [
            "",
            f"| {titles[part]} | parameters, M | s a step | {' | '.join(moments)} | BD-rate | seeds |",
            "|---|" + "---|" * (len(moments) + 4),
        ]
        for variant in found["variants"]:
            runs = variant["runs"]
            losses = [fmean(each["loss"] for each in at) for at in zip(*(run["moments"] for run in runs), strict=False)]
            cells = [f"{loss:.4f}" for loss in losses] + [""] * (len(moments) - len(losses))
            size = f"{variant['parameters'] / 1e6:.2f} | {variant['seconds_per_step']:.2f}"
            rate = "0" if variant["name"] == found["settings"]["anchor"] else in_percent(variant["bd_rate"])
            lines.append(f"| {variant['name']} | {size} | {' | '.join(cells)} | {rate} | {len(runs)} |")
    return [*lines, "", "![Loss after as much time](equal_time.svg)"]


def convolutions(results: dict) -> list[str]:
    """Make the table of the kinds of convolution."""
    settings, anchor = results["settings"], results["settings"]["anchor"]
    budgets = [settings["budgets"][part] for part in ("intra", "inter")]
    words = " and ".join(f"{budget['steps']} steps or {budget['seconds']:.0f} s" for budget in budgets)
    seeds = len(results["variants"][0]["intra"]["equal_steps"])
    lines = [
        f"The same codec with each kind of convolution, trained alike: {words} on one core for I- and P-frames, mean "
        f"of {seeds} seeds, estimated rate on patches of the test clips. BD-rate against {anchor}, after equal steps / "
        "after equal time; milliseconds of the transforms on one frame, one thread:",
        "",
        "| convolution | I-frames | P-frames | ms, I | ms, P | parameters, M |",
        "|---|---|---|---|---|---|",
    ]
    for variant in results["variants"]:
        known = variant["name"] != anchor
        rates = [_two_moments(variant[part]) if known else "0" for part in ("intra", "inter")]
        times = [f"{variant['milliseconds'][part]:.0f}" for part in ("intra", "inter")]
        parameters = sum(variant["parameters"].values()) / 1e6
        lines.append(f"| {variant['name']} | {' | '.join([*rates, *times])} | {parameters:.2f} |")
    return [*lines, "", "![Convolutions](convolutions.svg)"]


def training(results: dict) -> list[str]:
    """Make the table of the variants of training."""
    settings, variants = results["settings"], results["variants"]
    steps, anchor = settings["budgets"]["inter"]["steps"], settings["anchor"]
    measures = [(part, name) for part in ("intra", "inter") for name in variants[0][part]["bd_rate"]]
    lines = [
        f"The same codec with one choice of training changed at a time, {steps} steps of {settings['batch']} samples"
        f"{_over_seeds(variants)}, estimated rate on patches of the test clips. BD-rate against the {anchor} "
        "(studies/training/study.toml), over nodes, over ERP pixels weighted by area (as WS-PSNR is), and, over nodes, "
        "of a second P-frame behind the first. Patches count with their borders, which a training with a margin does "
        "not learn. Seconds are those of one core per step:",
        "",
        "| change | I, nodes | I, ERP | P, nodes | P, ERP | second P | s, I | s, P |",
        "|---" * 8 + "|",
    ]
    for variant in variants:
        parts = {part: variant.get(part) for part in ("intra", "inter")}
        rates = ["0" if variant["name"] == anchor else _known(parts[part], name) for part, name in measures]
        seconds = [f"{part['seconds_per_step']:.2f}" if part else "" for part in parts.values()]
        lines.append(f"| {' | '.join([variant['name'], *rates, *seconds])} |")
    return lines


def _known(part: dict | None, name: str) -> str:
    return in_percent(part["bd_rate"][name]) if part else ""


def _over_seeds(variants: list[dict]) -> str:
    """Note on the number of seeds; a variant may have been trained with fewer than the others."""
    counts = {len(variant[part]["runs"]) for variant in variants for part in ("intra", "inter") if part in variant}
    if counts == {1}:
        return ", one seed (how much of it is chance is not known)"
    fewer = " (one where no range is given)" if 1 in counts else ""
    return f", mean of {max(counts)} seeds{fewer} ± half of their range"


def entropy(results: dict) -> list[str]:
    """Make the table of the savings by parts of the entropy parameters."""
    titles = {"intra": "I-frames", "motion": "motion", "residual": "residual", "p_frame": "P-frames"}
    parts = {part: title for part, title in titles.items() if any(part in each for each in results["savings"].values())}
    lines = [
        f"Hyperpriors trained on the latents of {results['settings']['model']}, each without one part. Additional bits "
        "compared with all parts, for the same picture:",
        "",
        f"| change | {' | '.join(parts.values())} |",
        "|---|" + "---|" * len(parts),
    ]
    for name, savings in results["savings"].items():
        cells = [f"{savings[part]['percent']:+.1f} %" if part in savings else "" for part in parts]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def rotation(results: dict) -> list[str]:
    """Make the table of the changes under rotations of the film."""
    lines = [
        "Films rotated on the sphere, coded, decoded and rotated back. Differences between the largest and the "
        "smallest value over the rotations that resample the film, mean over clips:",
        "",
        "| codec | rotations | WS-PSNR-YUV, dB | at equal rate, dB | bpp |",
        "|---|---|---|---|---|",
    ]
    for name, codec in results["codecs"].items():
        each = codec["summary"]["resampled"]
        equal = "" if each["equal-rate-spread"] is None else f"{each['equal-rate-spread']:.2f}"
        lines.append(
            f"| {name} | {each['count']:.0f} | {each['ws-psnr-yuv-spread']:.2f} | {equal} | {each['bpp-spread']:.1%} |"
        )
    return [*lines, "", "![Rotations](rotation.svg)"]


def _two_moments(part: dict) -> str:
    return " / ".join(_percent(part[f"bd_rate_{moment}"]["mean"]) for moment in ("equal_steps", "equal_time"))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f} %"


def speed(benchmark: dict) -> list[str]:
    """Make the table of the codecs' times."""
    threads, cpu = (benchmark["environment"][key] for key in ("threads", "cpu"))
    lines = [
        f"Seconds per P-frame and peak memory on {threads} threads ({cpu}), with the commands' own setting for waiting "
        "threads (`deepsphere_codec/runtime/threads.py`), all in one run of `GOMP_SPINCOUNT=600 "
        "scripts/benchmark.py`:",
        "",
        "| codec | encode | decode | GiB |",
        "|---|---|---|---|",
    ]
    for row in benchmark["codecs"]:
        figures = f"{row['encode_seconds']:.2f} | {row['decode_seconds']:.2f} | {row['peak_gib']:.2f}"
        lines.append(f"| {row['codec']} | {figures} |")
    if rows := benchmark.get("motion"):
        search, written, read = (rows[0][key] for key in ("search_seconds", "write_seconds", "read_seconds"))
        lines += [
            "",
            f"A tree of motion with two references takes {search:.2f} s of that to search, {written:.3f} s to encode "
            f"and {read:.3f} s to decode.",
        ]
    if rows := benchmark.get("metrics"):
        quick, everything = (row["frames_per_second"] for row in rows)
        lines += [
            "",
            f"On that machine, `compare` measures {everything:.0f} frames of 1024×512 per second, and {quick:.0f} with "
            "`--metrics quick`.",
        ]
    if runs := benchmark.get("training"):
        steps = ", ".join(f"{run['step_seconds']:.2f} s in {run['precision']}" for run in runs)
        waited, sample = max(run["waited"] for run in runs), 1000 * runs[0]["sample_seconds"]
        lines += [
            "",
            f"A training step of sphere-dvc (two chains of three frames, patches of 128×128 nodes) takes {steps}, at "
            f"most {waited:.1%} of it waiting for samples; a sample takes {sample:.0f} ms.",
        ]
    return lines


def trust(results: Path) -> str:
    """Write the part on the tests with damaged files and several processes."""
    lines = []
    if (path := results / "workers.json").exists():
        lines += workers(json.loads(path.read_text()))
    if (path := results / "fuzz.json").exists():
        lines += ["", *fuzz(json.loads(path.read_text()))]
    return "\n".join(lines) + "\n"


def workers(measured: dict) -> list[str]:
    """Write the sentences on several processes."""
    settings, (_, several) = measured["settings"], measured["rows"]
    size, cpu = settings["size"].replace("x", "×"), measured["environment"]["cpu"]
    return [
        f"With {several['workers']} processes of one thread each, a film of {settings['frames']} frames of {size} in "
        f"GOPs of {settings['gop']} is encoded {several['encode_speedup']:.2f} and decoded "
        f"{several['decode_speedup']:.2f} times as fast as with one ({cpu}; `scripts/benchmark_workers.py`)."
    ]


def fuzz(run: dict) -> list[str]:
    """Write the sentences on deliberately damaged files."""
    endings = ", ".join(f"{count:,} {_ENDINGS[name]}" for name, count in run["endings"].items() if count)
    limits, coverage = run["limits"], run["coverage"]
    guide = f"with guidance by coverage ({coverage['edges']} edges)" if coverage else "at random"
    return [
        f"Of {run['files']:,} files altered {guide}, {run['failures'] or 'none'} crashed the decoder, hung, or took "
        f"more than twice the memory of the largest undamaged film: {endings}. The slowest took "
        f"{run['slowest_seconds']:.2f} s of the {limits['seconds_each']:g} s allowed, the largest "
        f"{run['peak_memory_mib']:.0f} of {limits['memory_mib']:.0f} MiB (`make fuzz`)."
    ]


_ENDINGS = {
    "decoded whole": "were decoded whole",
    "decoded past damages": "were decoded except for their damages",
    "DamagedStream": "were refused as damaged",
    "IncompatibleStream": "were refused as of another model or version",
    "UsageError": "were refused as without the frames asked for",
    "larger than is decoded here": "were larger than the test decodes",
}

PARTS: dict[str, Callable[[Path], str]] = {
    "headline": headline,
    "reach": reach,
    "trust": trust,
    "resolution": resolution,
    "speed": study("benchmark", speed),
    "equal_time": study("equal_time", equal_time),
    "convolutions": study("convolutions", convolutions),
    "training": study("training", training),
    "entropy": study("entropy", entropy),
    "rotation": study("rotation", rotation),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is out of date")
    args = parser.parse_args()
    stale = 0
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text()
        made = MARKERS.sub(lambda found: f"{found[1]}\n{PARTS[found[2]](ROOT / 'results')}\n{found[3]}", text)
        if made != text:
            stale += 1
            if not args.check:
                page.write_text(made)
    return int(args.check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
