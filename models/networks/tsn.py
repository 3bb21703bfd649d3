"""Temporal Segment Network: Wang et al., ECCV 2016; the baseline of Ng & Davis (section 4.3).

One snippet from each of S segments goes through one backbone, and the scores before softmax are averaged. With
`differences` the backbone reads what changes between the K frames of a snippet in their place: RGB-Diff (section 3.2;
Zhao et al., CVPR 2018, table 7). The authors' code stacks five differences, which K = 6 frames have.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from tdn_data.models.backbones import build_backbone
from tdn_data.models.backbones.base import Backbone
from tdn_data.models.networks.base import NUM_CHANNELS, VideoNetwork, stack_snippets


class TSN(VideoNetwork):
    """Clip (N, S, K, C, H, W) to scores (N, num_classes); the K frames of a snippet are stacked as channels.

    Any number of segments is taken. With `differences`, for frames alone, the K - 1 differences of neighbours are
    stacked in their place. `backbone_options` go to the backbone, e.g. `dropout=0.8` or `width=16`.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: str = "resnet50",
        num_segments: int = 8,
        modality: str = "rgb",
        snippet_length: int = 1,
        differences: bool = False,
        **backbone_options: object,
    ) -> None:
        super().__init__(num_segments=num_segments, modality=modality, snippet_length=snippet_length)
        if differences and (modality != "rgb" or snippet_length < 2):
            raise ValueError(
                f"modality is {modality!r} and snippet_length {snippet_length!r}; differences need 'rgb' and at least 2"
            )
        self.differences = differences
        channels = self.in_channels - NUM_CHANNELS[modality] * differences
        self.backbone = build_backbone(backbone, num_classes=num_classes, in_channels=channels, **backbone_options)

    def forward_streams(self, clip: Tensor) -> dict[str, Tensor]:
        """Return the scores by stream; a TSN has one, `image`."""
        snippets = stack_snippets(clip, self.in_channels)
        if self.differences:
            one = NUM_CHANNELS[self.modality]
            snippets = snippets[:, :, one:] - snippets[:, :, :-one]
        scores = self.backbone(snippets.flatten(0, 1))  # (N * S, num_classes)
        return {"image": scores.unflatten(0, snippets.shape[:2]).mean(1)}

    def place_heads(self) -> dict[str, tuple[Backbone, Callable[[Tensor], Tensor]]]:
        """Return the one stream's backbone and head."""
        return {"image": (self.backbone, self.backbone.head)}
