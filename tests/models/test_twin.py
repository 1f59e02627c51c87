"""The planar twin: the sphere's codec on an ERP picture, with the same weights, exact as the sphere's is."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from support import psnr, turn

from deepsphere_codec.errors import DamagedStream, UsageError
from deepsphere_codec.models import CodedPicture, ModelConfig, References, SphereDVC, load_model, save_model
from deepsphere_codec.models.geometry import nside_multiple, whole_grid
from deepsphere_codec.models.payload import Payload
from deepsphere_codec.models.zoo import fill
from deepsphere_codec.motion.tree import A0, B0
from deepsphere_codec.sphere import ErpGrid, ErpPatch, HealpixGrid, erp_directions

HEIGHT, WIDTH, QUALITY = 128, 256, 5.0
Film = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def config(tiny: ModelConfig) -> ModelConfig:
    return replace(tiny, geometry="erp")


@pytest.fixture(scope="module")
def twin(config, make_lively) -> SphereDVC:
    """Shared, not to be changed."""
    return make_lively(config, ErpGrid(HEIGHT, WIDTH))


def picture(p: torch.Tensor) -> torch.Tensor:
    """Waves of three colours in directions, [1, npix, 3] in 0 … 1."""
    waves = torch.tensor([[9.0, 2, -4], [-3, 8, 5], [2, -6, 11]], dtype=torch.float64)
    return (0.5 + 0.2 * (p @ waves).sin() + 0.15 * (p @ waves.flip(0) * 2).sin()).float()[None]


@pytest.fixture(scope="module")
def film() -> Film:
    """A pattern, and the same with an object that moves and a light that goes on."""
    p = torch.from_numpy(erp_directions(HEIGHT, WIDTH)).view(-1, 3)
    x, there = picture(p), (p[:, 0] > 0.3)[None, :, None]
    moved = torch.where(there, picture(p @ turn((0.0, 0.0, 1.0), 3.0)), x)
    return x, moved + 0.05 * (p[:, 2] > 0.8)[None, :, None]


def code(network: SphereDVC, film: Film) -> tuple[CodedPicture, CodedPicture]:
    first = network.encode_intra(film[0], QUALITY)
    return first, network.encode_inter(film[1], References(first.state), QUALITY, 0)


@pytest.fixture(scope="module")
def coded(twin, film) -> tuple[CodedPicture, CodedPicture]:
    return code(twin, film)


def test_it_has_the_spheres_weights_of_the_same_shapes():
    """All of the default model, so that either may begin where the other has come to."""
    sphere = load_model("sphere-dvc")
    twin = SphereDVC(replace(sphere.config, geometry="erp"), ErpGrid(64, 128))
    theirs = dict(sphere.network(64).named_parameters())
    assert {name: p.shape for name, p in twin.named_parameters()} == {name: p.shape for name, p in theirs.items()}
    fill(twin, {name: p.detach() for name, p in theirs.items()}, {})
    assert all(torch.equal(p, theirs[name]) for name, p in twin.named_parameters())


def test_the_spheres_weights_code_a_plane_without_being_trained_for_it():
    """A pixel of the equator is half as large again as a node: what was learned there is of use here."""
    sphere = load_model("sphere-dvc")
    twin = SphereDVC(replace(sphere.config, geometry="erp"), ErpGrid(64, 128)).eval()
    fill(twin, {name: p.detach() for name, p in sphere.network(64).named_parameters()}, {})
    twin.build_tables()
    x = picture(torch.from_numpy(erp_directions(64, 128)).view(-1, 3) * 0.3)
    assert psnr(x, twin.encode_intra(x, 6.0).state.x_hat) > 33


@pytest.mark.parametrize("threads", [1, 2])
def test_a_decoder_sees_what_the_encoder_kept_bit_for_bit(twin, coded, threads, on_threads):
    apart = copy.deepcopy(twin)
    first, second = coded
    assert Payload.unpack(second.payload).motion is not None and len(second.payload) > 100

    def decode():
        state = apart.decode_intra(first.payload, QUALITY)
        return state, apart.decode_inter(second.payload, References(state), QUALITY, 0)

    for ours, kept in zip(on_threads(threads, decode), coded, strict=True):
        assert torch.equal(ours.x_hat, kept.state.x_hat)
        assert all(torch.equal(a, b) for a, b in zip(ours.residual, kept.state.residual, strict=True))


def test_threads_change_neither_bytes_nor_pictures(twin, film, coded, on_threads):
    for one, two in zip(coded, on_threads(2, lambda: code(twin, film)), strict=True):
        assert one.payload == two.payload and torch.equal(one.state.x_hat, two.state.x_hat)


@pytest.mark.slow
def test_threads_change_nothing_at_full_width(make_lively, film, on_threads):
    network = make_lively(ModelConfig(geometry="erp"), ErpGrid(HEIGHT, WIDTH))
    for one, two in zip(code(network, film), on_threads(2, lambda: code(network, film)), strict=True):
        assert one.payload == two.payload and torch.equal(one.state.x_hat, two.state.x_hat)


def test_a_film_that_is_rolled_comes_out_rolled(twin, film, coded):
    """By two nodes of the hyper-latents, whose halves are those of a chessboard: no place is one of its own."""

    def roll(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(1, (HEIGHT, WIDTH)).roll(128, 2).flatten(1, 2)

    first, second = code(twin, (roll(film[0]), roll(film[1])))
    assert torch.allclose(first.state.x_hat, roll(coded[0].state.x_hat), atol=1e-4)
    assert len(first.payload) == pytest.approx(len(coded[0].payload), abs=8)
    # The search walks along the rows: where it begins, other leaves may cost as much.
    error, rolled = ((a - b.state.x_hat).square().mean() for a, b in ((film[1], coded[1]), (roll(film[1]), second)))
    assert float(rolled) == pytest.approx(float(error), rel=0.05)
    assert len(second.payload) == pytest.approx(len(coded[1].payload), rel=0.1)


def test_a_pole_is_no_border(config, make_lively):
    """Rows mirrored, half a turn further, are the picture seen from beyond the pole: the latents' nodes go along."""
    network = make_lively(config, ErpGrid(64, 128))
    padding = network.pyramid.padding(4)
    y = torch.randn(1, 32, 3)
    over = padding(y)[0, :, 0, 1:-1]
    assert torch.equal(over, y.view(4, 8, 3)[0].roll(4, 0).t())


def test_nothing_turns_on_a_plane(twin, film):
    p = torch.from_numpy(erp_directions(HEIGHT, WIDTH)).view(-1, 3)
    turned = picture(p @ turn((0.0, 0.0, 1.0), 2 * 360 / WIDTH))
    assert not twin.inter.rotation(turned[..., :1], film[0][..., :1]).any()


def test_a_p_frame_that_turns_a_plane_is_damaged(twin, coded):
    first, second = coded
    parts = Payload.unpack(second.payload)._replace(turn=torch.tensor([50, 0, 0]))
    with pytest.raises(DamagedStream, match="planar codec do not turn"):
        twin.decode_inter(parts.pack(), References(first.state), QUALITY, 0)


def test_the_motion_of_a_pan_is_found(twin):
    """Two pixels to the right along every row: v leads two pixels back."""
    p = torch.from_numpy(erp_directions(HEIGHT, WIDTH)).view(-1, 3)
    x = picture(p)
    moved = x.unflatten(1, (HEIGHT, WIDTH)).roll(2, 2).flatten(1, 2)
    state = twin.inter.begin(x, torch.zeros(1, HEIGHT * WIDTH // 256, twin.config.intra_latents))
    tree, _ = twin.inter.find_tree(moved, References(state), None, 3000.0)
    assert (tree.leaves[0, 1:-1, :, A0 : B0 + 1] == (-8, 0)).all(-1).mean() > 0.95


def test_on_a_patch_it_works_wherever_the_patch_lies(config, make_lively, film):
    patch = ErpPatch(HEIGHT, WIDTH, 64, 128, 64, 128)
    network = make_lively(config, patch)
    x = film[0][:, torch.from_numpy(patch.nodes)]
    one = network.encode_intra(x, QUALITY)
    network.pyramid.place(replace(patch, row=0, column=0))
    network.inter.place()
    assert network.pyramid.grids[2].row == 0
    other = network.encode_intra(x, QUALITY)
    assert one.payload == other.payload and torch.equal(one.state.x_hat, other.state.x_hat)


def test_it_is_saved_and_loaded_as_any_other(twin, film, tmp_path):
    network = copy.deepcopy(twin)
    save_model(tmp_path, "twin", network, {})
    model = load_model(tmp_path)
    assert model.config == twin.config and model.nside_multiple == 32
    expected = network.encode_intra(film[0], QUALITY)
    assert model.network(WIDTH // 4).encode_intra(film[0], QUALITY).payload == expected.payload
    assert model.network(32).pyramid.grids[0] == ErpGrid(64, 128)
    assert model.graph_hash(64) == model.graph_hash(64) != model.graph_hash(32)
    with pytest.raises(UsageError, match="needs a multiple of 32, such as 64 or 96"):
        model.network(80)


def test_resolutions_are_those_that_have_all_parents(config):
    assert whole_grid("erp", 256) == ErpGrid(512, 1024) and whole_grid("healpix", 64) is HealpixGrid.cached(64)
    assert nside_multiple("healpix") == 64
    SphereDVC(config, whole_grid("erp", nside_multiple("erp")))
    with pytest.raises(ValueError, match="expected a multiple of 64"):
        SphereDVC(config, whole_grid("erp", nside_multiple("erp") // 2))
