"""What a reader of compressed packets tells of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class PacketFacts(NamedTuple):
    """One packet: see the field comments. The default is what is safe to assume of an inter-coded picture."""

    start: bool = False  # decoding can begin here: nothing from here on needs what comes before
    droppable: bool = False  # no other picture is predicted from it (within `layer`)
    shown: bool = True  # gives a picture on screen
    parameters: bool = False  # carries parameter sets that later packets need
    suspect: bool = False  # pictures and packets do not correspond one to one
    layer: int = 0  # H.265 temporal sub-layer
    bidirectional: bool = False  # a B picture: it is shown before one that is decoded earlier
    restart: bool = False  # after a reset the decoder itself holds back what it cannot show from here on
    broken: bool = False  # nothing that its codec knows
    order: int | None = None  # place on screen by the picture's own number; see `numbering`
    new_setup: bool = False  # the pictures from here on are set up otherwise than those before, by headers in packets
    after_loss: bool = False  # by those numbers, a picture that it may need is missing before it
    names_references: bool = False  # it says which pictures it needs, so that `after_loss` is known


PacketReader = Callable[[memoryview], PacketFacts]

PREDICTED = PacketFacts()
BROKEN = PacketFacts(broken=True)
KEY = PacketFacts(start=True)
