"""TV-L1 optical flow (Zach, Pock, Bischof 2007) in the parametrisation of OpenCV."""

from __future__ import annotations

from pipeline.flow.opencv import OpenCVSolver, build_opencv


def build_tvl1(*, device: str, **options: object) -> OpenCVSolver:
    """Return the TV-L1 solver: OpenCV's own class computes it."""
    return build_opencv("opencv-tvl1", device="auto", options=options)
