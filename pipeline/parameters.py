"""The parameters of an extraction, checked when they are loaded. Defaults live here and nowhere else."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from tdn_data.pipeline.limits import DEFAULT_JPEG_QUALITY, DEFAULT_MAX_PIXELS, MAX_RATE, MAX_SEED

METHODS = ("tvl1", "opencv-tvl1", "opencv-cuda-tvl1", "farneback", "dis")  # those of `pipeline.flow`


class Strict(BaseModel):
    """A section of parameters: unknown keys are refused, values do not change once loaded.

    Fields that came later are left out of what is written and hashed as long as they have their defaults: what was made
    before keeps its digest and bytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _only_what_is_used(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        unused = {name for name in self.later if getattr(self, name, None) == type(self).model_fields[name].default}
        return {name: value for name, value in serialize(self).items() if name not in unused}


class FrameParameters(Strict):
    """Which frames are stored, and how. Neither `every_seconds` nor `fps`: every frame. No size: the video's own.

    `short_side` is the length of the shorter side, in pixels, with the aspect ratio kept. Frames from `max_seconds` on
    are left out."""

    later: ClassVar[tuple[str, ...]] = ("short_side",)

    every_seconds: float | None = Field(None, gt=0, le=1e6)
    fps: float | None = Field(None, gt=0, le=MAX_RATE)
    height: int | None = Field(None, ge=16, le=4096)
    width: int | None = Field(None, ge=16, le=4096)
    short_side: int | None = Field(None, ge=16, le=4096)
    max_seconds: float | None = Field(None, gt=0, le=1e7)
    codec: Literal["jpeg", "png", "raw"] = "jpeg"
    quality: int = Field(DEFAULT_JPEG_QUALITY, ge=1, le=100)

    @model_validator(mode="after")
    def _consistent(self) -> FrameParameters:
        if self.every_seconds is not None and self.fps is not None:
            raise ValueError("every_seconds and fps exclude each other; give one of them")
        if (self.height is None) != (self.width is None):
            raise ValueError("height and width go together; set both or neither")
        if self.height is not None and self.short_side is not None:
            raise ValueError("short_side excludes height and width; set it or them to null")
        return self

    @property
    def size(self) -> tuple[int, int] | int | None:
        """(height, width), the shorter side alone, or None for the video's own."""
        return self.short_side if self.height is None or self.width is None else (self.height, self.width)


class FlowParameters(FrameParameters):
    """Optical flow between neighbours of the frames taken at `fps` (native rate for None), discretised to [0, 255].

    `method` is one of METHODS, or the file of a network that estimates flow: a checkpoint, or onnx:FILE. The SHA-256 of
    that file is a part of what is stored, filled in where it is None. `preset`, of `tvl1` alone, is `opencv`: its CPU
    class to the last bit; `fast`: nearly that in less time; or `opencv-cuda`: as its CUDA class computes. `pairs` is
    `sampled`: each frame taken and the next one taken; or `native`: each frame taken and the video's own next one.
    """

    later: ClassVar[tuple[str, ...]] = (*FrameParameters.later, "preset", "pairs", "network_sha256")

    method: str = Field("tvl1", min_length=1, pattern=r"^[^\x00-\x1f]+$")
    preset: Literal["opencv", "fast", "opencv-cuda"] = "opencv"
    pairs: Literal["sampled", "native"] = "sampled"
    bound: float = Field(20.0, gt=0, le=1000)
    network_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _known_method(self) -> FlowParameters:
        if self.method in METHODS:
            if self.network_sha256 is not None:
                raise ValueError(f"network_sha256 belongs to a network's file; method {self.method} has none")
        elif not set("/.:") & set(self.method):
            raise ValueError(f"method is {self.method!r}; it must be one of {', '.join(METHODS)}, or a network's file")
        return self

    @model_validator(mode="after")
    def _fitting(self) -> FlowParameters:
        if self.preset != "opencv" and self.method != "tvl1":
            raise ValueError(f"preset {self.preset} is one of method tvl1, and method is {self.method}; leave it out")
        if self.pairs == "native" and self.fps is None and self.every_seconds is None:
            raise ValueError("pairs: native needs a rate, fps; at the native rate all frames are neighbours already")
        return self

    @property
    def solver_options(self) -> dict[str, object]:
        """What the method takes by name."""
        return {"preset": self.preset} if self.method == "tvl1" else {}


class FlowNetwork(Strict):
    """The network of a flow method's file, handed in by name: `make`, `module:function`, builds its solver.

    `method` is the method with the whole path of its `file`, whose content has the SHA-256 `sha256`.
    """

    make: str
    method: str
    file: str
    sha256: str
    on_gpu: bool = False  # whether a GPU serves it


class DemoParameters(Strict):
    """How the built-in data set is rendered: clips of each class by split. Same seed, same bytes.

    `noise` is the standard deviation of the sensor noise, in grey levels: above 4 makes the set harder. Clips are
    `size` pixels square; the object is as large, and as fast, as in one of `object_size`, by default of the same size.
    """

    later: ClassVar[tuple[str, ...]] = ("size", "object_size")

    seed: int = Field(0, ge=0, le=MAX_SEED)
    train_per_class: int = Field(60, ge=1, le=100_000)
    val_per_class: int = Field(25, ge=1, le=100_000)
    test_per_class: int = Field(15, ge=1, le=100_000)
    noise: float = Field(4.0, ge=0, le=255)
    size: int = Field(96, ge=16, le=1024)
    object_size: int | None = Field(None, ge=16, le=1024)

    @model_validator(mode="after")
    def _object_fits(self) -> DemoParameters:
        if self.object_size is not None and self.object_size > self.size:
            raise ValueError(f"object_size is {self.object_size}, more than size, which is {self.size}")
        return self


class Limits(Strict):
    """What one video may cost before it is given up and entered in the ledger."""

    seconds_per_video: float = Field(600.0, gt=0, le=1e7)
    memory_bytes: int = Field(6 << 30, ge=256 << 20, le=1 << 50)
    max_pixels: int = Field(DEFAULT_MAX_PIXELS, ge=256, le=1 << 40)


class ShardParameters(Strict):
    """What frames and flow have in common: the kind of shards, and what a video may cost."""

    format: Literal["parquet", "lmdb"] = "parquet"
    videos_per_shard: int = Field(64, ge=1, le=100_000)
    limits: Limits = Limits()


class ExtractParameters(ShardParameters):
    """Everything that decides the bytes of an extraction."""

    frames: FrameParameters | None = None
    flow: FlowParameters | None = None
    network: FlowNetwork | None = Field(None, exclude=True)  # where the method of flow is one's file

    @model_validator(mode="after")
    def _something(self) -> ExtractParameters:
        if self.frames is None and self.flow is None:
            raise ValueError("neither frames nor flow is asked for")
        needed = None if self.flow is None or self.flow.method in METHODS else self.flow.network_sha256 or "unknown"
        if needed not in (None, self.network and self.network.sha256):
            raise ValueError(f"method is {self.flow.method!r}, and the network of that file is not handed in")
        return self

    @property
    def modalities(self) -> tuple[str, ...]:
        """The kinds of shards that are written: `rgb`, `flow` or both."""
        return tuple(name for name, section in (("rgb", self.frames), ("flow", self.flow)) if section is not None)

    def section(self, modality: str) -> FrameParameters | FlowParameters:
        """Return how one modality is stored; raise ValueError for one that is not."""
        if modality not in self.modalities:
            raise ValueError(f"modality is {modality!r}; these are stored: {', '.join(self.modalities)}")
        return self.frames if modality == "rgb" else self.flow
