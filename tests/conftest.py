"""What all tests share: where the real data lie, and a small rendered data set."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

FIRST_RUN = ("tests/stages/test_documents.py", "tests/stages/test_pipeline.py")  # go on from one run of the pipeline
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure() -> None:
    """Forget how wide the terminal is in which the tests were started (`pytest -n` gives its processes 80 columns).

    And keep Ray from changing the home folder.
    """
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    os.environ.setdefault("RAY_num_server_call_thread", "8")  # one hangs where a Ray is stopped while it answers
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # else `ray.init` leaves a token in the home folder


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Give each process of `pytest -n` whole files, so that what the tests of a file share is made once.

    The files that go on from the same first run of the pipeline count as one, and as the first: they take longest.
    """
    from xdist.scheduler import LoadScopeScheduling

    class WholeFiles(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.split("::")[0]
            return "first run" if path in FIRST_RUN else path

    return WholeFiles(config, log)


@pytest.hookimpl(tryfirst=True)  # before `-m "not slow"` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take longest; the others stay in order. All that run the pipeline first are slow."""
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST_RUN))
    for item in items:
        if "first_run" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    """Say at the end what did not run, each reason once, with the number of tests that it holds for."""
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.getreports("skipped"))
    without_slow = "not slow" in config.option.markexpr
    if not reasons and not without_slow:
        return
    terminalreporter.section("what did not run here, and why")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count} test{'s' * (count > 1)}: {reason}")
    if without_slow:
        terminalreporter.line(
            "slow tests (kills, clusters, damaged files, whole pipelines): left out; `make test` runs them"
        )


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the real data are not here (no folder shared/{name} beside the project)")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real clips, broken files, lists and flow truth."""
    return _folder("data")


OWN_CLIPS = tuple(
    Path(__file__).with_name("pipeline") / name
    for name in (
        *(f"extraction/clips/{kind}" for kind in ("h264.mp4", "hevc.mkv", "mpeg4.avi", "vp9.webm")),
        *(f"video/clips/{kind}" for kind in ("rv10.rm", "rv20.rm", "theora.ogv")),
    )
)


@pytest.fixture(scope="session")
def encoded_clips() -> tuple[Path, ...]:
    """Clips of many codecs and containers, the smallest first: the real ones where they are, else our own."""
    folder = SHARED / "data/clips"
    clips = tuple(folder.iterdir()) if folder.is_dir() else OWN_CLIPS
    return tuple(sorted(clips, key=lambda path: path.stat().st_size))


@pytest.fixture(scope="session")
def fcvid_mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as FCVID, 14 videos, one cut off, one missing: real ones where they are, else our own."""
    if (SHARED / "data/fcvid_mini").is_dir():
        return SHARED / "data/fcvid_mini"
    root = tmp_path_factory.mktemp("fcvid_mini")
    names = [f"class{number % 5}/{'-' * (number % 3)}id {number}" for number in range(12)]
    paths = [f"{name}{OWN_CLIPS[number % 4].suffix}" for number, name in enumerate(names)]
    for number, path in enumerate(paths):
        (root / "videos" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(OWN_CLIPS[number % 4], root / "videos" / path)
    (root / "videos/broken").mkdir()
    whole = OWN_CLIPS[0].read_bytes()
    (root / "videos/broken/tRunc4ted_00.mp4").write_bytes(whole[: len(whole) // 2])
    paths += ["broken/tRunc4ted_00.mp4", "broken/mIssing_file.mp4"]
    rows = [f"{path}\t{'test' if number % 2 else 'train'}" for number, path in enumerate(paths)]
    labels = [" ".join("1" if column in (number % 5, 238) else "0" for column in range(239)) for number in range(14)]
    (root / "materials").mkdir()
    (root / "materials/FCVID_VideoName_TrainTestSplit.txt").write_text("\n".join(rows) + "\n")
    (root / "materials/FCVID_Label.txt").write_text("\n".join(labels) + "\n")
    return root


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """The folder with the expected logits of public networks."""
    return _folder("reference")


@pytest.fixture(scope="session")
def avx2_variables() -> dict[str, str]:
    """The environment in which every library computes as on a processor without AVX-512 (`make test-avx2`)."""
    lines = Path(__file__).with_name("avx2.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def write_clip(
    path: Path, *, num_frames: int = 12, fps: int = 10, height: int = 48, width: int = 64, seed: int = 0
) -> None:
    """Encode a small clip of a moving random texture to `path`."""
    from tdn_data.pipeline.video import write_video

    texture = np.random.default_rng(seed).integers(0, 256, (height // 4, 2 * width // 4, 3), dtype=np.uint8)
    texture = texture.repeat(4, axis=0).repeat(4, axis=1)
    frames = np.stack([texture[:, number : number + width] for number in range(num_frames)])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, fps=fps)


def python_on_a_small_disk(folder: Path, num_bytes: int, script: str) -> str:
    """Run a Python script where `folder` is a disk of so many bytes; return what it printed.

    The disk is mounted in a namespace of the script's own: nobody else sees it, and it is gone when the script ends.
    Skips the test where the system allows no such namespace.
    """
    namespace = ["unshare", "--mount", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("this system allows no mount namespaces, which a small disk is made in")
    mount = f'mount -t tmpfs -o size={num_bytes} tmpfs "$0" && exec "$@"'
    command = [*namespace, "sh", "-c", mount, str(folder), sys.executable, "-c", script]
    result = subprocess.run(command, text=True, capture_output=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture
def on_a_small_disk() -> Callable[[Path, int, str], str]:
    """The function `python_on_a_small_disk`."""
    return python_on_a_small_disk


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
def few_bytes_a_file() -> Callable[[int], AbstractContextManager[None]]:
    """A context in which this process cannot write more than so many bytes into one file, as on a full disk."""

    @contextmanager
    def limited(num_bytes: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture
def clip_folder_copy(clip_folder: Path, tmp_path: Path) -> Path:
    """A copy of `clip_folder` that a test may change."""
    return Path(shutil.copytree(clip_folder, tmp_path / "clips"))


def scene_views(seed: int, *, num_views: int = 4, side: int = 112) -> Iterator[np.ndarray]:
    """Views of one textured scene: a random crop, turned by up to 12 degrees, of other brightness."""
    generator = np.random.default_rng(seed)
    scene = sum(
        cv2.resize(generator.uniform(-1, 1, (cells, cells, 3)), (192, 192), interpolation=cv2.INTER_CUBIC) / weight
        for cells, weight in ((4, 2), (12, 1), (40, 1))
    )
    for _ in range(num_views):
        turn = cv2.getRotationMatrix2D((96, 96), generator.uniform(-12, 12), generator.uniform(0.9, 1.2))
        turned = cv2.warpAffine(scene, turn, (192, 192), borderMode=cv2.BORDER_REFLECT)
        top, left = generator.integers(25, 56, 2)
        view = turned[top : top + side, left : left + side] * generator.uniform(0.8, 1.2) * 60 + 128
        yield np.clip(view, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def holidays_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight scenes of four views, named as Holidays names them."""
    root = tmp_path_factory.mktemp("holidays")
    (root / "jpg").mkdir()
    for scene in range(8):
        for number, view in enumerate(scene_views(scene)):
            cv2.imwrite(str(root / f"jpg/{100000 + 100 * scene + number}.png"), view)
    return root


@pytest.fixture
def holidays_copy(holidays_folder: Path, tmp_path: Path) -> Path:
    """A copy of `holidays_folder` that a test may change."""
    return Path(shutil.copytree(holidays_folder, tmp_path / "holidays"))


@pytest.fixture(scope="session")
def paris_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scenes of four views in Paris' lists: query and good, good, ok, junk."""
    root = tmp_path_factory.mktemp("paris")
    for folder in ("paris", "gt"):
        (root / folder).mkdir()
    for scene in range(6):
        names = [f"paris_scene{scene}_{number:06d}" for number in range(4)]
        for name, view in zip(names, scene_views(100 + scene), strict=True):
            cv2.imwrite(str(root / f"paris/{name}.png"), view)
        lists = {
            "query": f"{names[0]} 0 0 112 112",
            "good": f"{names[0]}\n{names[1]}",
            "ok": names[2],
            "junk": names[3],
        }
        for kind, text in lists.items():
            (root / f"gt/scene{scene}_1_{kind}.txt").write_text(f"{text}\n")
    return root
