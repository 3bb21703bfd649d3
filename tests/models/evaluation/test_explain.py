"""Maps of what a score stands on: truths that hold for any weights, and pictures of finished shards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tdn_data.models import build_model
from tdn_data.models.clips.pixels import normalize_batch
from tdn_data.models.evaluation.evaluate import evaluate
from tdn_data.models.evaluation.explain.explainer import below_each_other, explain, loss_words
from tdn_data.models.evaluation.explain.learned_flow import change_rows, flow_rows, predicted_flow
from tdn_data.models.evaluation.explain.maps import activation_maps, gradient_maps, occlusion_map
from tdn_data.models.evaluation.explain.picture import heat_row
from tdn_data.models.evaluation.explain.seen import SeenClip
from tdn_data.models.evaluation.predict import ONE_VIEW
from tdn_data.models.networks.base import VideoNetwork
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.shards.reader import ShardReader, StoredVideo

NARROW = {"backbone": "resnet18", "width": 8}
AVERAGING = {  # networks whose scores are means over places, with the frames of a snippet
    "tsn": (1, ("image",)),
    "tdn": (1, ("image", "difference")),
    "tdn_wang": (5, ("image",)),
    "actionflownet_2f": (2, ("image",)),
}


def build(name: str, **options: object) -> VideoNetwork:
    torch.manual_seed(0)
    return build_model(name, num_classes=3, **NARROW | {"num_segments": 3} | options).eval()


def clip(length: int) -> torch.Tensor:
    return torch.randn((1, 3, length, 3, 64, 64), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", AVERAGING)
def test_the_mean_of_the_activation_maps_is_the_streams_score_and_their_positive_part_is_gradcam(name: str) -> None:
    length, streams = AVERAGING[name]
    network, seen = build(name), clip(length)
    maps, scores = activation_maps(network, seen, 1), network.forward_streams(seen)
    assert tuple(maps) == streams and maps["image"].shape == (3, 2, 2)
    for stream, own in maps.items():
        assert own.mean() == pytest.approx(scores[stream][0, 1].item(), rel=1e-3)
    # the gradient of a mean over places is the classifier's weight by their number: Grad-CAM is CAM without the bias
    bias = (network.classifier if hasattr(network, "classifier") else network.place_heads()["image"][0].fc).bias[1]
    found = next(iter(gradient_maps(network, seen, 1).values()))
    expected = np.maximum(maps["image"] - bias.item(), 0) / maps["image"].size / len(streams)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    assert "layers" not in vars(network.backbones()[0])  # what was wrapped to record maps is as it was


def test_a_stages_map_is_what_the_next_one_reads_with_what_was_fused_into_it() -> None:
    network, seen = build("tdn_wang"), clip(5)
    before = gradient_maps(network, seen, 1, layer="res2")["backbone"]
    fusion = network.fusion["res2"] if "res2" in network.fusion else network.fusion["conv1"]
    fusion.register_forward_hook(lambda *state: 2 * state[-1])
    assert not np.allclose(gradient_maps(network, seen, 1, layer="res2")["backbone"], before)


@pytest.mark.parametrize(("name", "options"), [("conv_pooling", {"hidden": 16}), ("lstm", {"num_cells": 8})])
def test_a_network_without_activation_maps_says_so_and_has_gradcam(name: str, options: dict) -> None:
    network = build(name, **options)
    with pytest.raises(InputError, match="has no class activation maps: .*; use --method gradcam"):
        activation_maps(network, clip(1), 0)
    assert gradient_maps(network, clip(1), 0, layer="res3")["backbone"].shape == (3, 8, 8)
    with pytest.raises(InputError, match=r"'res9'; the layers are conv1, res2, res3, res4, res5\."):
        gradient_maps(network, clip(1), 0, layer="res9")
    with pytest.raises(InputError, match="gives no flow; these networks do: actionflownet, "):
        predicted_flow(network, clip(1))


class Corner(VideoNetwork):
    """Takes a clip for class 1 as far as its upper left quarter is bright."""

    def __init__(self) -> None:
        super().__init__(num_segments=2, modality="rgb", snippet_length=1)
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward_streams(self, clip: torch.Tensor) -> dict[str, torch.Tensor]:
        bright = self.weight * clip[..., :16, :16].mean((1, 2, 3, 4, 5))
        return {"image": torch.stack([-bright, bright], 1)}


def test_occlusion_finds_the_only_place_that_counts() -> None:
    levels = np.full((2, 1, 32, 32, 3), 250, np.uint8)
    lost = occlusion_map(Corner(), levels, 1, multi_label=False)
    shown = normalize_batch(torch.tensor([250, 0], dtype=torch.uint8)[:, None, None, None].expand(2, 1, 1, 3))
    bright, black = shown.mean((1, 2, 3)).tolist()
    before, after = (torch.tensor(2 * x).sigmoid().item() for x in (bright, bright + (black - bright) / 4))
    np.testing.assert_allclose(lost[:4, :4], 1 - after / before, rtol=1e-4)  # the square covers a quarter of the corner
    assert lost[:16, :16].min() > 0 and not lost[20:].any() and not lost[:, 20:].any()


def test_a_map_that_hardly_differs_does_not_look_strong() -> None:
    frames, maps = np.zeros((1, 1, 32, 32, 3), np.uint8), np.linspace(0, 0.01, 4, dtype=np.float32).reshape(1, 2, 2)
    heat = {
        least: heat_row("", maps, frames, all_frames=False, least_range=least).cells[0].image for least in (1e-12, 0.1)
    }
    assert np.ptp(heat[1e-12].astype(int), axis=(0, 1)).max() > 100 > np.ptp(heat[0.1].astype(int), axis=(0, 1)).max()
    assert loss_words(-0.004, 0.002) == "less than 0.5% everywhere, so that no single place matters"
    assert loss_words(-0.004, 0.0449) == "0% to 4%; red would be 10%" and loss_words(-0.3, 0.5) == "-30% to 50%"


def test_predicted_flow_stands_beside_the_stored_flow_in_pixels_of_the_clip(make_shards) -> None:
    fields = np.full((3, 32, 48, 2), 128, np.uint8)
    fields[..., 0] += 13  # of 127.5 levels to a bound of 20 pixels: 2.04 to the right
    reader = make_shards([("v", "test", (0,), fields)], class_names=("a",))
    video, rows = StoredVideo("v", "test", (0,), 4), np.array([[0, 1], [2, 3], [3, 3]])
    seen = SeenClip(video, np.zeros((3, 2, 64, 64, 3), np.uint8), rows, rows / 10, (64, 96))
    stored = seen.stored_flow(reader)
    assert stored.shape == (3, 2, 64, 64, 2)
    assert np.allclose(stored[0, 0], (2 * 13 * 40 / 255, 0), atol=1e-4)  # frames twice as large: twice the pixels
    assert np.isfinite(stored[..., 0, 0, 0]).tolist() == [[True, True], [True, False], [False, False]]
    predicted, own = flow_rows(build("actionflownet_2f"), clip(2), seen, reader)[0]
    assert [cell.column for cell in predicted.cells] == [0, 2, 4] and "px" in own.caption
    assert [cell.word for cell in own.cells] == ["", "", "none stored"]


def test_differences_of_maps_stand_below_flow_warped_and_not() -> None:
    torch.manual_seed(0)
    network = build_model("disentangled", num_classes=3, num_segments=2, snippet_length=3).eval()
    still = torch.randn((1, 2, 1, 3, 32, 32), generator=torch.Generator().manual_seed(1)).repeat(1, 1, 3, 1, 1, 1)
    moving = still.clone()
    moving[:, :, 1] = still[:, :, 1].roll(4, -1)
    maps = network.change_maps(moving)
    low = network.low_level(moving)
    torch.testing.assert_close(maps["not warped"][0], (low[:, 1:] - low[:, :-1]).abs().mean(2))
    torch.testing.assert_close(
        maps["warped by the displacement"][0], network.changes(low, network.displacements(low)).abs().mean(2)
    )
    assert not network.change_maps(still)["not warped"].any()
    rows = change_rows(network, moving)
    assert ["not warped" in row.caption for row in rows] == [True, False]
    assert all([cell.column for cell in row.cells] == [0, 1, 3, 4] for row in rows)
    assert change_rows(build("actionflownet_2f"), clip(2)) == []


def test_a_video_is_explained_as_it_is_tested(coloured: ShardReader, checkpoint: Path) -> None:
    scores = evaluate(coloured, checkpoint, config=ONE_VIEW)
    tested = torch.from_numpy(scores.scores[scores.video_ids.index("v09")]).softmax(-1)
    found = explain(coloured, checkpoint, "v09", class_name="green")
    assert found.truth == ("green",) and found.probability == pytest.approx(tested[1].item(), rel=1e-4)
    heights = [explain(coloured, checkpoint, "v09", method=method).picture.shape for method in ("gradcam", "occlusion")]
    assert heights[0] > heights[1]  # two subnetworks, one network
    for words, options in [
        ("no video 'v99' is stored in the shards; these are: v00, v01, v02 and 9 more", {"video_id": "v99"}),
        ("no class is called 'blue'; the classes are red, green", {"video_id": "v09", "class_name": "blue"}),
    ]:
        with pytest.raises(InputError, match=words):
            explain(coloured, checkpoint, **options)


def test_two_networks_stand_below_each_other_and_the_frames_once_where_both_see_the_same(coloured, checkpoint) -> None:
    options = {"class_name": "red"}
    one, other = (explain(coloured, checkpoint, "v09", method=method, **options) for method in ("cam", "gradcam"))
    together = below_each_other({"one": one, "two": other})
    assert [row.caption.split(":")[0] for row in together.rows[:1]] == ["one, v09   class red"]
    assert len(together.rows) == len(one.rows) + len(other.rows) - 1
    assert together.rows[3].caption.startswith("two, v09   class red: ") and "Grad-CAM" in together.rows[3].caption
    shifted = replace(other.rows[0], cells=[replace(cell, column=cell.column + 1) for cell in other.rows[0].cells])
    other = replace(other, rows=(shifted, *other.rows[1:]))
    assert len(below_each_other({"one": one, "two": other}).rows) == len(one.rows) + len(other.rows)
