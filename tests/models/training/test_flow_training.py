"""Training with flow as a target, on shards of the real pipeline: a texture that moves one pixel left a frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tdn_data.models import build_model, load_weights
from tdn_data.models.clips.augment import Augment
from tdn_data.models.clips.with_flow import FlowClipDataset
from tdn_data.models.evaluation.evaluate import EvaluateConfig, evaluate, restore_model
from tdn_data.models.networks.base import ClipShape
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.reports import EpochReport
from tdn_data.models.training.resources import Resources
from tdn_data.models.training.train import train
from tdn_data.models.weights.checkpoint import read_checkpoint
from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.errors import InputError, PipelineError
from tdn_data.pipeline.extraction.engine import run_extraction
from tdn_data.pipeline.flow import write_flo
from tdn_data.pipeline.parameters import ExtractParameters, FlowParameters, FrameParameters
from tdn_data.pipeline.shards.reader import ShardReader

SIZE = {"height": 48, "width": 64}
CONFIG = TrainConfig(
    backbone="resnet18",
    backbone_options={"width": 8, "snippet_length": 4, "dropout": 0.0},
    num_segments=1,
    size=48,
    crop="random",
    mirror=False,
    epochs=16,
    batch_size=3,
    optimizer="adam",
    learning_rate=0.001,
    lr_steps=(),
    flow_share=0.5,
    flow_weight=1e-3,
)
TWO_FRAMES = replace(CONFIG, backbone_options={"width": 8, "dropout": 0.0}, flow_weight=0.02)


@pytest.fixture(scope="module")
def shards(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames and flow of the clip folder at one size, in one folder."""
    out = tmp_path_factory.mktemp("with_flow") / "shards"
    parameters = ExtractParameters(frames=FrameParameters(**SIZE), flow=FlowParameters(**SIZE, bound=5))
    run_extraction(index_dataset("folder", clip_folder), parameters, out=out, num_workers=1)
    return out


@pytest.fixture
def frames(shards: Path) -> ShardReader:
    return ShardReader(shards, modality="rgb")


@pytest.fixture
def flow(shards: Path) -> ShardReader:
    return ShardReader(shards, modality="flow")


def run(
    frames: ShardReader, name: str, config: TrainConfig, out: Path, flow: ShardReader | None
) -> tuple[Path, list[EpochReport]]:
    reports: list[EpochReport] = []
    return train(frames, name, config=config, out=out, flow=flow, on_epoch=reports.append), reports


def clips(frames: ShardReader, flow: ShardReader, network: torch.nn.Module) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield each training video's clip and flow, as batches of one."""
    shape, fields = ClipShape.of(network, 48), network.flownet.num_fields
    dataset = FlowClipDataset(
        frames, flow, num_fields=fields, split="train", shape=shape, augment=Augment(48, "center")
    )
    for index in range(len(dataset)):
        clip, _, truth = dataset[0, index]
        yield clip[None], truth[None]


def mean_error(frames: ShardReader, flow: ShardReader, network: torch.nn.Module) -> float:
    """Return the mean end point error over the training clips, in pixels."""
    errors = []
    with torch.no_grad():
        for clip, truth in clips(frames, flow, network.train()):
            small = F.adaptive_avg_pool2d(truth.flatten(0, 2), 12).unflatten(0, truth.shape[:3])
            errors.append((network.flow(clip) - small).norm(dim=3).mean())
    return float(torch.stack(errors).mean())


def test_the_shards_flow_is_the_motion_and_reaches_the_network_as_pixels(frames, flow) -> None:
    network = build_model("actionflownet", num_classes=2, **CONFIG.model_options("actionflownet", "rgb"))
    for clip, truth in clips(frames, flow, network):
        assert clip.shape == (1, 1, 4, 3, 48, 48) and truth.shape == (1, 1, 4, 2, 48, 48)
        assert truth[..., 0, 8:-8, 8:-8].median().item() == pytest.approx(-1, abs=0.1)
        assert truth[..., 1, 8:-8, 8:-8].median().item() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(("name", "config"), [("actionflownet", CONFIG), ("actionflownet_2f", TWO_FRAMES)])
def test_flow_is_learned_first_and_then_classes_with_it(frames, flow, tmp_path: Path, name, config) -> None:
    config = replace(config, epochs=32)
    torch.manual_seed(config.seed)
    untrained = build_model(name, num_classes=2, **config.model_options(name, "rgb"))
    before = mean_error(frames, flow, untrained)
    out, reports = run(frames, name, replace(config, flow_share=1.0, epochs=16), tmp_path / "flow.pt", flow)
    assert mean_error(frames, flow, restore_model(read_checkpoint(out))) < 0.6 * before
    assert [report.loss for report in reports] == [report.flow_loss for report in reports]
    assert all(report.class_loss is None and report.accuracy is None for report in reports)

    _, reports = run(frames, name, config, tmp_path / "joint.pt", flow)
    flow_alone, joint = reports[:16], reports[16:]
    assert [report.class_loss is None for report in reports] == [True] * 16 + [False] * 16
    assert flow_alone[-1].flow_loss < 0.6 * flow_alone[0].flow_loss
    assert joint[-1].flow_loss < joint[0].flow_loss and joint[-1].class_loss < joint[0].class_loss
    for report in joint:
        assert report.loss == pytest.approx(report.class_loss + config.flow_weight * report.flow_loss, rel=1e-4)
        assert 0 <= report.accuracy <= 1


def test_flow_alone_leaves_the_classifier_and_classes_alone_the_decoder(frames, flow, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=2, flow_weight=0.0)
    torch.manual_seed(config.seed)
    start = build_model("actionflownet", num_classes=2, **config.model_options("actionflownet", "rgb")).state_dict()
    alone, _ = run(frames, "actionflownet", replace(config, epochs=1, flow_share=1.0), tmp_path / "1.pt", flow)
    tuned, reports = run(frames, "actionflownet", config, tmp_path / "2.pt", flow)  # "fine-tune" of table 4.1
    alone, tuned = read_checkpoint(alone).state_dict, read_checkpoint(tuned).state_dict
    assert [name for name in start if name.startswith("classifier") and not torch.equal(start[name], alone[name])] == []
    assert not torch.equal(start["flownet.decoder.predict.0.weight"], alone["flownet.decoder.predict.0.weight"])
    assert [name for name in alone if "decoder" in name and not torch.equal(alone[name], tuned[name])] == []
    assert not torch.equal(alone["classifier.weight"], tuned["classifier.weight"])
    assert reports[1].class_loss is None and reports[1].flow_loss is None and reports[1].accuracy is not None


def test_the_stacked_networks_flow_is_learned_and_then_fixed(frames, flow, tmp_path: Path) -> None:
    config = replace(TWO_FRAMES, flow_weight=0.0, epochs=2)
    alone, _ = run(frames, "stacked", replace(config, epochs=1, flow_share=1.0), tmp_path / "1.pt", flow)
    whole, _ = run(frames, "stacked", config, tmp_path / "2.pt", flow)
    alone, whole = read_checkpoint(alone).state_dict, read_checkpoint(whole).state_dict
    torch.manual_seed(config.seed)
    start = build_model("stacked", num_classes=2, **config.model_options("stacked", "rgb")).state_dict()
    assert not torch.equal(start["flownet.encoder.conv1.weight"], alone["flownet.encoder.conv1.weight"])
    for name, value in alone.items():
        if name.startswith("flownet."):
            assert torch.equal(whole[name], value), name
        elif name.startswith("recognizer.") and not name.endswith("num_batches_tracked"):
            assert torch.equal(start[name], value), name
    assert not torch.equal(whole["classifier.weight"], alone["classifier.weight"])


@pytest.mark.parametrize("name", ["actionflownet", "actionflownet_2f"])
def test_scores_of_a_trained_network_stay_the_same_without_its_decoder(frames, flow, tmp_path: Path, name) -> None:
    config = replace(CONFIG if name == "actionflownet" else TWO_FRAMES, epochs=2)
    out, _ = run(frames, name, config, tmp_path / "c.pt", flow)
    network = restore_model(read_checkpoint(out))
    bare = build_model(name, num_classes=2, **config.model_options(name, "rgb"), decoder=False)
    bare.to(memory_format=bare.memory_format)  # as evaluation does
    load_weights(bare, out)
    assert not any("decoder" in key for key in bare.state_dict())
    with torch.no_grad():
        for clip, _ in clips(frames, flow, network.eval()):
            assert torch.equal(bare.eval()(clip), network(clip))
    config = EvaluateConfig(num_clips=2, num_crops=1, max_missing_share=0.5)  # one listed file is not there
    scores = evaluate(frames, out, config=config).scores  # reads no flow
    assert scores.shape == (4, 2) and np.isfinite(scores).all()


def test_same_seed_same_bytes_with_flow(frames, flow, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=2, color_jitter=0.4, mirror=True, crop="corner")
    first, _ = run(frames, "actionflownet", config, tmp_path / "1.pt", flow)
    for number in (0, 2):
        again = tmp_path / f"again {number}.pt"
        train(frames, "actionflownet", config=config, out=again, flow=flow, resources=Resources(num_workers=number))
        assert again.read_bytes() == first.read_bytes()


def write_chairs(root: Path) -> None:
    """Write four pairs in Flying Chairs' layout whose second image is the first, moved three pixels to the right."""
    (root / "data").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(1, 5):
        texture = generator.integers(0, 256, (14, 20, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
        cv2.imwrite(str(root / f"data/{number:05d}_img1.ppm"), texture[:, 3:67])
        cv2.imwrite(str(root / f"data/{number:05d}_img2.ppm"), texture[:, :64])
        write_flo(root / f"data/{number:05d}_flow.flo", np.tile(np.float32([3, 0]), (56, 64, 1)))
    (root / "FlyingChairs_train_val.txt").write_text("1\n1\n1\n1\n")


def test_two_frame_networks_learn_flow_on_pairs_and_then_classes_on_shards(frames, flow, tmp_path: Path) -> None:
    write_chairs(tmp_path / "chairs")
    pairs = {"flow_pairs": "flying-chairs", "flow_pairs_root": str(tmp_path / "chairs")}
    config = replace(TWO_FRAMES, **pairs, epochs=8, batch_size=2, flow_weight=0.0)
    out, reports = run(frames, "actionflownet_2f", replace(config, flow_share=1.0), tmp_path / "flow.pt", None)
    assert reports[-1].flow_loss < 0.6 * reports[0].flow_loss
    network = restore_model(read_checkpoint(out)).train()
    estimate = torch.cat([network.flow(clip) for clip, _ in clips(frames, flow, network)])
    assert estimate[..., 0, :, :].mean() > 1  # it has seen nothing but motion to the right
    _, reports = run(frames, "actionflownet_2f", config, tmp_path / "classes.pt", None)
    assert [report.accuracy is None for report in reports] == [True] * 4 + [False] * 4
    _, reports = run(
        frames, "actionflownet_2f", replace(config, flow_weight=0.02, epochs=2), tmp_path / "joint.pt", flow
    )
    assert [report.flow_loss is None for report in reports] == [False, False] and reports[1].class_loss is not None


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("tsn", {}, "flow_share is 0.5 and flow_weight 0.001; tsn does not learn flow, these networks do: actionflow"),
        ("stacked", {"backbone_options": {"width": 8}}, "flow_weight is 0.001; stacked keeps its flow network fixed"),
        ("actionflownet", {"flow_share": 0.25, "epochs": 2}, "flow_share is 0.25; of 2 epochs that is not one"),
        ("actionflownet", {}, "flow is None; flow_share and flow_weight take a reader of the videos' flow"),
    ],
)
def test_what_a_network_cannot_do_is_named(frames, tmp_path: Path, name, changes, words) -> None:
    with pytest.raises(ValueError, match=words):
        train(frames, name, config=replace(CONFIG, **changes), out=tmp_path / "c.pt")
    assert not (tmp_path / "c.pt").exists()


@pytest.mark.parametrize(
    ("name", "pairs", "words"),
    [
        ("actionflownet", "flying-chairs", "pairs serve two-frame networks, and this one takes 4 frames"),
        ("actionflownet_2f", "ucf101", "ucf101 holds no image pairs with known flow; flying-chairs and sintel do"),
        ("actionflownet_2f", "sintel", "absent does not exist"),
    ],
)
def test_pairs_that_cannot_serve_are_named(frames, tmp_path: Path, name, pairs, words) -> None:
    config = CONFIG if name == "actionflownet" else TWO_FRAMES
    config = replace(config, flow_pairs=pairs, flow_pairs_root=str(tmp_path / "absent"), flow_weight=0.0)
    with pytest.raises(InputError, match=words):
        train(frames, name, config=config, out=tmp_path / "c.pt")


def test_a_loss_that_is_lost_to_infinity_stops_the_training(frames, flow, tmp_path: Path) -> None:
    config = replace(CONFIG, optimizer="sgd", learning_rate=1e6)
    with pytest.raises(
        PipelineError, match=r"the loss is (nan|inf) in epoch \d, step \d \(.+\); lower learning_rate, or set optimizer"
    ):
        train(frames, "actionflownet", config=config, out=tmp_path / "c.pt", flow=flow)
    assert not (tmp_path / "c.pt").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"flow_share": 1.5}, "flow_share is 1.5; it must be between 0 and 1"),
        ({"flow_weight": -1.0}, "flow_weight is -1.0; it must be a number, 0 or more"),
        ({"flow_pairs": "sintel", "flow_share": 0.5}, "flow_pairs and flow_pairs_root go together"),
        ({"flow_pairs": "sintel", "flow_pairs_root": "s"}, "flow_pairs is 'sintel'; flow_share must say"),
        ({"color_jitter": 1.0}, "color_jitter is 1.0; it must be at least 0 and below 1"),
    ],
)
def test_impossible_values_are_named(wrong, words) -> None:
    with pytest.raises(ValueError, match=words):
        TrainConfig(**wrong)


@pytest.mark.parametrize(
    ("config", "needs"),
    [
        (TrainConfig(), False),
        (TrainConfig(flow_weight=0.1), True),
        (TrainConfig(flow_share=0.5), True),
        (TrainConfig(flow_share=0.5, flow_pairs="sintel", flow_pairs_root="s"), False),
        (TrainConfig(flow_share=0.5, flow_weight=0.1, flow_pairs="sintel", flow_pairs_root="s"), True),
        (TrainConfig(flow_share=1.0, flow_weight=0.1, flow_pairs="sintel", flow_pairs_root="s"), False),
    ],
)
def test_flow_shards_are_needed_only_where_they_are_read(config: TrainConfig, needs: bool) -> None:
    assert config.needs_flow == needs


def test_a_second_phase_goes_on_with_the_epochs_of_the_first(frames, flow, tmp_path: Path, monkeypatch) -> None:
    drawn = []

    class Watched(FlowClipDataset):
        def __getitem__(self, key):
            drawn.append(key[0])
            return super().__getitem__(key)

    monkeypatch.setattr("tdn_data.models.training.phases.FlowClipDataset", Watched)
    run(frames, "actionflownet", replace(CONFIG, epochs=4, flow_share=0.5), tmp_path / "c.pt", flow)
    assert sorted(set(drawn)) == [0, 1, 2, 3]
    assert drawn == sorted(drawn)
