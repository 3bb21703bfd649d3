"""The folder that an export writes into: its own or an empty one, each file whole or not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.files import is_scratch, read_json, replacing, shown_path

MARK = ".tdn-export.json"  # says what an export made the folder of, so that the same export may go on in it


class Target:
    """A folder to write into; `num_files` and `num_bytes` count what was written.

    Raises InputError where the folder holds anything but the same export, begun or finished.
    """

    def __init__(self, root: Path, *, mark: dict[str, object]) -> None:
        self.root, self.num_files, self.num_bytes = root, 0, 0
        self._made: set[Path] = set()
        if root.exists() and any(not is_scratch(path.name) for path in root.iterdir()):
            self._check_same(mark)
        self.write(MARK, (json.dumps(mark, indent=2, sort_keys=True) + "\n").encode())
        self.num_files = self.num_bytes = 0

    def _check_same(self, mark: dict[str, object]) -> None:
        path = self.root / MARK
        if not path.is_file():
            raise InputError(
                f"{shown_path(self.root)} holds something else; export into a new or empty folder.", key="out"
            )
        if read_json(path, what="mark of an export") != mark:
            raise InputError(
                f"{shown_path(self.root)} holds an export of something else ({MARK} says what); export into a new or "
                "empty folder.",
                key="out",
            )

    @contextmanager
    def place(self, name: str) -> Iterator[Path]:
        """Give a temporary path to write to, which then takes the place of the file `name`, e.g. `video/img_00001.jpg`.

        Files are not synced to the disk one by one: an export may have millions of them.
        """
        path = self.root / name
        if path.parent not in self._made:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent)
        with replacing(path, sync=False) as scratch:
            yield scratch
            num_bytes = scratch.stat().st_size
        self.num_files += 1
        self.num_bytes += num_bytes

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file."""
        with self.place(name) as scratch:
            scratch.write_bytes(content)
