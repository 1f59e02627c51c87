"""Released models: written, read, named by their hashes, and refused when their files are not whole."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from deepsphere_codec.entropy.exact import ExactConv
from deepsphere_codec.errors import UsageError
from deepsphere_codec.graph import build_graph
from deepsphere_codec.models import References, SphereDVC, list_models, load_model, save_model, zoo
from deepsphere_codec.models.zoo import tensors_hash
from deepsphere_codec.sphere import HealpixGrid

WEIGHTS, CARD = "weights.safetensors", "card.json"
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def saved(lively: SphereDVC, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo") / "mine"
    save_model(folder, "mine", copy.deepcopy(lively), {"licence": "none", "hardware": "a test"})
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    """To be changed; its card names no hashes."""
    folder = Path(shutil.copytree(saved, tmp_path / "mine"))
    edit_card(folder, lambda card: [card.pop(key) for key in ("weights_hash", "tables_hash")])
    return folder


def edit_tensors(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    edit(tensors)
    save_file(tensors, folder / WEIGHTS)


def edit_card(folder: Path, edit: Callable[[dict], object]) -> None:
    card = json.loads((folder / CARD).read_text())
    edit(card)
    (folder / CARD).write_text(json.dumps(card))


def test_the_card_says_what_the_files_are(saved, tiny):
    model = load_model(saved)
    assert model.name == "mine" and model.card["licence"] == "none" and model.card["hardware"] == "a test"
    assert model.config == tiny
    assert model.card["weights_hash"] == model.weights_hash and model.card["tables_hash"] == model.tables_hash
    assert model.card["parameters"] == sum(p.numel() for p in model.network(64).parameters())


def test_a_model_in_the_checkouts_folder_is_found_by_its_name(saved, monkeypatch):
    with pytest.raises(UsageError, match="neither one of ours"):
        load_model("mine")
    monkeypatch.setattr(zoo, "_FOLDERS", (*zoo._FOLDERS, saved.parent))
    assert load_model("mine").weights_hash == load_model(saved).weights_hash
    assert [card["name"] for card in list_models()][-1] == "mine"


def test_what_is_loaded_codes_as_what_was_saved(lively, saved, pictures):
    """The saved network itself holds the rounded weights and the tables made of them."""
    network = copy.deepcopy(lively)
    save_model(saved.parent / "again", "mine", network, {})
    loaded = load_model(saved.parent / "again").network(64)
    assert not any(p.requires_grad for p in loaded.parameters()) and not loaded.training
    for quality in (1.0, 6.5):
        first, expected_first = (n.encode_intra(pictures[0], quality) for n in (loaded, network))
        coded, expected = (n.encode_inter(pictures[1], References(first.state), quality, 0) for n in (loaded, network))
        for one, other in ((first, expected_first), (coded, expected)):
            assert one.payload == other.payload and torch.equal(one.state.x_hat, other.state.x_hat)
    assert torch.equal(loaded.decode_inter(coded.payload, References(first.state), 6.5, 0).x_hat, coded.state.x_hat)


def test_weights_are_halved_but_for_the_integer_networks_in_eight_bits(saved, lively):
    tensors = load_file(saved / WEIGHTS)
    integer = {name for name, module in lively.named_modules() if isinstance(module, ExactConv)}
    assert len(integer) == 2 * (7 + 5 * 5), "of two hyperpriors, z and four slices of y in each"
    exponents = {f"{name}.weight.exponent" for name in integer}
    for name, p in lively.named_parameters():
        module, _, kind = name.rpartition(".")
        if module not in integer:
            assert tensors[name].dtype == torch.float16 and torch.equal(tensors[name], p.half())
        elif kind == "bias":
            assert tensors[name].dtype == torch.float32 and torch.equal(tensors[name], p)
        else:
            whole, exponent = tensors[name], tensors[f"{name}.exponent"]
            assert whole.dtype == exponent.dtype == torch.int8 and whole.shape == p.shape
            step = 2.0 ** exponent.float().view(-1, 1, 1, 1)
            assert (whole * step - p).abs().div(step).max() <= 0.5 and whole.abs().max() > 63
    tables = {name for name in tensors if name.endswith(("_cdf", "_length", "_offset"))}
    assert len(tables) == 2 * 3 + 3, "of two hyperpriors, and the motion's"
    assert tensors.keys() == tables | exponents | {name for name, _ in lively.named_parameters()}


def test_hashes_are_the_same_each_time(saved, lively, tmp_path):
    save_model(tmp_path / "other", "other", copy.deepcopy(lively), {"licence": "another"})
    save_model(tmp_path / "third", "third", copy.deepcopy(load_model(saved).network(64)), {})
    first, *others = (load_model(folder) for folder in (saved, tmp_path / "other", tmp_path / "third"))
    assert all((m.weights_hash, m.tables_hash) == (first.weights_hash, first.tables_hash) for m in others)
    assert first.weights_hash != first.tables_hash and len(first.weights_hash) == 64


@pytest.mark.parametrize(
    "name", ["intra.g_a.layers.0.weight", "inter.g_s.finish.1.bias", "intra.latents.gain.log_gain"]
)
def test_any_weight_changes_the_weights_hash(copied, saved, name):
    edit_tensors(copied, lambda tensors: tensors[name].view(-1)[-1].add_(0.5))
    model, original = load_model(copied), load_model(saved)
    assert model.weights_hash != original.weights_hash and model.tables_hash == original.tables_hash


def test_a_model_that_is_saved_again_is_read_again(copied):
    before = load_model(copied).weights_hash
    edit_tensors(copied, lambda tensors: tensors["inter.g_s.finish.1.bias"].add_(0.5))
    assert load_model(copied).weights_hash != before


def test_the_configuration_changes_the_weights_hash(copied, saved):
    """The same numbers mean something else in another network: a stream has to tell them apart."""
    edit_card(copied, lambda card: card["model"].update(intra_step=0.5))
    assert load_model(copied).weights_hash != load_model(saved).weights_hash


def test_any_table_changes_the_tables_hash(copied, saved):
    edit_tensors(copied, lambda tensors: tensors["intra.latents.hyperprior.scale_offset"][3].add_(1))
    model, original = load_model(copied), load_model(saved)
    assert model.tables_hash != original.tables_hash and model.weights_hash == original.weights_hash


def test_the_hash_covers_names_types_shapes_and_values():
    base = {"a": torch.zeros(2, 3), "b": torch.ones(4)}
    others = [
        {"a": torch.zeros(2, 3), "c": torch.ones(4)},
        {"a": torch.zeros(3, 2), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3, dtype=torch.int32), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3), "b": torch.tensor([1.0, 1, 1, -1])},
        {"a": torch.ones(4), "b": torch.zeros(2, 3)},
        {"a": torch.zeros(2, 3)},
    ]
    hashes = [tensors_hash(tensors) for tensors in [base, *others]]
    assert len(set(hashes)) == len(hashes)
    assert tensors_hash({"b": torch.ones(4), "a": torch.zeros(3, 2).t()}) == hashes[0], "in any order, in any layout"


def test_an_unknown_model_is_refused_with_those_there_are(tmp_path):
    for name in ("sphere-dvd", tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="is neither one of ours .*sphere-dvc.* nor a folder with card.json"):
            load_model(name)


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1000])


def scribble(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"\xff" * 5000)


def no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def half_a_card(folder: Path) -> None:
    (folder / CARD).write_text((folder / CARD).read_text()[:-20])


@pytest.mark.parametrize("damage", [cut, scribble, no_weights, half_a_card])
def test_damaged_files_are_refused(copied, damage: Change):
    damage(copied)
    with pytest.raises(UsageError, match="the model in .* cannot be read: "):
        load_model(copied)


@pytest.mark.parametrize("key", ["name", "model"])
def test_a_card_without_what_it_needs_is_refused(copied, key):
    edit_card(copied, lambda card: card.pop(key))
    with pytest.raises(UsageError, match=f"card.json has no '{key}': it is not a model's card"):
        load_model(copied)


def test_a_card_of_a_later_version_is_refused(copied):
    edit_card(copied, lambda card: card["model"].update(attention=True))
    with pytest.raises(UsageError, match="model.attention is unknown"):
        load_model(copied)


def test_weights_of_another_model_are_refused(copied):
    edit_card(copied, lambda card: card["model"].update(work_channels=24))
    with pytest.raises(UsageError, match=r"weight .* is \[.*\] instead of \[.*\]: its files do not belong together"):
        load_model(copied).network(64)


@pytest.mark.parametrize("name", ["inter.g_s.finish.1.bias", "intra.latents.hyperprior.scale_offset"])
def test_other_hashes_than_the_cards_are_refused(saved, tmp_path, name):
    folder = Path(shutil.copytree(saved, tmp_path / "mine"))
    edit_tensors(folder, lambda tensors: tensors[name].add_(1))
    with pytest.raises(UsageError, match="mine is not what its card says"):
        load_model(folder)


def longer(tensors: dict[str, torch.Tensor]) -> None:
    tensors["intra.latents.hyperprior.scale_length"][3] = 10**6


def not_growing(tensors: dict[str, torch.Tensor]) -> None:
    tensors["inter.residual_latents.hyperprior.scale_cdf"][2, 1] = 0


def beyond_the_sum(tensors: dict[str, torch.Tensor]) -> None:
    row, length = (tensors[f"intra.latents.hyperprior.scale_{name}"] for name in ("cdf", "length"))
    row[5, length[5] - 1] += 7


def fewer_rows(tensors: dict[str, torch.Tensor]) -> None:
    name = "intra.latents.hyperprior.scale_offset"
    tensors[name] = tensors[name][:-1].clone()


def floating(tensors: dict[str, torch.Tensor]) -> None:
    name = "intra.latents.hyperprior.scale_cdf"
    tensors[name] = tensors[name].float()


def no_table(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["inter.residual_latents.hyperprior.scale_cdf"]


def no_motion(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["inter.tables.tree_length"]


def longer_motion(tensors: dict[str, torch.Tensor]) -> None:
    tensors["inter.tables.tree_length"][40] = 10**6


def less_motion(tensors: dict[str, torch.Tensor]) -> None:
    for part in ("cdf", "length", "offset"):
        tensors[f"inter.tables.tree_{part}"] = tensors[f"inter.tables.tree_{part}"][:-1].clone()


@pytest.mark.parametrize(
    "edit",
    [longer, not_growing, beyond_the_sum, fewer_rows, floating, no_table, no_motion, longer_motion, less_motion],
)
def test_tables_that_would_lead_the_coder_astray_are_refused(copied, edit):
    edit_tensors(copied, edit)
    with pytest.raises(UsageError, match="the model's files are damaged: the table (scale|tree) "):
        load_model(copied).network(64)


@pytest.mark.parametrize("name", ["more.weight", "no.such_cdf", "intra.latents.hyperprior.conditional._quantized_cdf"])
def test_what_is_no_part_of_a_model_is_refused(copied, name):
    edit_tensors(copied, lambda tensors: tensors.update({name: torch.zeros(3)}))
    with pytest.raises(UsageError, match=f"the model's files hold {name}, which is no part of it"):
        load_model(copied).network(64)


def test_a_missing_weight_is_named(copied):
    edit_tensors(copied, lambda tensors: tensors.pop("inter.g_s.finish.1.bias"))
    with pytest.raises(UsageError, match="inter.g_s.finish.1.bias is missing"):
        load_model(copied).network(64)


@pytest.mark.parametrize(
    "nside, such_as", [(63, "64 or 128"), (100, "64 or 128"), (0, "64 or 128"), (200, "192 or 256")]
)
def test_an_nside_that_does_not_divide_is_refused_with_those_that_work(saved, nside, such_as):
    with pytest.raises(UsageError, match=f"nside is {nside}: mine needs a multiple of 64, such as {such_as}"):
        load_model(saved).network(nside)
    assert load_model(saved).nside_multiple == 64


def test_a_network_is_kept_for_the_next_call(saved):
    model = load_model(saved)
    assert model.network(64) is model.network(64)
    assert model.network(64).pyramid.grids[0] == HealpixGrid(64)


def test_the_graphs_hash_is_of_the_resolution(saved):
    model = load_model(saved)
    network = model.network(64)
    assert network.pyramid.graph_fingerprints[0] == build_graph(16).fingerprint
    assert model.graph_hash(64) == load_model(saved).graph_hash(64) != model.graph_hash(128)


def test_the_default_model_is_there_and_is_what_its_card_says():
    names = [card["name"] for card in list_models()]
    assert names == sorted(names) and "sphere-dvc" in names
    model = load_model()
    assert model.name == "sphere-dvc"
    assert (model.weights_hash, model.tables_hash) == (model.card["weights_hash"], model.card["tables_hash"])
    assert "Research use" in model.card["licence"]
    assert model.card["hardware"] and model.card["data"]
    trained = {stage["part"] for stage in model.card["training"].values() if stage["steps"] > 0}
    assert {"intra", "inter"} <= trained


def test_the_default_weights_are_small_enough_to_ship():
    import deepsphere_codec.models as package

    files = list((Path(package.__file__).parent / "weights" / "sphere-dvc").iterdir())
    assert {file.name for file in files} - {"LICENSE-weights"} == {WEIGHTS, CARD}
    assert sum(file.stat().st_size for file in files) <= 16 * 2**20


@pytest.mark.slow
def test_the_default_model_codes_a_film(film):
    """Real weights on a real picture: it resembles, and it costs little. That threads change nothing: test_anywhere."""
    from deepsphere_codec.codec import signal_from_frame
    from deepsphere_codec.sphere import ErpResampler
    from deepsphere_codec.video import open_video

    resampler = ErpResampler(128, 256, 64)
    with open_video(film, assume_erp=True, frames=(0, 2)) as reader:
        first, second = (signal_from_frame(frame, resampler, 1) for frame in reader)
    network = load_model().network(64)
    intra = network.encode_intra(first, 5.0)
    coded = [intra, network.encode_inter(second, References(intra.state), 5.0, 0)]
    for x, frame in zip((first, second), coded, strict=True):
        assert -10 * float((frame.state.x_hat - x)[..., 0].square().mean().log10()) > 24
    bits = [8 * len(frame.payload) / (256 * 128) for frame in coded]
    assert bits[1] < bits[0] < 2
