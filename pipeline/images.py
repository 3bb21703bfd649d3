"""Frames and flow planes as bytes: JPEG, PNG or raw.

JPEG and PNG go through OpenCV's bundled libraries, whose encoders are meant to give the same bytes on every processor.
A raw image is its pixels in C order and needs its shape to be read back.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from tdn_data.pipeline.errors import InputError, ShardError
from tdn_data.pipeline.files import check_output_file, read_bytes, shown_path, write_bytes
from tdn_data.pipeline.limits import DEFAULT_JPEG_QUALITY

CODECS = ("jpeg", "png", "raw")
_PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"


def encode_image(image: np.ndarray, *, codec: str, quality: int = DEFAULT_JPEG_QUALITY) -> bytes:
    """Return `image`, uint8 (H, W, 3) RGB or (H, W) grey, as bytes; `quality` 1 to 100 counts for JPEG only."""
    if codec not in CODECS:
        raise ValueError(f"codec is {codec!r}; known codecs: {', '.join(CODECS)}")
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(f"image is {image.dtype} {image.shape}; expected uint8 (H, W) or (H, W, 3)")
    if codec == "raw":
        return np.ascontiguousarray(image).tobytes()
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if codec == "jpeg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    _, encoded = cv2.imencode(".jpg" if codec == "jpeg" else ".png", pixels, options)
    return encoded.tobytes()


def decode_image(data: bytes, *, codec: str, height: int, width: int, channels: int) -> np.ndarray:
    """Return the uint8 image (H, W, 3) RGB for 3 channels, (H, W) for 1; raise ShardError when it does not decode."""
    if codec == "raw":
        if len(data) != height * width * channels:
            raise ShardError(f"a raw image has {len(data)} bytes; expected {height} x {width} x {channels}.")
        return np.frombuffer(data, np.uint8).reshape((height, width, channels) if channels == 3 else (height, width))
    image = _imdecode(data, channels)
    if image is None or image.shape[:2] != (height, width):
        found = "nothing" if image is None else f"{image.shape[0]} x {image.shape[1]}"
        raise ShardError(f"an image of {len(data)} bytes decodes to {found}; expected {height} x {width}.")
    return image


def encoded_size(data: bytes, *, codec: str) -> tuple[int, int, int] | None:
    """Return (height, width, channels) as the head of a JPEG or PNG announces them; None where it is neither."""
    if codec == "png":
        channels = {0: 1, 2: 3}.get(data[25]) if len(data) > 33 and data.startswith(_PNG_HEAD) else None
        return channels and (int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big"), channels)
    position = 2 if data.startswith(b"\xff\xd8") else len(data)
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if 0xC0 <= marker <= 0xC2:  # start of a frame: baseline, extended or progressive
            height, width = data[position + 5 : position + 7], data[position + 7 : position + 9]
            return int.from_bytes(height, "big"), int.from_bytes(width, "big"), data[position + 9]
        position += 2 + length
    return None


def _imdecode(data: bytes, channels: int) -> np.ndarray | None:
    """Return an image as uint8 (H, W, 3) RGB for 3 channels, (H, W) for 1; None where it does not decode."""
    flag = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE  # the JPEG library itself writes RGB
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
        return None


def read_image_file(path: str | os.PathLike[str], *, channels: int = 3) -> np.ndarray:
    """Read an image file as uint8 (H, W, 3) RGB, or (H, W) grey for 1 channel, turned as its orientation tag says.

    Raises InputError for a file that is missing, is no regular file or does not decode.
    """
    data = read_bytes(path, what="image")
    image = _imdecode(data, channels) if data else None
    if image is None:
        raise InputError(f"{shown_path(path)} is no image that can be decoded.", path=path)
    return image


def write_png(path: Path, image: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB or (H, W) grey as a PNG file, whole or not at all."""
    write_bytes(check_output_file(path), encode_image(image, codec="png"))
