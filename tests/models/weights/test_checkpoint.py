"""Weights on disk: what is accepted, and what is said of a file of another network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tdn_data.models import build_model
from tdn_data.models.backbones import GoogLeNet, build_backbone
from tdn_data.models.backbones.base import convert_first_layer
from tdn_data.models.backbones.bninception import BNInception
from tdn_data.models.evaluation.evaluate import restore_model
from tdn_data.models.weights.checkpoint import Checkpoint, load_weights, read_checkpoint, save_checkpoint
from tdn_data.pipeline.errors import InputError

SMALL = {"backbone": "resnet18", "width": 8, "num_segments": 3}


def build(name: str, *, seed: int = 0, num_classes: int = 4, **options: object) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_model(name, num_classes=num_classes, **SMALL | options)


def save(model: torch.nn.Module, path: Path) -> Path:
    save_checkpoint(Checkpoint("any", {"num_segments": 3}, 4, 56, model.state_dict()), path)
    return path


def published(path: Path, *, seed: int = 5, width: int = 8, prefix: str = "") -> dict[str, torch.Tensor]:
    """Write a file as torchvision would publish it, 1000 classes; return its content."""
    torch.manual_seed(seed)
    state = build_backbone("resnet18", width=width).state_dict()
    torch.save({prefix + name: value for name, value in state.items()}, path)
    return state


@pytest.mark.parametrize("name", ["tsn", "tdn"])
def test_checkpoint_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    trained, fresh = build(name, seed=1), build(name, seed=2)
    path = save(trained, tmp_path / "deep/er/model.pt")
    assert read_checkpoint(path).options == {"num_segments": 3}
    load_weights(fresh, path)
    for key, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[key], value), key
    assert [file.name for file in path.parent.iterdir()] == ["model.pt"]


def test_same_weights_same_bytes_under_any_name(tmp_path: Path) -> None:
    first, second = (save(build("tsn"), tmp_path / name) for name in ("a.pt", "b.pt"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_weights_go_into_both_subnetworks(tmp_path: Path, prefix: str) -> None:
    state = published(tmp_path / "resnet18.pth", prefix=prefix)
    model = build("tdn")
    classifier = model.image.fc.weight.clone()
    load_weights(model, tmp_path / "resnet18.pth")
    for subnetwork in (model.image, model.difference):
        for name, value in subnetwork.state_dict().items():
            assert name.startswith("fc.") or torch.equal(value, state[name]), name
    assert torch.equal(model.image.fc.weight, classifier)


def test_classifier_of_as_many_classes_is_taken(tmp_path: Path) -> None:
    state = published(tmp_path / "resnet18.pth")
    model = build("tsn", num_classes=1000)
    load_weights(model, tmp_path / "resnet18.pth")
    assert torch.equal(model.backbone.fc.weight, state["fc.weight"])


def test_first_layer_is_averaged_and_repeated_for_flow(tmp_path: Path) -> None:
    state = published(tmp_path / "resnet18.pth")
    model = build("tsn", modality="flow", snippet_length=5)
    load_weights(model, tmp_path / "resnet18.pth")
    assert model.backbone.conv1.weight.shape[1] == 10
    assert torch.equal(model.backbone.conv1.weight, convert_first_layer(state["conv1.weight"], 10))


def test_trained_tsn_becomes_the_image_subnetwork(tmp_path: Path) -> None:
    tsn, tdn = build("tsn", seed=1), build("tdn", seed=2)
    before = tdn.difference.conv1.weight.clone()
    load_weights(tdn, save(tsn, tmp_path / "tsn.pt"))
    for name, value in tsn.backbone.state_dict().items():
        assert torch.equal(tdn.image.state_dict()[name], value), name
    assert torch.equal(tdn.difference.conv1.weight, before)


def test_a_removed_decoder_is_passed_over(tmp_path: Path) -> None:
    options = {"num_segments": 1, "snippet_length": 4}
    trained = build("actionflownet", seed=1, **options)
    bare = build("actionflownet", seed=2, decoder=False, **options)
    load_weights(bare, save(trained, tmp_path / "flow.pt"))
    assert not any("decoder" in name for name in bare.state_dict())
    for name, value in bare.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name]), name
    with pytest.raises(InputError, match=r"missing: flownet\.decoder\..* and \d+ more"):
        load_weights(trained, save(bare, tmp_path / "bare.pt"))


def test_local_pooling_grows_from_30_frames_to_120(tmp_path: Path) -> None:
    options = {"hidden": 16, "dropout": 0.0}
    short = build("local_pooling", seed=1, **options, num_segments=30)
    long = build("local_pooling", seed=2, **options, num_segments=120)
    load_weights(long, save(short, tmp_path / "30.pt"))
    expected = short.expand(120).state_dict()
    for name, value in long.state_dict().items():
        assert torch.equal(value, expected[name]), name
    with pytest.raises(InputError, match=r"other shapes: .*weight \(23, 4, 16\) instead of \(23, 3, 16\)"):
        load_weights(build("local_pooling", **options, num_classes=3, num_segments=120), tmp_path / "30.pt")


def test_auxiliary_classifiers_of_our_own_checkpoint_are_passed_over(tmp_path: Path) -> None:
    options = {"backbone": "googlenet", "num_classes": 2}
    trained = build_model("tsn", **options, aux_logits=True)
    network = build_model("tsn", **options)
    save(trained, tmp_path / "aux.pt")
    load_weights(network, tmp_path / "aux.pt")
    assert torch.equal(network.backbone.fc.weight, trained.backbone.fc.weight)


def test_public_bninception_files_are_changed_to_normalised_rgb(tmp_path: Path) -> None:
    torch.manual_seed(0)
    public = build_backbone("bninception", num_classes=4).state_dict()
    torch.save(public, tmp_path / "bninception.pth")
    model = build_model("tsn", num_classes=4, backbone="bninception")
    load_weights(model, tmp_path / "bninception.pth")
    expected = BNInception.weights_for_rgb(public)["conv1_7x7_s2.weight"]
    torch.testing.assert_close(model.backbone.conv1_7x7_s2.weight, expected)


def test_another_backbones_file_is_told_apart_before_its_first_layer_is_changed(tmp_path: Path) -> None:
    torch.save(build_backbone("resnet18", width=8).state_dict(), tmp_path / "resnet.pth")
    for name in ("googlenet", "bninception"):
        with pytest.raises(InputError, match="belongs to another network than .*missing"):
            load_weights(build_backbone(name), tmp_path / "resnet.pth")


def test_our_own_weights_are_taken_as_they_are(tmp_path: Path) -> None:
    tsn = build_model("tsn", num_classes=4, backbone="bninception")
    save_checkpoint(Checkpoint("tsn", {}, 4, 224, tsn.state_dict()), tmp_path / "tsn.pt")
    tdn = build_model("tdn", num_classes=4, backbone="bninception")
    load_weights(tdn, tmp_path / "tsn.pt")
    torch.testing.assert_close(tdn.image.conv1_7x7_s2.weight, tsn.backbone.conv1_7x7_s2.weight)


def test_bare_backbone_is_loaded(tmp_path: Path) -> None:
    state = published(tmp_path / "resnet18.pth")
    network = build_backbone("resnet18", width=8)
    load_weights(network, tmp_path / "resnet18.pth")
    assert torch.equal(network.fc.weight, state["fc.weight"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "tdn",
            r"another network than ResNet: missing: bn1.bias.*unknown: difference.bn1.bias.* and \d+ more",
        ),
        (
            "wide",
            r"other shapes: bn1.bias \(16,\) instead of \(8,\)",
        ),
        ("list", "holds no named tensors"),
        ("text", "is no file of weights"),
        ("absent", "the file of weights does not exist"),
    ],
)
def test_wrong_file_is_told_apart(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "weights.pt"
    if content == "tdn":
        save(build("tdn"), path)
    elif content == "wide":
        published(path, width=16)
    elif content == "list":
        torch.save([1, 2], path)
    elif content == "text":
        path.write_text("no weights")
    with pytest.raises(InputError, match=message):
        load_weights(build("tsn"), path)


def test_published_weights_are_no_checkpoint(tmp_path: Path) -> None:
    published(tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match="is no checkpoint of this program"):
        read_checkpoint(tmp_path / "resnet18.pth")


def test_refused_file_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    published(tmp_path / "wide.pth", width=16)
    model, same = build("tsn"), build("tsn")
    with pytest.raises(InputError):
        load_weights(model, tmp_path / "wide.pth")
    assert torch.equal(model.backbone.conv1.weight, same.backbone.conv1.weight)


def test_a_file_that_fits_one_subnetwork_of_two_changes_neither(tmp_path: Path) -> None:
    published(tmp_path / "narrow.pth")
    model = build("tdn")
    model.difference = build_backbone("resnet18", width=16)
    before = model.image.conv1.weight.clone()
    with pytest.raises(InputError, match="other shapes: bn1.bias"):
        load_weights(model, tmp_path / "narrow.pth")
    assert torch.equal(model.image.conv1.weight, before)


def test_checkpoints_with_a_networks_former_name_are_read(tmp_path: Path) -> None:
    trained = build("tdn_wang", seed=1)
    options = {**SMALL, "modality": "rgb"}
    save_checkpoint(Checkpoint("tdm", options, 4, 56, trained.state_dict()), tmp_path / "old.pt")
    checkpoint = read_checkpoint(tmp_path / "old.pt")
    assert checkpoint.model == "tdn_wang"
    again = restore_model(checkpoint)
    assert all(torch.equal(value.cpu(), trained.state_dict()[name]) for name, value in again.state_dict().items())


@pytest.mark.parametrize(
    ("model", "backbone", "options"),
    [("lstm", "resnet18", {"width": 8}), ("lstm", "googlenet", {}), ("actionflownet_2f", "resnet18", {"width": 8})],
)
def test_a_network_without_the_files_classifier_takes_the_rest(tmp_path: Path, model, backbone, options) -> None:
    published = build_backbone(backbone, **options, **({"aux_logits": True} if backbone == "googlenet" else {}))
    torch.save(published.state_dict(), tmp_path / "published.pth")
    network = build_model(model, num_classes=5, backbone=backbone, **options)
    load_weights(network, tmp_path / "published.pth")
    first = next(name for name, value in published.state_dict().items() if value.ndim == 4)
    found = [value for name, value in network.state_dict().items() if name.endswith(first) and value.ndim == 4]
    state = GoogLeNet.weights_for_rgb(published.state_dict()) if backbone == "googlenet" else published.state_dict()
    expected = convert_first_layer(state[first], found[0].shape[1])
    torch.testing.assert_close(found[0], expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.pop("model"), "model is missing"),
        (lambda content: content.update(options=[1]), "options is list, not dict"),
        (lambda content: content.update(num_classes=-1), "num_classes is -1; allowed are 1 to"),
        (lambda content: content.update(num_classes=10**12), "num_classes is 1000000000000; allowed"),
        (lambda content: content.update(clip_size=10**9), "clip_size is 1000000000; allowed"),
        (lambda content: content["options"].update(num_segments=10**6), "num_segments is 1000000; allowed are 1 to"),
        (lambda content: content.update(more=1), "'more' is not known"),
        (lambda content: content["state_dict"].update(x="y"), "x is no tensor"),
        (
            lambda content: content["state_dict"]["backbone.fc.bias"].fill_(float("nan")),
            "fc.bias holds values that are not",
        ),
    ],
)
def test_a_damaged_checkpoint_is_named_before_anything_is_built(tmp_path: Path, change, words: str) -> None:
    path = save(build("tsn"), tmp_path / "c.pt")
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    for read in (read_checkpoint, lambda one: load_weights(build("tsn"), one)):
        with pytest.raises(InputError, match=f"c.pt is a damaged checkpoint: .*{words}"):
            read(path)


class Malicious:
    def __reduce__(self):
        return Path.touch, (Path("touched"),)


def test_code_in_a_file_is_neither_run_nor_recommended_to_be(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"version": 2, "model": Malicious()}, "c.pt")
    with pytest.raises(InputError, match="c.pt holds code beside tensors .*was not run") as caught:
        read_checkpoint("c.pt")
    assert "weights_only" not in caught.value.message
    assert not Path("touched").exists()


def test_a_file_cut_anywhere_is_no_file_of_weights(tmp_path: Path) -> None:
    whole = save(build("tsn"), tmp_path / "c.pt").read_bytes()
    for share in (0, 0.01, 0.5, 0.99):
        (tmp_path / "cut.pt").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match="cut.pt is no file of weights, or is damaged or cut off"):
            read_checkpoint(tmp_path / "cut.pt")


@pytest.mark.parametrize(("name", "snippet_length"), [("tsn", 6), ("tdn_wang", 5)])
def test_another_modality_is_refused_whatever_the_channels(tmp_path: Path, name: str, snippet_length: int) -> None:
    options = {"num_segments": 3, "modality": "flow", "snippet_length": snippet_length}
    flow = build(name, modality="flow", snippet_length=snippet_length)
    save_checkpoint(Checkpoint(name, options, 4, 56, flow.state_dict()), tmp_path / "flow.pt")
    frames = build(name, snippet_length=4 if name == "tsn" else 5)  # a TSN of 4 frames has as many channels
    with pytest.raises(InputError, match="flow.pt was trained on flow, and this network reads rgb"):
        load_weights(frames, tmp_path / "flow.pt")


def test_weights_of_another_modality_are_refused_by_its_name(tmp_path: Path) -> None:
    flow = build("tsn", modality="flow", snippet_length=5)
    options = {"num_segments": 3, "modality": "flow", "snippet_length": 5}
    save_checkpoint(Checkpoint("tsn", options, 4, 56, flow.state_dict()), tmp_path / "flow.pt")
    with pytest.raises(InputError, match="flow.pt was trained on flow, and this network reads rgb"):
        load_weights(build("tsn"), tmp_path / "flow.pt")
    again = build("tsn", seed=3, modality="flow", snippet_length=5)
    load_weights(again, tmp_path / "flow.pt")
    assert torch.equal(again.backbone.conv1.weight, flow.backbone.conv1.weight)


@pytest.mark.parametrize("name", ["conv_pooling", "local_pooling", "time_conv", "lstm"])
def test_networks_over_frames_start_from_a_single_frame_and_on_flow_from_frames(tmp_path: Path, name: str) -> None:
    narrow = {"num_cells": 8} if name == "lstm" else {"hidden": 16}
    single = build("tsn", seed=1, num_segments=1)
    frames = build(name, seed=2, num_segments=30, **narrow)
    load_weights(frames, save(single, tmp_path / "single.pt"))
    assert torch.equal(frames.backbone.conv1.weight, single.backbone.conv1.weight)
    flow = build(name, seed=3, num_segments=30, modality="flow", **narrow)
    load_weights(flow, save(frames, tmp_path / "frames.pt"))
    assert torch.equal(flow.backbone.conv1.weight, frames.backbone.conv1.weight[:, :2])
    others = [key for key in flow.state_dict() if key != "backbone.conv1.weight"]
    assert all(torch.equal(flow.state_dict()[key], frames.state_dict()[key]) for key in others)
