"""Which solver a method's name stands for, on which device, with which options."""

from __future__ import annotations

from tdn_data.pipeline.flow.solver import FlowSolver

METHODS = ("tvl1", "opencv-tvl1", "opencv-cuda-tvl1", "farneback", "dis")
DEVICES = ("auto", "cpu", "cuda")


def build_solver(method: str, *, device: str, options: dict[str, object]) -> FlowSolver:
    """Return the solver of `method` for `device`.

    Raises ValueError for an unknown method or device, TypeError for an option the method does not take, and
    InputError where the device or library it needs is not there.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; known methods: {', '.join(METHODS)}")
    if device not in DEVICES:
        raise ValueError(f"device is {device!r}; known devices: {', '.join(DEVICES)}")
    if method == "tvl1":
        from tdn_data.pipeline.flow.tvl1 import build_tvl1

        return build_tvl1(device=device, **options)
    from tdn_data.pipeline.flow.opencv import build_opencv

    return build_opencv(method, device=device, options=options)
