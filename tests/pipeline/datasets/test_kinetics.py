import pytest

from tdn_data.pipeline.datasets.audit import audit_listing, findings_by_kind
from tdn_data.pipeline.datasets.registry import DATASETS, read_dataset
from tdn_data.pipeline.errors import InputError

HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"


def make(root, *, train=None, val=None, classes=None):
    (root / "annotations").mkdir()
    for name, text in (("train.csv", train), ("val.csv", val), ("label_map_k400.txt", classes)):
        if text is not None:
            (root / "annotations" / name).write_text(text)
    return root


def test_a_file_is_found_by_identifier_and_times_wherever_it_lies(tmp_path):
    make(tmp_path, train=HEADER + '"air drumming",-bC3,5,15,train,0\n', val=HEADER + "yoga,xyz,0,10,val,1\n")
    video = tmp_path / "k400/air_drumming/-bC3_000005_000015.mkv"
    video.parent.mkdir(parents=True)
    video.touch()
    listing = read_dataset("kinetics400", tmp_path)
    assert listing.class_names == ("air drumming", "yoga")
    assert [(row.video_id, row.path, row.split, row.labels) for row in listing.videos] == [
        ("-bC3_000005_000015", "k400/air_drumming/-bC3_000005_000015.mkv", "train", (0,)),
        ("xyz_000000_000010", "val/yoga/xyz_000000_000010.mp4", "val", (1,)),
    ]
    findings = audit_listing(listing, DATASETS["kinetics400"])
    assert findings_by_kind(findings) == {"class_without_training": 1, "unexpected_count": 1, "missing_file": 1}
    assert [(finding.line, finding.path) for finding in findings if finding.kind == "missing_file"] == [
        (2, "val/yoga/xyz_000000_000010.mp4")
    ]


def test_the_official_files_are_read(shared_data, tmp_path):
    official = shared_data / "annotations/kinetics400"
    make(
        tmp_path,
        val=(official / "kinetics-400_val_head.csv").read_text(),
        classes=(official / "label_map_k400.txt").read_text(),
    )
    manifest = read_dataset("kinetics400", tmp_path).manifest()
    assert len(manifest) == 200 and len(manifest.class_names) == 400
    assert manifest.records[0].video_id == "0wR5jVB-WPk_000417_000427"
    assert {manifest.class_names[record.labels[0]] for record in manifest} == {
        "abseiling",
        "air drumming",
        "answering questions",
        "applauding",
        "applying cream",
    }


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({}, r"annotations/train.csv is missing \(or "),
        ({"val": "youtube_id,time_start,time_end,split\nx,0,10,test\n"}, "val.csv has no column 'label'"),
        ({"val": HEADER + "yoga,x,0,ten,val,0\n"}, "val.csv, line 2: times are '0' and 'ten'; expected whole seconds"),
        ({"val": HEADER + "yoga,x,0,10,val,0\n", "classes": "run\n"}, "val.csv, line 2: label 'yoga' .*label_map_k400"),
        ({"train": HEADER + "a,x,0,1,t,0\n", "val": HEADER + "a,x,0,1,v,0\n"}, "val.csv, line 2: .*in val here and in"),
    ],
)
def test_wrong_lists_are_named_with_their_line(tmp_path, lists, message):
    with pytest.raises(InputError, match=message):
        read_dataset("kinetics400", make(tmp_path, **lists)).manifest()
