"""Temporal Segment Network: Wang et al., ECCV 2016; the baseline of Ng & Davis (section 4.3).

One snippet from each of S segments goes through one backbone, and the scores before softmax are averaged.
"""

from __future__ import annotations

from torch import Tensor, nn

from tdn_data.models.backbones import build_backbone

NUM_CHANNELS = {"rgb": 3, "flow": 2}


class TSN(nn.Module):
    """Clip (N, S, K, C, H, W) to scores (N, num_classes); the K frames of a snippet are stacked as channels.

    `backbone_options` go to the backbone, e.g. `dropout=0.8` or `width=16`.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: str = "resnet50",
        num_segments: int = 8,
        modality: str = "rgb",
        snippet_length: int = 1,
        **backbone_options: object,
    ) -> None:
        super().__init__()
        self.in_channels = count_channels(modality, snippet_length)
        self.num_segments = num_segments
        self.backbone = build_backbone(
            backbone, num_classes=num_classes, in_channels=self.in_channels, **backbone_options
        )

    def forward(self, clip: Tensor) -> Tensor:
        """Return video scores before softmax, (N, num_classes); any number of segments is taken."""
        return self.forward_streams(clip)["image"]

    def forward_streams(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the scores by stream; a TSN has one, `image`."""
        snippets = stack_snippets(clip, self.in_channels)
        scores = self.backbone(snippets.flatten(0, 1))  # (N * S, num_classes)
        return {"image": scores.unflatten(0, snippets.shape[:2]).mean(1)}


def count_channels(modality: str, snippet_length: int) -> int:
    """Return the channels of a stacked snippet; raise ValueError for an unknown modality or an empty snippet."""
    if modality not in NUM_CHANNELS:
        raise ValueError(f"modality is {modality!r}; known modalities: {', '.join(NUM_CHANNELS)}")
    if snippet_length < 1:
        raise ValueError(f"snippet_length is {snippet_length!r}; it must be at least 1")
    return NUM_CHANNELS[modality] * snippet_length


def stack_snippets(clip: Tensor, in_channels: int) -> Tensor:
    """Return the clip (N, S, K, C, H, W) as snippets (N, S, K * C, H, W); raise ValueError when K * C is not right."""
    if clip.ndim != 6 or clip.shape[2] * clip.shape[3] != in_channels:
        raise ValueError(
            f"clip has shape {tuple(clip.shape)}; expected (N, S, K, C, H, W) with K * C = {in_channels} channels"
        )
    return clip.flatten(2, 3)
