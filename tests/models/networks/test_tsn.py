"""Temporal segment network: the consensus over snippets, and how snippets are stacked."""

from __future__ import annotations

import pytest
import torch

from tdn_data.models.networks.tsn import TSN, stack_snippets

SMALL = {"num_classes": 5, "backbone": "resnet18", "width": 8, "num_segments": 3}


def test_scores_are_the_mean_of_the_snippets_scores() -> None:
    model = TSN(**SMALL).eval()
    clip = torch.randn(2, 3, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one_by_one = torch.stack([model.backbone(clip[:, number, 0]) for number in range(3)])
        torch.testing.assert_close(model(clip), one_by_one.mean(0))


def test_order_of_snippets_does_not_matter() -> None:
    model = TSN(**SMALL).eval()
    clip = torch.randn(2, 3, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(clip), model(clip.flip(1)))


def test_flow_stack_has_ten_channels_frame_by_frame() -> None:
    model = TSN(**SMALL, modality="flow", snippet_length=5)
    assert model.in_channels == 10
    clip = torch.arange(20.0).reshape(1, 2, 5, 2, 1, 1)
    assert stack_snippets(clip, 10).flatten().tolist() == list(range(20))  # x1 y1 x2 y2 ... within each snippet


def test_rgb_diff_reads_the_changes_between_neighbouring_frames_alone() -> None:
    model = TSN(**SMALL, differences=True, snippet_length=3).eval()
    plain = TSN(**SMALL, snippet_length=2).eval()
    plain.load_state_dict(model.state_dict())  # two differences of three frames each
    clip = torch.randn(2, 3, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(clip), plain(clip[:, :, 1:] - clip[:, :, :-1]))
        torch.testing.assert_close(model(clip), model(clip + 1), rtol=1e-4, atol=1e-4)  # of whatever brightness
    with pytest.raises(ValueError, match=r"clip has shape \(2, 3, 2, 3, 32, 32\).*K \* C = 9"):
        model(clip[:, :, 1:])


def test_wrong_clip_is_described() -> None:
    model = TSN(**SMALL)
    with pytest.raises(ValueError, match=r"clip has shape \(1, 3, 5, 2, 8, 8\).*K \* C = 3"):
        model(torch.zeros(1, 3, 5, 2, 8, 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modality": "sound"}, "modality is 'sound'; known modalities: rgb, flow"),
        ({"snippet_length": 0}, "snippet_length is 0; it must be at least 1"),
        ({"differences": True}, "modality is 'rgb' and snippet_length 1; differences need 'rgb' and at least 2"),
        ({"differences": True, "modality": "flow", "snippet_length": 5}, "modality is 'flow' and snippet_length 5"),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TSN(**SMALL, **options)
