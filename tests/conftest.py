"""What all tests share: where the real data lie, and a small rendered data set."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the real data are not here (no folder shared/{name} beside the project)")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real clips, broken files, lists and flow truth."""
    return _folder("data")


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """The folder with the expected logits of public networks."""
    return _folder("reference")


def write_clip(
    path: Path, *, num_frames: int = 12, fps: int = 10, height: int = 48, width: int = 64, seed: int = 0
) -> None:
    """Encode a small clip of a moving random texture to `path`."""
    from pipeline.video import write_video

    texture = np.random.default_rng(seed).integers(0, 256, (height // 4, 2 * width // 4, 3), dtype=np.uint8)
    texture = texture.repeat(4, axis=0).repeat(4, axis=1)
    frames = np.stack([texture[:, number : number + width] for number in range(num_frames)])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, fps=fps)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder data set: ten clips of two classes, one listed file that is missing, one that is no video."""
    root = tmp_path_factory.mktemp("clips")
    rows = ["path,split,labels"]
    for number in range(10):
        name = f"videos/clip {number:02d}.mp4"
        write_clip(root / name, seed=number, num_frames=8 + number)
        rows.append(f"{name},{'test' if number % 3 == 0 else 'train'},{'left' if number % 2 else 'right'}")
    (root / "videos/garbage.mp4").write_bytes(b"no video at all" * 100)
    rows += ["videos/garbage.mp4,train,left", "videos/missing.mp4,test,right"]
    (root / "videos.csv").write_text("\n".join(rows) + "\n")
    (root / "classes.txt").write_text("left\nright\n")
    return root


@pytest.fixture
def clip_folder_copy(clip_folder: Path, tmp_path: Path) -> Path:
    """A copy of `clip_folder` that a test may change."""
    return Path(shutil.copytree(clip_folder, tmp_path / "clips"))
