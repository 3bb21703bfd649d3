"""What a VLAD descriptor is made of, checked when it is built. The defaults are the chapter's and live here alone."""

from __future__ import annotations

from pydantic import Field, field_validator

from tdn_data.pipeline.limits import MAX_SEED
from tdn_data.pipeline.parameters import Strict

BATCH_SIZE = 8  # images in the network at once


class VladOptions(Strict):
    """Layer, scales, vocabulary and projection of a descriptor: J. Y.-H. Ng, dissertation (2018), chapter 2."""

    layer: str  # of the backbone, e.g. "inception3a" (best on Holidays) or "conv5_1"
    scales: tuple[int, ...] = (1, 2)  # multiples of `input_size`
    num_words: int = Field(100, ge=1, le=100_000)  # k, section 2.3.3
    num_dimensions: int | None = Field(128, ge=1, le=100_000)  # after the PCA; None keeps the whole VLAD
    input_size: int = Field(224, ge=16, le=4096)  # n, pixels
    max_features: int = Field(200_000, ge=1)  # local features for the vocabulary, drawn evenly over the images
    max_projection_images: int = Field(2048, ge=2)  # images that the PCA is learned from, spread evenly
    seed: int = Field(0, ge=0, le=MAX_SEED)

    @field_validator("scales")
    @classmethod
    def _each_once(cls, scales: tuple[int, ...]) -> tuple[int, ...]:
        if not scales or min(scales) < 1 or len(set(scales)) < len(scales):
            raise ValueError(f"scales is {scales}; expected whole numbers from 1 on, at least one, none twice")
        return scales
