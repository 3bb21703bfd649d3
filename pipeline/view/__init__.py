"""Looking into shards: what lies there, in numbers and in pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tdn_data.pipeline.view.notebook import show

__all__ = ["show"]


def __getattr__(name: str) -> object:
    """Import `show` when it is asked for: importing this package does nothing."""
    if name == "show":
        from tdn_data.pipeline.view.notebook import show

        return show
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
