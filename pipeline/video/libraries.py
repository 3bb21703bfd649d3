"""The versions of FFmpeg's libraries that decode and convert pictures here."""

from __future__ import annotations

import av

DECIDING = ("libavcodec", "libavfilter", "libavformat", "libswscale")  # the others handle sound and devices


def ffmpeg_versions() -> dict[str, str]:
    """Return library -> version: PyAV may have been built against the system's FFmpeg in place of its own."""
    return {name: ".".join(map(str, av.library_versions[name])) for name in DECIDING if name in av.library_versions}
