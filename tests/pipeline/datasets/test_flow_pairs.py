import shutil

import cv2
import numpy as np
import pytest

from tdn_data.pipeline.datasets.flow_pairs import read_sintel
from tdn_data.pipeline.datasets.registry import read_dataset
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.flow import write_flo


@pytest.fixture
def chairs(tmp_path):
    """Three pairs of 4 x 6 pixels; the second is for validation."""
    data = tmp_path / "FlyingChairs_release/data"
    data.mkdir(parents=True)
    for number in (1, 2, 3):
        for image in (1, 2):
            cv2.imwrite(str(data / f"{number:05d}_img{image}.ppm"), np.full((4, 6, 3), 10 * number + image, np.uint8))
        write_flo(data / f"{number:05d}_flow.flo", np.full((4, 6, 2), number, np.float32))
    (tmp_path / "FlyingChairs_train_val.txt").write_text("1\n2\n1\n")
    return tmp_path


@pytest.fixture
def sintel(tmp_path):
    """Two scenes of three and two frames, in both passes."""
    for scene, num_frames in (("alley_1", 3), ("cave_2", 2)):
        for number in range(1, num_frames + 1):
            for render_pass, level in (("clean", 50), ("final", 90)):
                path = tmp_path / f"training/{render_pass}/{scene}/frame_{number:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), np.full((4, 6, 3), level + number, np.uint8))
        for number in range(1, num_frames):
            path = tmp_path / f"training/flow/{scene}/frame_{number:04d}.flo"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_flo(path, np.full((4, 6, 2), number, np.float32))
    return tmp_path


def test_chairs_are_split_by_their_list(chairs):
    pairs = read_dataset("flying-chairs", chairs)
    assert [(pair.pair_id, pair.split) for pair in pairs.pairs] == [
        ("00001", "train"),
        ("00002", "val"),
        ("00003", "train"),
    ]
    first, second, flow = pairs.load(pairs.pairs[2])
    assert (first.shape, first[0, 0, 0], second[0, 0, 0]) == ((4, 6, 3), 31, 32)
    assert flow.shape == (4, 6, 2) and flow.dtype == np.float32 and (flow == 3).all()
    assert pairs.missing() == ()


def test_files_that_a_pair_needs_and_that_are_not_there_are_named(chairs):
    (chairs / "FlyingChairs_release/data/00002_img2.ppm").unlink()
    pairs = read_dataset("flying-chairs", chairs)
    assert pairs.missing() == ("FlyingChairs_release/data/00002_img2.ppm",)
    with pytest.raises(InputError, match="00002_img2.ppm: the image does not exist"):
        pairs.load(pairs.pairs[1])


def test_a_pair_whose_flow_has_another_size_is_refused(chairs):
    write_flo(chairs / "FlyingChairs_release/data/00001_flow.flo", np.zeros((4, 5, 2), np.float32))
    pairs = read_dataset("flying-chairs", chairs)
    with pytest.raises(InputError, match=r"00001_flow.flo: .*differ in size \(4 x 6, 4 x 6, 4 x 5\)"):
        pairs.load(pairs.pairs[0])


def test_an_unknown_mark_is_named_with_its_line(chairs):
    (chairs / "FlyingChairs_train_val.txt").write_text("1\n3\n")
    with pytest.raises(InputError, match=r"line 2: expected 1 \(train\) or 2 \(validation\), found '3'"):
        read_dataset("flying-chairs", chairs)


def test_a_real_pair_of_chairs_is_read(shared_data, chairs):
    data = chairs / "FlyingChairs_release/data"
    for image in (0, 1):
        picture = cv2.imread(str(shared_data / f"flow/chairs_0_img{image}.png"))
        cv2.imwrite(str(data / f"00001_img{image + 1}.ppm"), picture)
    shutil.copy(shared_data / "flow/chairs_0.flo", data / "00001_flow.flo")
    pairs = read_dataset("flying-chairs", chairs)
    first, second, flow = pairs.load(pairs.pairs[0])
    assert first.shape == second.shape == (384, 512, 3) and flow.shape == (384, 512, 2)


def test_sintel_pairs_a_frame_with_the_next_of_its_scene(sintel):
    pairs = read_dataset("sintel", sintel)
    assert [pair.pair_id for pair in pairs.pairs] == ["alley_1/0001", "alley_1/0002", "cave_2/0001"]
    first, second, flow = pairs.load(pairs.pairs[1])
    assert (first[0, 0, 0], second[0, 0, 0], flow[0, 0, 0]) == (52, 53, 2)
    final = read_sintel(sintel, render_pass="final")
    assert final.dataset == "sintel-final" and final.load(final.pairs[0])[0][0, 0, 0] == 91


def test_a_pair_of_sintel_without_its_flow_is_missed_not_left_out(sintel):
    whole = read_sintel(sintel)
    lost = whole.pairs[0].flow
    (sintel / lost).unlink()
    assert read_sintel(sintel).pairs == whole.pairs and read_sintel(sintel).missing() == (lost,)


def test_an_unknown_pass_and_a_folder_without_flow_are_refused(sintel):
    with pytest.raises(ValueError, match="render_pass is 'albedo'; known passes: clean, final"):
        read_sintel(sintel, render_pass="albedo")
    shutil.rmtree(sintel / "training/flow/alley_1")
    shutil.rmtree(sintel / "training/flow/cave_2")
    with pytest.raises(InputError, match="training/flow holds no <scene>/frame_0001.flo"):
        read_sintel(sintel)
