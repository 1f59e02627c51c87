"""Training of CompressAI's ScaleSpaceFlow on patches of ERP pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Adam

from deepsphere_codec.data.planar import PlanarDataset, PlanarSample
from deepsphere_codec.errors import UsageError
from deepsphere_codec.evaluation.anchors.ssf2020.coding import ColourSpace
from deepsphere_codec.evaluation.anchors.ssf2020.network import PlanarFlow
from deepsphere_codec.evaluation.anchors.ssf2020.settings import SsfSettings
from deepsphere_codec.models.quality import PLANE_WEIGHTS, lmbda_of
from deepsphere_codec.runtime.quick import in_bfloat16
from deepsphere_codec.training.checkpoint import load_checkpoint
from deepsphere_codec.training.loop import Loop
from deepsphere_codec.training.parallel import World

MEAN_WEIGHT = 2 / math.pi  # mean of cos(latitude) over an ERP picture


class SsfTrainer(Loop[PlanarSample]):
    """Training of one rate of the baseline; checkpoints and log have the format of `Trainer`.

    Args:
        settings: Settings of the training.
        folder: Folder for checkpoints and log.
        films: Folder with prepared films.
        device: Device to train on.
        workers: Number of processes that draw samples.
        world: Processes that train together; only one is supported.
    Raises:
        UsageError: there are several processes, or no prepared film.
    """

    settings: SsfSettings
    model: PlanarFlow

    def __init__(
        self,
        settings: SsfSettings,
        folder: Path,
        films: Path,
        device: torch.device,
        workers: int = 1,
        world: World | None = None,
    ) -> None:
        world, schedule = world or World(), settings.train
        if world.size > 1:
            raise UsageError(f"{settings.kind} is trained by one process, not by {world.size}")
        self.dataset = PlanarDataset(films, settings.data, schedule.seed)
        torch.manual_seed(schedule.seed)
        model = network_of(settings).to(device).train()
        if schedule.start:
            load_checkpoint(Path(schedule.start), model)
        named = dict(model.named_parameters())
        quantiles = [named.pop(name) for name in list(named) if name.endswith(".quantiles")]
        groups = [
            {"params": list(named.values()), "relative_rate": 1.0},
            {"params": quantiles, "lr": schedule.aux_rate},  # they have their own loss and learning rate
        ]
        super().__init__(settings, folder, model, Adam(groups, lr=schedule.rate), device, workers, world)
        self.films = self.dataset.films

    def _steps(self) -> Iterator[PlanarSample]:
        schedule = self.settings.train
        return self._batches(self.dataset, (step * schedule.batch for step in range(self.step, schedule.steps)))

    def _gradients(self, samples: PlanarSample) -> dict[str, float]:
        schedule = self.settings.train
        torch.manual_seed(schedule.seed * 1_000_003 + self.step)
        samples = samples._replace(x=samples.x.to(self.device), weights=samples.weights.to(self.device))
        losses = losses_of(self.model, samples, schedule.quality, schedule.precision)
        (losses["loss"] + losses["aux"]).backward()  # "loss" has no gradient for the quantiles, "aux" none for the rest
        told = {name: float(value.detach()) for name, value in losses.items()}
        return told | {"psnr-y": -10 * math.log10(told.pop("mse-y"))}


def network_of(settings: SsfSettings) -> PlanarFlow:
    """Make the network of a training, whose flow has the training patches' size as its unit."""
    return PlanarFlow((settings.data.columns, settings.data.rows))


def losses_of(network: PlanarFlow, sample: PlanarSample, quality: float, precision: str) -> dict[str, Tensor]:
    """Compute rate and distortion of a batch in the units of our own models.

    The network works on RGB; the error is the weighted error of WS-PSNR-YUV: of Y, Cb, Cr as 6:1:1, by solid angle. A
    patch is weighted by its solid angle; the mean weight over all positions is 1. All frames have equal weight.

    Args:
        network: Network in training or evaluation mode.
        sample: Batch: x [batch, frames, 3, rows, columns], weights [batch, rows].
        quality: Quality that sets the trade-off.
        precision: Number format of the transforms, see `Schedule.precision`.
    Returns:
        "loss", bits per pixel + lmbda · 255² · error; "aux", the loss of the entropy bottlenecks' quantiles; and parts
        of the loss: "bits_per_pixel", "bits_motion" and "mse-y".
    """
    x, space = sample.x, ColourSpace()  # prepared films are BT.709, limited range
    with torch.autocast(x.device.type, torch.bfloat16, enabled=in_bfloat16(precision, x.device.type)):
        out = network(list(space.to_rgb(x).unbind(1)))
    x_hat = space.from_rgb(torch.stack([frame.float() for frame in out["x_hat"]], 1))
    share = (sample.weights / MEAN_WEIGHT)[:, None, None, :, None]
    planes = ((x - x_hat).square() * share).mean((0, 1, 3, 4))
    bits = {"keyframe": x.new_zeros(()), "motion": x.new_zeros(()), "residual": x.new_zeros(())}
    for frame in out["likelihoods"]:
        for part, likelihoods in frame.items():
            bits[part] = bits[part] + sum(-p.float().log2().sum() for p in likelihoods.values())
    pixels = x.shape[0] * x.shape[1] * x.shape[-2] * x.shape[-1]
    rate = torch.stack([each / pixels for each in bits.values()]).sum()
    loss = lmbda_of(quality) * 255**2 * (planes @ planes.new_tensor(PLANE_WEIGHTS)) + rate
    aux = torch.stack(network.aux_loss()).sum()
    parts = {"bits_per_pixel": rate, "bits_motion": bits["motion"] / pixels, "mse-y": planes[0]}
    return {"loss": loss, "aux": aux, **parts}
