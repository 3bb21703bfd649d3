"""What a container itself knows of packets that are missing or not whole, whatever their codec says.

An AVI file has an index, ASF numbers its media objects and Ogg its pages, and a Matroska cluster holds nothing but
elements of its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from av.container import InputContainer
from av.video.stream import VideoStream

from tdn_data.pipeline.video.asf import object_losses
from tdn_data.pipeline.video.avi import lost_by_index
from tdn_data.pipeline.video.container import format_names
from tdn_data.pipeline.video.matroska import torn_blocks


class Losses(NamedTuple):
    """Packets by their numbers in file order."""

    lost: dict[int, int]  # packet -> how many are missing right behind it
    spoiled: frozenset[int] = frozenset()  # packets that are not whole
    lacks_beginning: bool = False  # the first are missing
    cut_off: bool | None = None  # whether the last are missing; None: not known


def find_losses(
    path: str | os.PathLike,
    container: InputContainer,
    stream: VideoStream,
    dts: Sequence[int | None],
    begins: Sequence[int],
) -> Losses:
    """What the container tells of the packets with these decoding times and first bytes; of most, nothing."""
    names = format_names(container)
    if "avi" in names:
        return Losses(lost_by_index(path, container, stream, dts))
    if "asf" in names:
        return Losses(*object_losses(path, stream.id, dts))
    if "matroska" in names:
        torn = set(torn_blocks(path))
        return Losses({}, frozenset(number for number, begin in enumerate(begins) if begin in torn))
    return Losses({})
