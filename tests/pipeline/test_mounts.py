from pathlib import Path

import psutil
import pytest

from tdn_data.pipeline import mounts as mounts_module
from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.mounts import filesystem_kind, refuse_network_filesystem

MOUNTS = """\
/dev/a / ext4 rw 0 0
server:/x /srv/data nfs4 rw 0 0
/dev/b /srv/data/local xfs rw 0 0
/dev/c /srv/data2 btrfs rw 0 0
//host/share /mnt/my\\040disk cifs rw 0 0
tmpfs /over tmpfs rw 0 0
server:/y /over nfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/elsewhere", "ext4"),
        ("/srv/data", "nfs4"),
        ("/srv/data/shards", "nfs4"),
        ("/srv/data/local/shards", "xfs"),  # the longest mount point counts, wherever it stands in the list
        ("/srv/data2/shards", "btrfs"),  # a name that begins like a mount point is not inside it
        ("/srv/data3", "ext4"),
        ("/srv/data/locals", "nfs4"),
        ("/mnt/my disk/shards", "cifs"),
        ("/over/it", "nfs"),  # mounted over an earlier one
    ],
)
def test_the_longest_mount_point_that_holds_a_folder_tells_its_filesystem(tmp_path, monkeypatch, folder, kind):
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mounts").write_text(MOUNTS)
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert filesystem_kind(Path(folder)) == kind


def test_a_system_that_does_not_tell_its_mounts_has_no_kind(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert filesystem_kind(tmp_path) is None


def test_a_network_filesystem_is_refused(tmp_path, monkeypatch):
    refuse_network_filesystem(tmp_path)
    monkeypatch.setattr(mounts_module, "filesystem_kind", lambda folder: "nfs4")
    with pytest.raises(InputError, match="lies on a network filesystem \\(nfs4\\)"):
        refuse_network_filesystem(tmp_path)
