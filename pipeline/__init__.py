"""The data plane: videos in, verified shards of frames and optical flow out."""

__version__ = "0.1.0"
