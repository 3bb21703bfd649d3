"""Compute the optical flow of a video of your own, and write it as a video: hue is direction, saturation is speed.

python examples/flow_of_a_video.py my.mp4 flow.mp4 --fps 10 --short-side 256
"""

import argparse

import numpy as np

from tdn_data.pipeline.flow import flow_to_color, iter_flow
from tdn_data.pipeline.video import iter_frames, write_video


def main() -> None:
    """Decode, compute, draw, write; print how fast the picture moves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", help="any video that FFmpeg reads")
    parser.add_argument("out", help="the MP4 to write")
    parser.add_argument("--fps", type=float, default=10, help="frames a second that flow is computed between")
    parser.add_argument("--short-side", type=int, default=256, help="pixels")
    chosen = parser.parse_args()

    # one frame at a time, upright and with square pixels: a long video needs no more memory than a short one
    frames = iter_frames(chosen.video, fps=chosen.fps, size=chosen.short_side, pixel_format="gray")
    pictures, speeds = [], []
    for flow in iter_flow((frame.data for frame in frames), method="tvl1"):  # float32 (H, W, 2), pixels per step
        speeds.append(np.hypot(flow[..., 0], flow[..., 1]).mean())
        pictures.append(flow_to_color(flow, max_magnitude=10))
    write_video(chosen.out, np.stack(pictures), fps=chosen.fps)
    print(f"{len(pictures)} fields, on average {np.mean(speeds):.2f} pixels a step; written to {chosen.out}")


if __name__ == "__main__":
    main()
