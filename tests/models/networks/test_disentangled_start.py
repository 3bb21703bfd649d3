"""Runs of single branches become one network's branches; the shared layer, files that do not serve, what is said."""

from __future__ import annotations

import copy
import logging

import pytest
import torch

from tdn_data.models.backbones import BNInception
from tdn_data.models.networks.disentangled import Disentangled
from tdn_data.models.networks.disentangled_start import BRANCHES, SHARED, weights_of_each
from tdn_data.models.weights.checkpoint import Checkpoint, load_weights, save_checkpoint
from tdn_data.pipeline.errors import InputError

CLIP = torch.randn(1, 1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def build(*branches, num_classes=4, **options):
    return Disentangled(num_classes=num_classes, branches=branches or BRANCHES, **options).eval()


def layer_of(network):
    return {name: value for name, value in network.state_dict().items() if name.startswith(SHARED)}


def save(network, path):
    save_checkpoint(Checkpoint("disentangled", {"num_segments": 3}, 4, 32, network.state_dict()), path)
    return path


def streams(network):
    with torch.no_grad():
        return network.forward_streams(CLIP)


@pytest.fixture(scope="module")
def runs():
    """One network for each branch, all other weights of their own, on the same shared layer."""
    torch.manual_seed(0)
    networks = {name: build(name) for name in BRANCHES}
    for network in networks.values():
        network.load_state_dict(layer_of(networks["appearance"]), strict=False)
    return networks


@pytest.fixture(scope="module")
def files(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("branches")
    return {name: save(network, folder / f"{name}.pt") for name, network in runs.items()}


@pytest.fixture(scope="module")
def full():
    """A network of all branches as it starts; tests change copies."""
    torch.manual_seed(1)
    return build()


@pytest.mark.parametrize("order", [BRANCHES, BRANCHES[::-1]])
def test_runs_of_single_branches_score_the_same_in_the_full_network(runs, files, full, order):
    network = copy.deepcopy(full)
    load_weights(network, *(files[name] for name in order))
    scores = streams(network)
    for name, single in runs.items():
        assert torch.equal(scores[name], streams(single)[name]), name


def test_the_branches_that_no_file_gives_start_as_ever(runs, files, full):
    network = copy.deepcopy(full)
    load_weights(network, files["motion"])
    assert torch.equal(streams(network)["motion"], streams(runs["motion"])["motion"])
    loaded = network.state_dict()
    for name, value in full.state_dict().items():
        assert name.startswith(("motion.", SHARED)) or torch.equal(loaded[name], value), name


def test_a_network_of_one_branch_takes_it_from_the_full_one(full, runs, tmp_path):
    network = copy.deepcopy(runs["change"])
    load_weights(network, save(full, tmp_path / "full.pt"))
    assert torch.equal(streams(network)["change"], streams(full)["change"])


def test_a_branch_learns_on_the_shared_layer_of_the_run_of_appearance(full, runs, tmp_path):
    network = copy.deepcopy(runs["motion"])
    torch.save({k: v for k, v in full.state_dict().items() if k.startswith("appearance.")}, tmp_path / "appearance.pt")
    load_weights(network, tmp_path / "appearance.pt")
    expected = runs["motion"].state_dict() | layer_of(full)
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


def test_classifiers_of_other_classes_stay_as_they_are(runs, files):
    network = build("motion", num_classes=7)
    before = network.motion.last_linear.weight.clone()
    load_weights(network, files["motion"])
    assert torch.equal(network.motion.last_linear.weight, before)
    assert torch.equal(network.motion.inception_5b_1x1.weight, runs["motion"].motion.inception_5b_1x1.weight)


def test_a_branch_without_its_classifier_is_no_whole_branch(tmp_path, runs, full):
    state = {name: value for name, value in runs["motion"].state_dict().items() if "last_linear" not in name}
    torch.save(state, tmp_path / "cut.pt")
    with pytest.raises(InputError, match=r"missing: motion\.last_linear\.bias, motion\.last_linear\.weight\."):
        load_weights(full, tmp_path / "cut.pt")


def test_image_weights_go_into_a_single_branch_and_the_shared_layer_that_it_reads(tmp_path, runs):
    images = BNInception(num_classes=10).state_dict()
    torch.save(images, tmp_path / "images.pth")
    network = copy.deepcopy(runs["motion"])
    load_weights(network, tmp_path / "images.pth")
    assert torch.equal(network.motion.inception_5b_1x1.weight, images["inception_5b_1x1.weight"])
    expected = BNInception.weights_for_rgb(images)["conv1_7x7_s2.weight"]
    torch.testing.assert_close(network.appearance.conv1_7x7_s2.weight, expected)


def held(*branches, layer=None):
    """A file's weights, cut down to one number a branch and one of the shared layer."""
    state = {f"{name}.last_linear.weight": torch.ones(1) for name in branches}
    return state if layer is None else state | {f"{SHARED}_7x7_s2.weight": torch.tensor([layer])}


def given(*files, branches=BRANCHES, has_layer=True):
    """The numbers of the files that give the shared layer."""
    states = weights_of_each(files, branches, has_layer=has_layer)
    assert all(
        set(held(*BRANCHES)) & set(old) == set(held(*BRANCHES)) & set(new)
        for (_, old), new in zip(files, states, strict=True)
    )
    return [number for number, state in enumerate(states) if any(name.startswith(SHARED) for name in state)]


def test_the_shared_layer_is_that_of_the_file_with_the_appearance_branch_or_of_the_first(caplog):
    caplog.set_level(logging.INFO)
    motion, change = ("m.pt", held("motion", layer=1.0)), ("c.pt", held("change", layer=1.0))
    appearance, images = ("a.pt", held("appearance", layer=1.0)), ("i.pth", {"conv1_7x7_s2.weight": torch.ones(1)})
    assert given(motion, appearance, change) == [1] and given(images, motion, change) == [1] and given(images) == []
    assert given(appearance, motion, branches=("motion",)) == [0] and given(motion, has_layer=False) == []
    assert caplog.messages[:3] == [
        "m.pt gives the motion branch",
        "a.pt gives the appearance branch, the shared layer",
        "c.pt gives the change branch",
    ]
    assert caplog.messages[5] == "a.pt gives the shared layer" and not any("score" in one for one in caplog.messages)


def test_a_branch_that_was_trained_on_another_shared_layer_is_said(caplog):
    assert given(("m.pt", held("motion", layer=2.0)), ("a.pt", held("appearance", layer=1.0))) == [1]
    assert caplog.messages == [
        "m.pt was trained on another shared layer than that of a.pt, which is taken: here its branches (motion) do not "
        "score as there"
    ]


@pytest.mark.parametrize(
    ("branches", "has_layer", "names", "message"),
    [
        (("change",), True, ["motion"], "motion holds no branch of this network, which has change, but motion; give a"),
        (("appearance",), True, ["motion"], "motion holds no branch of this network, which has appearance, but motion"),
        (("motion",), False, ["appearance"], "appearance holds no branch of this network, which has motion, but app"),
        (BRANCHES, True, ["motion", "change", "motion"], "motion and motion both hold the motion branch; give one"),
    ],
)
def test_files_that_do_not_serve_are_named(branches, has_layer, names, message):
    with pytest.raises(InputError, match=message):
        weights_of_each([(name, held(name, layer=1.0)) for name in names], branches, has_layer=has_layer)


def test_files_of_one_branch_are_refused_before_any_is_loaded(files, full):
    network = copy.deepcopy(full)
    with pytest.raises(InputError, match=r"motion\.pt and .*motion\.pt both hold the motion branch"):
        load_weights(network, files["appearance"], files["motion"], files["motion"])
    assert torch.equal(network.appearance.conv1_7x7_s2.weight, full.appearance.conv1_7x7_s2.weight)
