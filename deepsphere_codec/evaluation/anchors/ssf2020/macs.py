"""How much CompressAI's network computes, counted as our models are; its weights do not matter."""

from __future__ import annotations

import torch

from deepsphere_codec.evaluation.anchors.ssf2020.network import MULTIPLE, PlanarFlow, count_parameters
from deepsphere_codec.models.macs import Complexity, Counter, macs_of

ENCODERS = ("img_encoder", "motion_encoder", "res_encoder", "hyper_encoder")
"""Parts of the network that a decoder does not run."""


@torch.no_grad()
def complexity() -> Complexity:
    """To a pixel of a picture whose sides are multiples of 128; others are enlarged to such before they are coded."""
    with torch.random.fork_rng(devices=[]):
        network, x = PlanarFlow().eval(), torch.rand(1, 3, MULTIPLE, MULTIPLE)
        with Counter(network) as intra:
            x_ref, _ = network.forward_keyframe(x)
        with Counter(network) as inter:
            network.forward_inter(x, x_ref)
    return Complexity(count_parameters(network), macs_of(intra, inter, MULTIPLE**2, ENCODERS))
