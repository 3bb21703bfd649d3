"""How a clip is cut out of a video; the networks and the data agree on it here."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tdn_data.models.networks.tsn import NUM_CHANNELS


@dataclass(frozen=True)
class ClipShape:
    """How a clip is cut out of a video: segments S, consecutive frames K, and the side of the square in pixels."""

    num_segments: int
    snippet_length: int
    size: int

    @classmethod
    def of(cls, model: nn.Module, modality: str, size: int) -> ClipShape:
        """Return the clips that a network was built for; its K is `snippet_length`, or that of its stacked channels."""
        length = getattr(model, "snippet_length", None) or model.in_channels // NUM_CHANNELS[modality]
        return cls(model.num_segments, length, size)
