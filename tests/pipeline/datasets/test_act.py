import pytest

from tdn_data.pipeline.datasets.registry import read_dataset
from tdn_data.pipeline.errors import InputError

HEADER = "path,split,class,super_class\n"


def test_the_table_is_read_and_further_columns_are_ignored(tmp_path):
    (tmp_path / "act.csv").write_text(HEADER + '"b/0, 1.mp4",train,swing,golf\na/2.mp4,test,open,door\n')
    manifest = read_dataset("act", tmp_path).manifest()
    assert manifest.class_names == ("open", "swing") and not manifest.multi_label
    assert [(record.path, record.split, record.labels) for record in manifest] == [
        ("videos/b/0, 1.mp4", "train", (1,)),
        ("videos/a/2.mp4", "test", (0,)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,split\na.mp4,train\n", "has no column 'class'"),
        (HEADER + "a.mp4,val,open,door\n", "line 2: split 'val'; expected train or test"),
        (HEADER + "a.mp4,train,,door\n", "line 2: no class"),
        (HEADER + "a.mp4,train,swing,golf\n", "line 2: label 'swing' .*classes.txt"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "act.csv").write_text(text)
    (tmp_path / "classes.txt").write_text("open\n")
    with pytest.raises(InputError, match=message):
        read_dataset("act", tmp_path).manifest()
