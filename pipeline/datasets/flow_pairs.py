"""Image pairs whose optical flow is known: Flying Chairs (Dosovitskiy et al. 2015) and MPI Sintel (Butler et al. 2012).

Dissertation, section 4.4: flow networks train on Flying Chairs (22,872 pairs) and their end point error is measured on
Sintel's training scenes, the only ones whose truth was published.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tdn_data.pipeline.datasets.base import DatasetSpec, first_existing, numbered_rows, require_folder
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.flow.flo_files import read_flo
from tdn_data.pipeline.images import read_image_file

CHAIRS_SPLITS = {"1": "train", "2": "val"}
CHAIRS_LIST = ("FlyingChairs_train_val.txt", "FlyingChairs_release/FlyingChairs_train_val.txt")
CHAIRS_FOLDERS = ("FlyingChairs_release/data", "data")
SINTEL_PASSES = ("clean", "final")


@dataclass(frozen=True, slots=True)
class FlowPair:
    """Two images and the file with the flow from the first to the second; paths are relative to the root."""

    pair_id: str
    split: str
    first: str
    second: str
    flow: str


@dataclass(frozen=True)
class FlowPairs:
    """A data set of image pairs with known flow, in the order of its list or of its file names."""

    dataset: str
    root: Path
    pairs: tuple[FlowPair, ...]

    def missing(self) -> tuple[str, ...]:
        """Return the files that the pairs need and that are not on disk, relative to the root."""
        files = (path for pair in self.pairs for path in (pair.first, pair.second, pair.flow))
        return tuple(path for path in dict.fromkeys(files) if not (self.root / path).is_file())

    def load(self, pair: FlowPair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return both images, uint8 (H, W, 3) RGB, and the flow, float32 (H, W, 2) in pixels, x then y.

        Unknown pixels stand as they do in the file, above 1e9. Raises InputError for a file that is missing, broken or
        of another size than the others.
        """
        first, second = read_image_file(self.root / pair.first), read_image_file(self.root / pair.second)
        flow = read_flo(self.root / pair.flow)
        if not first.shape[:2] == second.shape[:2] == flow.shape[:2]:
            sizes = ", ".join(f"{height} x {width}" for height, width, _ in (first.shape, second.shape, flow.shape))
            raise InputError(f"{self.root / pair.flow}: pair and flow differ in size ({sizes}).", path=pair.flow)
        return first, second, flow


def read_flying_chairs(root: Path) -> FlowPairs:
    """Read `FlyingChairs_train_val.txt` under `root`: row k is 1 where pair k is for training, 2 for validation."""
    require_folder(root)
    source = first_existing(root, CHAIRS_LIST)
    folder = first_existing(root, CHAIRS_FOLDERS).relative_to(root).as_posix()
    pairs = []
    for number, (line, mark) in enumerate(numbered_rows(source), start=1):
        if mark not in CHAIRS_SPLITS:
            raise InputError(
                f"{source}, line {line}: expected 1 (train) or 2 (validation), found {mark!r}.", path=source
            )
        stem = f"{folder}/{number:05d}"
        names = (f"{stem}_img1.ppm", f"{stem}_img2.ppm", f"{stem}_flow.flo")
        pairs.append(FlowPair(f"{number:05d}", CHAIRS_SPLITS[mark], *names))
    return FlowPairs("flying-chairs", root, tuple(pairs))


def read_sintel(root: Path, *, render_pass: str = "clean") -> FlowPairs:
    """Read the training scenes of the `clean` or `final` pass under `root`: a pair for each flow, and each two images.

    So where one of the files is missing, the pair is there all the same, and says so when it is loaded. Raises
    ValueError for another pass, InputError where there is no flow.
    """
    if render_pass not in SINTEL_PASSES:
        raise ValueError(f"render_pass is {render_pass!r}; known passes: {', '.join(SINTEL_PASSES)}")
    require_folder(root)
    flows = _numbered(first_existing(root, ("training/flow",)), ".flo")
    if not flows:
        raise InputError(f"{root / 'training/flow'} holds no <scene>/frame_0001.flo.", path=root)
    images = _numbered(root / "training" / render_pass, ".png")
    starts = flows | {(scene, number) for scene, number in images if (scene, number + 1) in images}
    pairs = tuple(_sintel_pair(scene, number, render_pass) for scene, number in sorted(starts))
    return FlowPairs(f"sintel-{render_pass}", root, pairs)


def _numbered(folder: Path, extension: str) -> set[tuple[str, int]]:
    """Return scene and number of each <scene>/frame_0001 of a folder."""
    found = folder.glob(f"*/frame_[0-9][0-9][0-9][0-9]{extension}")
    return {(path.parent.name, int(path.stem.removeprefix("frame_"))) for path in found}


def _sintel_pair(scene: str, number: int, render_pass: str) -> FlowPair:
    first, second = (f"training/{render_pass}/{scene}/frame_{number + step:04d}.png" for step in (0, 1))
    flow = f"training/flow/{scene}/frame_{number:04d}.flo"
    return FlowPair(f"{scene}/{number:04d}", "train", first, second, flow)


_COMMON = {
    "kind": "flow pairs",
    "used_by": "training (flow_pairs); Python: tdn_data.pipeline.datasets.flow_pairs; single pairs: tdn-data flow",
    "metrics": ("EPE",),
    "size": None,
}

CHAIRS_SPEC = DatasetSpec(
    name="flying-chairs",
    title="Flying Chairs: 22,872 rendered pairs with their flow, 22,232 train and 640 validation",
    source="University of Freiburg: https://lmb.informatik.uni-freiburg.de/resources/datasets/FlyingChairs.en.html",
    layout=f"ROOT/{CHAIRS_LIST[0]}, ROOT/{CHAIRS_FOLDERS[0]}/00001_{{img1.ppm,img2.ppm,flow.flo}}",
    read=read_flying_chairs,
    test_split="val",
    num_items=22_872,
    **_COMMON,
)

SINTEL_SPEC = DatasetSpec(
    name="sintel",
    title="MPI Sintel: 1,041 pairs of 23 training scenes with their flow, passes clean and final",
    source="Max Planck Institute for Intelligent Systems: http://sintel.is.tue.mpg.de",
    layout="ROOT/training/{clean,final,flow}/<scene>/frame_0001.{png,flo}",
    read=read_sintel,
    test_split="train",
    num_items=1_041,
    **_COMMON,
)
