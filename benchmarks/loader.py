"""What a training clip costs, ours against loaders that decode on the fly and against JPEG files, in one run.

Every road draws the same frames of the same video and cuts the same window out of them; only where pictures come from
differs. Before any time counts, LMDB, Parquet and the JPEG files must have given the same clips, byte for byte, and
what decodes the video itself nearly the same: it does without JPEG.

    bare        the stored JPEGs of a clip decoded by OpenCV, from memory, and nothing else
    folder      the same JPEGs, a file each
    lmdb        our loader on LMDB shards, and on Parquet shards; clips are uint8, no decoded row is kept
    float32     the same on LMDB, normalised by the loader in place of the network's device
    decord      the video opened and the clip's frames decoded for each clip; torchcodec likewise

Times of single clips are those of one processor core. With worker processes it is the clock that counts.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from torch.utils.data import DataLoader

from tdn_data.benchmarks.decode import torchcodec_decoders
from tdn_data.models.clips.augment import Augment, resize_picture
from tdn_data.models.clips.dataset import ClipDataset
from tdn_data.models.clips.rows import ClipRows
from tdn_data.models.networks.base import ClipShape
from tdn_data.models.threads import torch_threads
from tdn_data.pipeline.datasets.index import index_dataset
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.extraction.one_shard import ShardJob, extract_shard
from tdn_data.pipeline.parameters import ExtractParameters, FrameParameters
from tdn_data.pipeline.shards.plan import plan_shards
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.shards.shard_folder import gather, write_folder
from tdn_data.pipeline.shards.storage import Storage

SHORT_SIDE = 256  # pixels of the stored frames, as TSN stores them
PEERS = {"decord": "decord==0.6.0", "torchcodec": "torchcodec==0.13.0"}  # what to give to pip
FEWER = 10  # clips of a loader that decodes video are so many times fewer
BATCH_SIZE = 16  # with worker processes
MOST_APART = 8.0  # levels, on average, between a clip of JPEGs and one of the video itself

Decode = Callable[[list[int]], Sequence[np.ndarray]]  # rising frame numbers to pictures uint8 (H, W, 3)


@dataclass(frozen=True)
class LoaderTimes:
    """Median processor milliseconds of a clip by road, and clips a second by number of worker processes and format."""

    path: str
    frame_size: tuple[int, int]
    num_frames: int
    size: int
    crop: str
    num_rounds: int
    milliseconds: dict[str, float]
    clips_per_second: dict[int, dict[str, float]]
    versions: dict[str, str]
    not_installed: tuple[str, ...]

    @property
    def ratios(self) -> dict[str, float]:
        """How many times as fast LMDB is as each peer, Parquet as LMDB, and what a clip costs over bare decoding."""
        times = self.milliseconds
        faster = {f"lmdb vs {name}": times[name] / times["lmdb"] for name in ("folder", *PEERS) if name in times}
        faster["parquet vs lmdb"] = times["lmdb"] / times["parquet"]
        return faster | {"cost vs bare": times["lmdb"] / times["bare"]}


def run(
    path: Path,
    *,
    num_frames: int = 3,
    size: int = 224,
    crop: str = "corner",
    num_clips: int = 50,
    num_rounds: int = 5,
    num_workers: Sequence[int] = (0, 1, 2),
) -> LoaderTimes:
    """Store a video, check that all roads give the same clips, then time them in turn, `num_rounds` times.

    A clip is `num_frames` frames, one of each segment, in a window `size` pixels square, drawn as `crop` says. Raises
    InputError for a file that is no video, ValueError where a crop does not fit and where roads give other clips.
    """
    with tempfile.TemporaryDirectory() as folder, torch_threads(1), _one_thread_in_opencv():
        options = {"split": "train", "shape": ClipShape(num_frames, 1, size), "cache_bytes": 0}
        options |= {"augment": Augment(size, crop, mirror=True)}
        readers = {name: _store(path.resolve(), Path(folder), name) for name in ("lmdb", "parquet")}
        roads = _roads(path, readers, _jpeg_files(readers["lmdb"], Path(folder) / "jpeg"), options)
        _check_agreement(roads)
        keys = [(number, 0) for number in range(num_clips)]
        timed = {name: _clips(road, keys[:: FEWER if name in PEERS else 1]) for name, road in roads.items()}
        timed["bare"] = _bare(readers["lmdb"], roads["lmdb"], keys)
        milliseconds = _in_turn(timed, num_rounds)
        rates = {count: {name: _rate(roads[name], keys, count) for name in readers} for count in num_workers}
        frame_size = _first_picture(readers["lmdb"]).shape[:2]
    missing = tuple(name for name in PEERS if name not in roads)
    return LoaderTimes(
        str(path), frame_size, num_frames, size, crop, num_rounds, milliseconds, rates, _versions(roads), missing
    )


def format_times(result: LoaderTimes) -> str:
    """The result as lines of text: milliseconds, ratios, clips a second, versions."""
    height, width = result.frame_size
    what = f"clips of {result.num_frames} frames of {width} x {height}, {result.crop} crops of {result.size}"
    lines = [f"{result.path}: {what}"]
    lines += [f"  {name:10}  {value:9.3f} ms" for name, value in result.milliseconds.items()]
    lines += [f"  {name}: not installed; pip install --no-deps {PEERS[name]}" for name in result.not_installed]
    for name, ratio in result.ratios.items():
        lines.append(f"  {name}: {ratio:.2f} times" + ("" if name.startswith("cost") else " as fast"))
    for count, rates in result.clips_per_second.items():
        words = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
        lines.append(f"  {count} workers: {words} clips a second")
    lines.append("  " + ", ".join(f"{name} {version}" for name, version in result.versions.items()))
    return "\n".join(lines)


class _Clips(ClipDataset):
    """Clips whose pictures come by another road, where `decode` is given, with all the rest of ours."""

    def __init__(self, reader: ShardReader, decode: Decode | None = None, **options: object) -> None:
        super().__init__(reader, **options)
        if decode is not None:
            self._decode, self._frames = decode, self

    def read(self, video_id: str, rows: np.ndarray) -> ClipRows:
        """Return a clip's rows as `CachedRows` does."""
        unique, places = np.unique(rows, return_inverse=True)
        return ClipRows(list(self._decode(unique.tolist())), places.reshape(rows.shape), np.zeros(rows.shape), None)

    def rows(self, key: tuple[int, int]) -> list[int]:
        """Return which rows a clip shows, rising."""
        return np.unique(self._draw(key).rows).tolist()


def _store(path: Path, folder: Path, name: str) -> ShardReader:
    """Store every frame of a video as shards of a format and return their reader."""
    root = folder / "video"
    if not root.exists():
        root.mkdir()
        (root / f"video{path.suffix}").symlink_to(path)
        (root / "videos.csv").write_text(f"path,split,labels\nvideo{path.suffix},train,any\n")
    parameters = ExtractParameters(frames=FrameParameters(short_side=SHORT_SIDE), format=name)
    (folder / name).mkdir()
    manifest, storage = index_dataset("folder", root), Storage(folder / name)
    plans = [plan for plan in plan_shards(manifest, parameters, "rgb") if plan.records]
    made = [extract_shard(ShardJob(plan, parameters, manifest.dataset, str(root), storage)) for plan in plans]
    (row,) = [row for shard in made for row in shard.ledger]
    if not row.num_stored:
        raise InputError(f"{path} gives no frames ({row.message or row.reason}).", path=path)
    write_folder(storage, gather(storage, [shard.name for shard in made]))
    return ShardReader(storage.local_root)


def _roads(path: Path, readers: dict[str, ShardReader], files: list[str], options: dict) -> dict[str, _Clips]:
    reader, levels = readers["lmdb"], options | {"normalized": False}
    height, width = _first_picture(reader).shape[:2]
    decoders = {"folder": lambda rows: [cv2.imread(files[row], cv2.IMREAD_COLOR_RGB) for row in rows]}
    if importlib.util.find_spec("decord") is not None:
        decoders["decord"] = lambda rows: _fitted(_decord_at(path, rows), height, width)
    if torchcodec_decoders() is not None:
        decoders["torchcodec"] = lambda rows: _fitted(_torchcodec_at(path, rows), height, width)
    roads = {name: _Clips(one, **levels) for name, one in readers.items()}
    roads["float32"] = _Clips(reader, **options)
    return roads | {name: _Clips(reader, decode, **levels) for name, decode in decoders.items()}


def _decord_at(path: Path, rows: list[int]) -> np.ndarray:
    import decord

    return decord.VideoReader(str(path), num_threads=1).get_batch(rows).asnumpy()


def _torchcodec_at(path: Path, rows: list[int]) -> np.ndarray:
    decoder = torchcodec_decoders().VideoDecoder(str(path), num_ffmpeg_threads=1, dimension_order="NHWC")
    return decoder.get_frames_at(rows).data.numpy()


def _fitted(pictures: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return pictures at the size of the stored ones."""
    fitted = np.empty((len(pictures), height, width, 3), np.uint8)
    for picture, out in zip(pictures, fitted, strict=True):
        resize_picture(picture, out)
    return fitted


def _jpeg_files(reader: ShardReader, folder: Path) -> list[str]:
    """Write every stored JPEG to a file of its own and return their names."""
    folder.mkdir()
    names = []
    for number, data in enumerate(_stored(reader)):
        names.append(str(folder / f"{number:08d}.jpg"))
        Path(names[-1]).write_bytes(data)
    return names


def _stored(reader: ShardReader) -> list[bytes]:
    return reader.read_encoded(reader.videos[0].video_id).payloads["image"]


def _first_picture(reader: ShardReader) -> np.ndarray:
    return reader.read_pictures(reader.videos[0].video_id, [0]).pictures[0]


def _check_agreement(roads: dict[str, _Clips]) -> None:
    ours = roads["lmdb"][0, 0][0].numpy()
    for name, road in roads.items():
        theirs = road[0, 0][0].numpy()
        if name in PEERS:
            apart = np.abs(theirs.astype(np.float32) - ours).mean()
            if apart > MOST_APART:
                raise ValueError(f"{name} gives a clip that is {apart:.1f} levels from ours; it took other frames")
        elif name != "float32" and not np.array_equal(ours, theirs):
            raise ValueError(f"{name} gives another clip than lmdb")


def _clips(road: _Clips, keys: list[tuple[int, int]]) -> Callable[[], int]:
    """Return what makes clips of a road and tells how many."""

    def make() -> int:
        for key in keys:
            road[key]
        return len(keys)

    return make


def _bare(reader: ShardReader, road: _Clips, keys: list[tuple[int, int]]) -> Callable[[], int]:
    stored = [np.frombuffer(data, np.uint8) for data in _stored(reader)]
    rows = [road.rows(key) for key in keys]

    def decode() -> int:
        for clip in rows:
            for row in clip:
                cv2.imdecode(stored[row], cv2.IMREAD_COLOR_RGB)
        return len(rows)

    return decode


def _in_turn(timed: dict[str, Callable[[], int]], num_rounds: int) -> dict[str, float]:
    """Return the median milliseconds of a clip of each road; the first round does not count."""
    found: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(num_rounds + 1):
        for name, make in timed.items():
            begin = time.process_time()
            count = make()
            found[name].append(1000 * (time.process_time() - begin) / count)
    return {name: median(values[1:]) for name, values in found.items()}


def _rate(road: _Clips, keys: list[tuple[int, int]], num_workers: int) -> float:
    """Return the clips a second, by the clock, of a loader whose processes have started."""
    batches = [keys[start : start + BATCH_SIZE] for start in range(0, len(keys), BATCH_SIZE)]
    loader = iter(DataLoader(road, batch_sampler=cycle(batches), num_workers=num_workers))
    for _ in islice(loader, 2 * num_workers + 1):  # after so many nothing is left of what start-up had piled up
        pass
    begin = time.perf_counter()
    count = sum(len(clips) for clips, _ in islice(loader, 2 * len(batches)))
    return count / (time.perf_counter() - begin)


@contextmanager
def _one_thread_in_opencv() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _versions(roads: dict[str, _Clips]) -> dict[str, str]:
    names = ["torch", "opencv-contrib-python-headless", "lmdb", "pyarrow", *(name for name in PEERS if name in roads)]
    return {name: importlib.metadata.version(name) for name in names}
