from tdn_data.pipeline.datasets.media_files import files_by_stem, walk_files


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_videos_are_found_by_their_extension_in_sorted_order(tmp_path):
    touch(tmp_path, "b/2.MP4", "a/ü 1.webm", "a.txt", ".hidden/3.mp4", "b/._2.mp4", "0.avi")
    assert list(walk_files(tmp_path)) == ["0.avi", "a/ü 1.webm", "b/2.MP4"]


def test_linked_folders_are_followed_once(tmp_path):
    touch(tmp_path, "disk/1.mp4", "set/0.mp4")
    (tmp_path / "set/linked").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/back").symlink_to(tmp_path / "set")
    assert list(walk_files(tmp_path / "set")) == ["0.mp4", "linked/1.mp4"]


def test_of_two_files_with_one_name_the_first_is_taken(tmp_path):
    touch(tmp_path, "x/-a.b.webm", "x/-a.b.mp4", "y/c.mkv")
    assert files_by_stem(tmp_path) == {"-a.b": "x/-a.b.mp4", "c": "y/c.mkv"}
