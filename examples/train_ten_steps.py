"""Train a narrow model for ten steps on generated films, save it, and encode a film with it.

    python examples/train_ten_steps.py [FOLDER]

It shows the parts that scripts/train.py and scripts/release.py put together. Ten steps teach next to nothing: see the
page on training for a first model that is worth having.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from deepsphere_codec import encode_video
from deepsphere_codec.data.generated import generate_clip, generate_films
from deepsphere_codec.data.patches import PatchSettings
from deepsphere_codec.models import ModelConfig
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.geometry import nside_multiple, whole_grid
from deepsphere_codec.models.zoo import save_model
from deepsphere_codec.training.checkpoint import load_checkpoint
from deepsphere_codec.training.schedule import Schedule
from deepsphere_codec.training.settings import TrainSettings
from deepsphere_codec.training.trainer import Trainer

NARROW = ModelConfig(
    work_channels=16, middle_channels=16, intra_latents=24, residual_latents=24, hyper_channels=8, hyper_hidden=8
)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("ten-steps")
    films = folder / "films"
    generate_films(films, films=2, frames=3, width=256)

    settings = TrainSettings(
        name="ten-steps",
        model=NARROW,
        data=PatchSettings(nside=64, side=64, frames=2),  # patches of 64x64 nodes, two frames in a row
        train=Schedule(part="all", steps=10, batch=2, warmup=2, chain=1),
    )
    trainer = Trainer(settings, folder, films, torch.device("cpu"), workers=0)
    trainer.run()
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    print(f"step {last['step']}: loss {last['loss']:.3f}, {last['bits_per_node']:.3f} bits per node")

    network = SphereDVC(NARROW, whole_grid(NARROW.geometry, nside_multiple(NARROW.geometry)))  # not a patch
    load_checkpoint(trainer.checkpoint, network)
    save_model(folder / "model", "ten-steps", network, {"licence": "my own"})
    generate_clip(folder / "film.mkv", frames=2, width=256)
    report = encode_video(folder / "film.mkv", folder / "film.dsc", model=folder / "model", force=True)
    print(f"{folder / 'film.dsc'}: {report.bpp:.3f} bits per pixel with the model {report.model}")


if __name__ == "__main__":
    main()
