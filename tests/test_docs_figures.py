"""The numbers of README.md and docs/ are those of results/, not typed in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support import load_script

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def script() -> ModuleType:
    return load_script("docs_figures")


def test_figures_are_current() -> None:
    done = subprocess.run([sys.executable, "scripts/docs_figures.py", "--check"], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, "run scripts/docs_figures.py"


def test_every_table_has_its_place(script: ModuleType) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    names = [found[2] for page in pages for found in script.MARKERS.finditer(page.read_text())]
    assert sorted(names) == sorted(script.PARTS)


@pytest.mark.parametrize(("page", "before"), [("README.md", "| x264 medium | -"), ("docs/trust.md", "is encoded ")])
def test_a_changed_number_is_noticed(
    page: str, before: str, script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "ROOT", tmp_path)
    (tmp_path / "results").symlink_to(ROOT / "results")
    (tmp_path / "docs").mkdir()
    for each in ("README.md", "docs/trust.md"):
        (tmp_path / each).write_text((ROOT / each).read_text())
    monkeypatch.setattr(sys, "argv", ["docs_figures", "--check"])
    assert script.main() == 0
    text = (ROOT / page).read_text()
    first = text.index(before) + len(before)
    digit = str((int(text[first]) + 1) % 10)
    (tmp_path / page).write_text(text[:first] + digit + text[first + 1 :])
    assert script.main() == 1
    monkeypatch.setattr(sys, "argv", ["docs_figures"])
    assert script.main() == 0
    assert (tmp_path / page).read_text() == text


def part(seconds: float, **rates: list[float]) -> dict:
    bd_rate = {name: {"mean": sum(each) / len(each), "per_seed": each} for name, each in rates.items()}
    return {"seconds_per_step": seconds, "runs": [{}] * len(next(iter(rates.values()))), "bd_rate": bd_rate}


def choices(**variants: dict) -> dict:
    settings = {"anchor": "baseline", "batch": 4, "budgets": {"inter": {"steps": 300}}}
    zero = {"intra": part(0.2, nodes=[0.0], erp=[0.0]), "inter": part(0.4, nodes=[0.0], erp=[0.0], second=[0.0])}
    named = {"baseline": zero, **variants}
    return {"settings": settings, "variants": [{"name": name, **each} for name, each in named.items()]}


def test_choices_of_training_say_how_much_is_chance(script: ModuleType) -> None:
    one = {"intra": part(0.25, nodes=[1.0], erp=[-2.0]), "inter": part(0.5, nodes=[3.0], erp=[4.0], second=[5.0])}
    lines = script.training(choices(erp=one))
    assert "300 steps of 4 samples, one seed (how much of it is chance is not known)" in lines[0]
    assert lines[-2] == "| baseline | 0 | 0 | 0 | 0 | 0 | 0.20 | 0.40 |"
    assert lines[-1] == "| erp | +1.0 % | -2.0 % | +3.0 % | +4.0 % | +5.0 % | 0.25 | 0.50 |"
    two = {"inter": part(0.7, nodes=[1.0, 4.0], erp=[0.0, -1.0], second=[-3.0, -3.0])}
    lines = script.training(choices(erp=one, chains=two))
    assert "mean of 2 seeds (one where no range is given) ± half of their range" in lines[0]
    assert lines[-1] == "| chains |  |  | +2.5 ± 1.5 % | -0.5 ± 0.5 % | -3.0 ± 0.0 % |  | 0.70 |"
    assert len({line.count("|") for line in lines[2:]}) == 1


def test_a_study_without_results_has_no_table(script: ModuleType, tmp_path: Path) -> None:
    assert script.PARTS["training"](tmp_path) == script.PARTS["resolution"](tmp_path) == ""
    (tmp_path / "training.json").write_text(json.dumps(choices()))
    assert "| baseline | 0 | 0 |" in script.PARTS["training"](tmp_path)


def test_what_is_learned_in_equal_time(script: ModuleType) -> None:
    def run(*losses: float) -> dict:
        return {"moments": [{"loss": loss} for loss in losses]}

    settings = {"anchor": "directional", "moments": [300.0, 600.0], "precision": "float32"}
    about = {"parameters": 2_500_000, "seconds_per_step": 0.5}
    variants = [
        {"name": "directional", **about, "bd_rate": {"mean": 0.0, "per_seed": [0.0]}, "runs": [run(0.5, 0.4)]},
        {
            "name": "Chebyshev K=2",
            **about,
            "bd_rate": {"mean": -2.0, "per_seed": [-1.0, -3.0]},
            "runs": [run(0.5, 0.4), run(0.4, 0.3)],
        },
        {"name": "begun", **about, "bd_rate": {"mean": None, "per_seed": []}, "runs": [run(0.6)]},
    ]
    results = {"intra": {"settings": settings, "variants": variants}, "environment": {"cpu": "a processor"}}
    lines = script.equal_time(results)
    assert "for 10 minutes of one core (a processor), in float32" in lines[0]
    assert lines[4] == "| directional | 2.50 | 0.50 | 0.5000 | 0.4000 | 0 | 1 |"
    assert lines[5] == "| Chebyshev K=2 | 2.50 | 0.50 | 0.4500 | 0.3500 | -2.0 ± 1.0 % | 2 |"
    assert lines[6] == "| begun | 2.50 | 0.50 | 0.6000 |  | - | 1 |"
    assert len({line.count("|") for line in lines[2:7]}) == 1


def test_fuzzing_and_workers_are_told(script: ModuleType) -> None:
    endings = {"decoded whole": 3, "decoded past damages": 0, "DamagedStream": 1200, "IncompatibleStream": 4}
    run = {"files": 1207, "failures": 0, "endings": endings, "slowest_seconds": 0.5, "peak_memory_mib": 70.2}
    run |= {"limits": {"seconds_each": 2.0, "memory_mib": 100.4}, "coverage": {"edges": 9, "features": 1, "corpus": 1}}
    (line,) = script.fuzz(run)
    assert "Of 1,207 files altered with guidance by coverage (9 edges), none crashed the decoder" in line
    assert (
        "3 were decoded whole, 1,200 were refused as damaged, 4 were refused as of another model" in line
        and "except for their damages" not in line
    )
    assert "0.50 s of the 2 s" in line and "70 of 100 MiB" in line
    rows = [{"workers": 1}, {"workers": 2, "encode_speedup": 1.755, "decode_speedup": 1.6}]
    settings = {"size": "64x32", "frames": 8, "gop": 4}
    (line,) = script.workers({"settings": settings, "rows": rows, "environment": {"cpu": "a CPU"}})
    assert "8 frames of 64×32 in GOPs of 4 is encoded 1.75 and decoded 1.60 times as fast" in line
