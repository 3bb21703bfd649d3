import pytest

from tdn_data.pipeline.paths import distinct_identifiers, normal_path, path_fault, shortened_identifier, under


@pytest.mark.parametrize(
    ("path", "expected"),
    [("./v/2.mp4", "v/2.mp4"), ("v//2.mp4", "v/2.mp4"), ("v/./2.mp4", "v/2.mp4"), ("v/", "v"), ("", ""), (".", ".")],
)
def test_a_path_has_one_written_form(path, expected):
    assert normal_path(path) == expected


def test_an_absolute_path_is_not_put_under_a_folder():
    assert (under("videos", "a.mp4"), under("videos", "/a.mp4")) == ("videos/a.mp4", "/a.mp4")


def test_a_path_inside_the_root_through_a_link_is_recognised(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for folder in ("link", "real"):
        kind, words = path_fault(f"{tmp_path}/{folder}/v/a.mp4", tmp_path / "link")
        assert kind == "outside_root" and words.endswith("write it relative to the data set's folder: v/a.mp4")
    assert path_fault("v/a.mp4", tmp_path) is None


def test_identifiers_keep_what_tells_files_apart_and_nothing_else():
    videos = [("a", "a.avi"), ("a", "a.mp4"), ("a.mp4", "a.mp4.mkv"), ("b", "b.mp4"), ("b", "b.mp4")]
    assert distinct_identifiers(videos) == {
        ("a", "a.avi"): "a.avi",
        ("a", "a.mp4"): "a.mp4",
        ("a.mp4", "a.mp4.mkv"): "a.mp4.mkv",
        ("b", "b.mp4"): "b",
    }
    assert distinct_identifiers([("x", "train/x.mp4"), ("x", "val/x.mp4")]) == {
        ("x", "train/x.mp4"): "x",
        ("x", "val/x.mp4"): "x",
    }


def test_a_long_identifier_is_cut_without_two_becoming_one():
    short, long, other = "ü" * 250, "ü" * 250 + "a", "ü" * 250 + "b"
    assert shortened_identifier(short) == short
    cut = shortened_identifier(long)
    assert len(cut.encode()) <= 500 and cut.startswith("ü" * 200) and cut == shortened_identifier(long)
    assert cut != shortened_identifier(other)
