"""Losses written down a second time, for one batch of a small network of each kind."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tdn_data.models import build_model
from tdn_data.models.networks.lstm import frame_loss
from tdn_data.models.training.config import TrainConfig
from tdn_data.models.training.losses import criterion_of, mixed
from tdn_data.pipeline.errors import InputError

SMALL = {"num_classes": 3, "backbone": "resnet18", "width": 8, "num_segments": 3}
TARGETS = torch.tensor([2, 0])


def build(name, **options):
    torch.manual_seed(0)
    return build_model(name, **SMALL, **options).eval()


def clips(num_frames=3):
    return torch.randn(2, num_frames, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_the_losses_of_both_subnetworks_add_up():
    network = build("tdn")
    streams = network.forward_streams(clips())
    expected = F.cross_entropy(streams["image"], TARGETS) + F.cross_entropy(streams["difference"], TARGETS)
    losses = network.class_losses(clips(), TARGETS)
    torch.testing.assert_close(losses.total, expected)
    torch.testing.assert_close(losses.scores, (streams["image"] + streams["difference"]).detach() / 2)


def test_several_labels_add_up_by_their_own_criterion():
    network, targets = build("tdn"), torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    streams = network.forward_streams(clips()).values()
    expected = sum(F.binary_cross_entropy_with_logits(scores, targets) for scores in streams)
    losses = network.class_losses(clips(), targets, criterion=F.binary_cross_entropy_with_logits)
    torch.testing.assert_close(losses.total, expected)


@pytest.mark.parametrize("consensus", ["last", "max", "sum", "weighted"])
def test_an_lstms_training_scores_are_combined_as_its_video_scores(consensus):
    network = build("lstm", num_layers=1, num_cells=16, consensus=consensus)
    torch.testing.assert_close(network.class_losses(clips(), TARGETS).scores, network(clips()).detach())


def some(num_rows=5, num_classes=4):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(num_rows, num_classes, generator=generator), torch.randint(
        0, 2, (num_rows, num_classes), generator=generator
    ).float()


def test_several_labels_are_summed_over_the_classes_or_averaged():
    scores, targets = some()
    summed = criterion_of(TrainConfig(multi_label_loss="sigmoid"), multi_label=True)
    mean = criterion_of(TrainConfig(), multi_label=True)
    by_hand = -(targets * scores.sigmoid().log() + (1 - targets) * (1 - scores.sigmoid()).log())
    torch.testing.assert_close(summed(scores, targets), by_hand.sum(1).mean())
    torch.testing.assert_close(summed(scores, targets, reduction="none"), by_hand.sum(1))
    torch.testing.assert_close(mean(scores, targets) * 4, summed(scores, targets))


def test_labels_share_the_target_of_a_softmax():
    softmax = criterion_of(TrainConfig(multi_label_loss="softmax"), multi_label=True)
    scores, targets = torch.tensor([[1.0, 2, 3], [0, 0, 0]]), torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    logs = scores.log_softmax(1)
    expected = torch.stack([-(logs[0, 0] + logs[0, 2]) / 2, torch.tensor(0.0)])
    torch.testing.assert_close(softmax(scores, targets, reduction="none"), expected)


@pytest.mark.parametrize("kind", ["mean", "sigmoid", "softmax"])
def test_every_loss_of_several_labels_serves_every_frame_of_an_lstm(kind):
    criterion = criterion_of(TrainConfig(multi_label_loss=kind), multi_label=True)
    scores, targets = torch.randn(2, 1, 3), torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    torch.testing.assert_close(frame_loss(scores, targets, criterion=criterion), criterion(scores[:, 0], targets))


def test_label_smoothing_spreads_a_share_over_all_classes():
    scores, config = some()[0], TrainConfig(label_smoothing=0.2)
    targets = torch.tensor([0, 1, 2, 3, 0])
    spread = 0.8 * F.one_hot(targets, 4) + 0.2 / 4
    expected = -(spread * scores.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(criterion_of(config, multi_label=False)(scores, targets), expected)
    plain = criterion_of(config, multi_label=False, smoothed=False)
    torch.testing.assert_close(plain(scores, targets), F.cross_entropy(scores, targets))
    with pytest.raises(InputError, match="label_smoothing is 0.2; it is for one label a video"):
        criterion_of(config, multi_label=True)


def test_mixed_clips_have_targets_in_the_same_shares():
    torch.manual_seed(0)
    clips, targets = torch.eye(6).reshape(6, 1, 1, 1, 1, 6), torch.arange(6)
    mixed_clips, mixed_targets = mixed(clips, targets, alpha=0.4, num_classes=6)
    torch.testing.assert_close(mixed_clips.flatten(1), mixed_targets)
    torch.testing.assert_close(mixed_targets.sum(1), torch.ones(6))
    assert torch.equal(mixed_targets.argmax(1), targets) and (mixed_targets < 1).any()
    scores = some(6, 6)[0]
    share = mixed_targets.diagonal().min()
    other = torch.stack([mixed_targets[n].scatter(0, torch.tensor(n), 0).argmax() for n in range(6)])
    own, foreign = (F.cross_entropy(scores, labels, reduction="none") for labels in (targets, other))
    moved = mixed_targets.diagonal() < 1
    result = F.cross_entropy(scores, mixed_targets, reduction="none")
    torch.testing.assert_close(result[moved], (share * own + (1 - share) * foreign)[moved])
