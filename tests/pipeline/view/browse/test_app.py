"""What the page's addresses answer, and to whom."""

import json
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import numpy as np
import pytest

from tdn_data.pipeline.errors import InputError, ShardError
from tdn_data.pipeline.shards.reader import ShardReader
from tdn_data.pipeline.view.browse.serve import open_site
from tests.pipeline.view.browse.conftest import HOSTILE, ask

CLIP = quote("videos/clip 01")


def test_pages_keep_to_themselves(site):
    status, headers, body = ask(site, "/")
    assert status == 200 and b"Overview" in body
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert b"<style" not in body and b" style=" not in body and b" onclick=" not in body and b"http" not in body
    assert ask(site, "/", method="POST")[0] == 405
    assert ask(site, "/", host="evil.example")[0] == 421
    assert ask(site, "/", host="evil.example:80")[0] == 421 and ask(site, "/", host="localhost:1")[0] == 200
    assert ask(site, "/", host="evil.example@localhost")[0] == ask(site, "/", host="localhost/evil")[0] == 421


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/etc/passwd", "/media/picture?name=../x&run=tiny"]
)
def test_no_address_reaches_the_file_system(site, path):
    status, _, body = ask(site, path)
    assert status == 404 and b"import" not in body and b"root:" not in body


@pytest.mark.parametrize(
    "path", ["/", "/videos", f"/video?id={quote(HOSTILE)}", "/videos?q=%3Cscript%3E", "/run?name=tiny"]
)
def test_names_are_escaped_everywhere(site, path):
    status, _, body = ask(site, path)
    assert status == 200 and b"<script>alert" not in body


def test_what_cannot_be_shown_says_so(site):
    status, _, body = ask(site, "/video?id=clip")
    assert status == 404 and b"No such video" in body and b"clip 0" in body  # with names like it
    status, _, body = ask(site, "/videos?page=x")
    assert status == 400 and b"page is" in body
    assert ask(site, "/nothing")[0] == 404 and ask(site, "/run?name=none")[0] == 400
    status, _, body = ask(site, f"/media/rows?id={CLIP}&modality=rgb&start=99")
    assert status == 404 and "has no row 99" in json.loads(body)["error"]


def test_flow_planes_come_as_they_are_stored(site, browsed_shards):
    status, _, body = ask(site, f"/media/rows?id={CLIP}&modality=flow&start=2&count=3")
    (length,) = struct.unpack("<I", body[:4])
    head, planes = json.loads(body[4 : 4 + length]), body[4 + length :]
    stored = ShardReader(browsed_shards, modality="flow").read("videos/clip 01", rows=[2, 3, 4])
    assert status == 200 and head["bound"] == 5
    sent = np.frombuffer(planes, np.uint8).reshape(3, 2, head["height"], head["width"])
    assert np.array_equal(sent.transpose(0, 2, 3, 1), stored.data)


def test_filters_keep_what_they_say(site):
    due = {"split=test": 6, "status=failed": 2, "run=tiny&result=wrong": 2, "label=left&split=test": 3}
    assert {query: ask(site, f"/videos?{query}")[2].count(b'class="video"') for query in due} == due


def test_a_storm_of_requests_is_answered_and_keeps_nothing_open(site):
    before = threading.active_count()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda number: ask(site, f"/media/preview?id={CLIP}&v={number % 3}")[0], range(50)))
    assert answers == [200] * 50
    assert threading.active_count() <= before + 8 and len(site.site.media._open) <= 8


def test_the_overview_names_a_file_that_is_in_two_splits(site):
    words = re.sub(r"<[^>]+>|\s+", " ", ask(site, "/")[2].decode())
    assert re.search(r"1 file is listed more than once *, *1 in two splits", words)
    named = re.search(r'id="same-files".*?</section>', ask(site, "/")[2].decode(), re.S)[0]
    assert f"/video?id={quote('videos/clip 01', safe='').replace('%20', '+')}" in named and named.count("<a ") == 2


def test_it_needs_neither_torch_nor_dvc_nor_ray():
    script = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "dvc", "ray", "sklearn"):
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
import tdn_data.pipeline.view.browse.serve, tdn_data.stages.cli.browse
"""
    ended = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True)
    assert ended.returncode == 0, ended.stderr


def test_a_port_in_use_and_folders_without_shards_are_one_sentence(browsed_shards, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} is in use"):
            open_site(str(browsed_shards), port=port)
    with pytest.raises(InputError, match=r"^a..b is no address .* listen on \(no such name is known\); leave --host"):
        open_site(str(browsed_shards), host="a..b", port=0)
    with pytest.raises(InputError, match=r"holds no shards .it has no files.; expected are files such as .* writes"):
        open_site(str(tmp_path), port=0)
    (tmp_path / "frames-00000-of-00001.parquet").write_bytes(b"PAR1 something else PAR1")
    with pytest.raises(ShardError, match="frames-00000-of-00001.parquet"):
        open_site(str(tmp_path), port=0)


def test_an_unfinished_or_damaged_folder_shows_what_is_there(browsed_shards, tmp_path, monkeypatch):
    copy = shutil.copytree(browsed_shards, tmp_path / "copy")
    for name in ("dataset.json", "index.parquet", "ledger.parquet"):
        (copy / name).unlink()
    shard = max(copy.glob("frames-*.parquet"), key=lambda path: path.stat().st_size)
    content = shard.read_bytes()
    shard.write_bytes(content[:-100])
    opened = open_site(str(copy), port=0)
    videos = opened.site.source.videos
    words = " ".join(notice.words for notice in videos.notices)
    assert "is not finished" in words and shard.name in words and len(videos) > 5
    shard.write_bytes(content)
    monkeypatch.setattr("tdn_data.pipeline.view.browse.watched.SECONDS_BETWEEN_LOOKS", 0)
    whole = opened.site.source.fresh()
    assert not any(shard.name in notice.words for notice in whole.notices)
    shutil.rmtree(copy)
    assert opened.site.source.fresh() is whole
    opened._listener.close()
