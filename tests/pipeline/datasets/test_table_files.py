import json

import pytest

from tdn_data.pipeline.datasets.table_files import read_csv, read_json_list, read_json_table
from tdn_data.pipeline.errors import InputError


def write(tmp_path, text):
    path = tmp_path / "list"
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_rows_keep_their_line_across_quoted_line_breaks(tmp_path):
    path = write(tmp_path, 'a, b ,c\n1,"x\ny",3\n\n4, 5 ,6\n')
    assert read_csv(path, ("b",)) == [(3, {"b": "x\ny"}), (5, {"b": "5"})]


def test_a_blank_value_is_refused_unless_allowed(tmp_path):
    path = write(tmp_path, "a,b\n1,\n")
    assert read_csv(path, ("a", "b"), may_be_blank=("b",)) == [(2, {"a": "1", "b": ""})]
    with pytest.raises(InputError, match="list, line 2: no b"):
        read_csv(path, ("a", "b"))
    with pytest.raises(InputError, match="list, line 2: no b"):
        read_csv(write(tmp_path, "a,b\n1\n"), ("a", "b"), may_be_blank=("b",))


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_json_records_come_with_their_lines_however_the_list_is_broken(tmp_path, indent):
    records = [{"id": "1", "text": "a, {b} [c]"}, {"id": "2", "text": "ü\n"}]
    rows = read_json_list(write(tmp_path, "\n" + json.dumps(records, indent=indent) + "\n"), ("id",))
    assert [record for _, record in rows] == records
    assert [line for line, _ in rows] == {None: [2, 2], 0: [3, 7], 2: [3, 7]}[indent]


def test_an_empty_json_list_has_no_rows(tmp_path):
    assert read_json_list(write(tmp_path, "[ ]"), ("id",)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": 1}', r"line 1: expected a JSON list, found '\{\"id\""),
        ('[{"id": 1}\n{"id": 2}]', "line 2: expected a JSON list"),
        ('[{"id": 1},\n{"id": }]', "line 2: no valid JSON"),
        ('[{"id": 1},\n\n{"name": 1}]', "line 3: expected a record with 'id'"),
        ("[\n3]", "line 2: expected a record with 'id'"),
        ('[{"id": 1}', "line 1: expected a JSON list, found ''"),
    ],
)
def test_text_that_is_no_list_of_records_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_json_list(write(tmp_path, text), ("id",))


@pytest.mark.parametrize(("text", "message"), [("[1]", "expected a JSON object"), ("{\n1}", "line 2: no valid JSON")])
def test_text_that_is_no_json_object_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_json_table(write(tmp_path, text))
