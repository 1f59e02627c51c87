"""Latents of a model on patches of films, recorded once, with the inputs of their entropy parameters."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int8
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from deepsphere_codec.data.patches import PatchDataset, PatchSettings
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.model import CURVE_QUALITIES
from deepsphere_codec.models import load_model
from deepsphere_codec.models.config import ModelConfig
from deepsphere_codec.models.dvc import SphereDVC
from deepsphere_codec.models.latent_codec import LatentCodec
from deepsphere_codec.models.quality import inter_quality, intra_quality
from deepsphere_codec.models.zoo import fill
from deepsphere_codec.motion.prediction import Motion
from deepsphere_codec.runtime.atomic import atomic_output
from deepsphere_codec.sphere.patch import PatchGrid
from deepsphere_codec.training.order import anchors_of
from deepsphere_codec.training.stored_trees import motion_lmbda
from studies.ablation.held_out import PLACES, held_out
from studies.ablation.study import Json

CODECS = {"intra": "intra.latents", "residual": "inter.residual_latents"}
"""Modules of a model that code each part's latents."""
PARTS = tuple(CODECS)
_SEED = 11  # seed of the training patches
_AT_ONCE = 8  # chains per batch


class Plan(NamedTuple):
    """Model, samples and training that all variants share.

    Attributes:
        model: Name or folder of the model.
        name: Name of the model.
        weights_hash: Hash of its weights.
        config: Its configuration.
        films: Folder with prepared films to train on.
        clips: Folder with prepared films to measure on.
        folder: Folder of latents and results.
        data: Settings of the patches; its frames are those of a chain, an I-frame and the P-frames after it.
        sampling: "places" of the sphere to train on; "chains" at each of them, and "singles", additional I-frames.
        training: "steps", "batch", "rate" and "rate_muon" of a hyperprior; both learning rates fall along a cosine.
    """

    model: str
    name: str
    weights_hash: str
    config: ModelConfig
    films: Path
    clips: Path
    folder: Path
    data: PatchSettings
    sampling: Json
    training: Json

    @property
    def source(self) -> Json:
        """Everything the latents depend on."""
        about = {"model": self.name, "weights_hash": self.weights_hash}
        return {**about, **asdict(self.data), **self.sampling, "qualities": list(CURVE_QUALITIES)}

    @property
    def settings(self) -> Json:
        """Everything the results depend on."""
        return {**self.source, **self.training}


class Latents(NamedTuple):
    """Samples of one part at one position.

    Attributes:
        y: Latents times the gain, before rounding, [n, latent, m].
        context: Input of the entropy parameters, [n, latent, r]: previous frames, motion, quality.
        step: Quantisation step of y after rescaling, [n, 1, m].
        quality: Quality of the film, [n].
    """

    y: Float[Tensor, "n latent m"]
    context: Int8[Tensor, "n latent r"]
    step: Float[Tensor, "n one m"]
    quality: Float[Tensor, " n"]

    def at(self, rows: Tensor) -> Latents:
        """Select some of the samples."""
        return Latents(*(field[rows] for field in self))


@torch.no_grad()
def record(network: SphereDVC, x: Float[Tensor, "n frames npix 3"], quality: Float[Tensor, " n"]) -> dict[str, Latents]:
    """Record all latents of chains of frames by part, those of P-frames one frame after the other.

    Args:
        network: Network.
        x: Chains of frames, [n, frames, npix, 3].
        quality: Quality of each chain, [n].
    Returns:
        Latents by part.
    """
    heard: dict[str, list[Latents]] = {part: [] for part in PARTS}

    def listener(part: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def listen(codec: nn.Module, given: tuple[Any, ...]) -> None:
            assert isinstance(codec, LatentCodec)
            y, asked, memory = (*given, None)[:3]
            context = codec.context(asked, memory, y.shape[1]).to(torch.int8)
            heard[part].append(Latents(y * codec.gain(asked), context, codec.inverse_gain(asked), quality))

        return listen

    hooks = [network.get_submodule(CODECS[part]).register_forward_pre_hook(listener(part)) for part in PARTS]
    picture, _ = network.intra(x[:, 0], intra_quality(quality, network.config))
    states = [network.inter.begin(*picture)]
    asked = inter_quality(quality, network.config, 0)
    for t in range(1, x.shape[1]):
        references = anchors_of(states)
        motion = Motion.of(network.inter.find_motion(x[:, t], references, motion_lmbda(asked)), x.device)
        out = network.inter(x[:, t], references, motion, asked)
        states.append(references.after(out.x_hat, out.fine))
    for hook in hooks:
        hook.remove()
    return {part: _joined(found) for part, found in heard.items() if found}


def _joined(found: Sequence[Latents]) -> Latents:
    return Latents(*(torch.cat(fields) for fields in zip(*found, strict=True)))


class Place(NamedTuple):
    """Block of the sphere, and the file of the latents recorded there.

    Attributes:
        plan: Model, samples and training.
        role: "train" or "test".
        number: Number of the block.
    """

    plan: Plan
    role: str
    number: int

    @property
    def path(self) -> Path:
        return self.plan.folder / f"latents-{self.role}-{self.number:02d}.safetensors"


def places(plan: Plan) -> list[Place]:
    """List the blocks to train on and those to measure on."""
    counts = {"train": plan.sampling["places"], "test": PLACES}
    return [Place(plan, role, number) for role, count in counts.items() for number in range(count)]


def collect(place: Place) -> Path:
    """Record the latents at one block, unless they exist.

    Raises:
        UsageError: existing latents are those of another model, or of other patches.
    """
    source = json.loads(json.dumps(place.plan.source))
    if place.path.exists():
        with safe_open(place.path, "pt") as file:
            if json.loads(file.metadata()["source"]) != source:
                raise UsageError(f"{place.path} was made with other settings; remove it, or keep runs elsewhere")
        return place.path
    block, samples = _seen(place) if place.role == "train" else _held_out(place)
    network = SphereDVC(place.plan.config, block).eval().requires_grad_(False)
    fill(network, weights_of(place.plan.model), {})
    found = [record(network, x, quality) for x, quality in samples]
    tensors = {
        f"{part}.{name}": value.contiguous()
        for part in PARTS
        for name, value in _joined([each[part] for each in found if part in each])._asdict().items()
    }
    place.path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(place.path, force=True) as beside:
        save_file(tensors, beside, {"source": json.dumps(source), "block": json.dumps(asdict(block))})
    return place.path


def _seen(place: Place) -> tuple[PatchGrid, list[tuple[Tensor, Tensor]]]:
    """Chains of P-frames, and separate I-frames, since these are cheaper and a chain has only one."""
    plan, samples = place.plan, []
    for frames, count in ((plan.data.frames, plan.sampling["chains"]), (1, plan.sampling["singles"])):
        dataset = PatchDataset(plan.films, replace(plan.data, frames=frames), max(1, count), 1, _SEED)
        drawn = [dataset[place.number * count + i] for i in range(count)]
        for i in range(0, count, _AT_ONCE):
            x, quality, _ = zip(*drawn[i : i + _AT_ONCE], strict=True)
            samples.append((torch.stack(x), torch.tensor(quality)))
    return dataset.block(place.number), samples


def _held_out(place: Place) -> tuple[PatchGrid, list[tuple[Tensor, Tensor]]]:
    block, x = held_out(place.plan.clips, place.plan.data)[place.number]
    return block, [(x, x.new_full((len(x),), quality)) for quality in CURVE_QUALITIES]


@lru_cache(maxsize=1)
def weights_of(model: str) -> dict[str, Tensor]:
    loaded = load_model(model)
    network = loaded.network(loaded.nside_multiple)
    return {name: p.detach() for name, p in network.named_parameters()}
