"""File names for identifiers: what any file system, list file and tar reader takes, no two the same.

soccer/v 1.avi -> soccer_v_1_avi
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from tdn_data.pipeline.paths import shortened_identifier
from tdn_data.pipeline.text import appearance

MAX_NAME_BYTES = 160  # leaves room for a number and an ending
_OTHER = re.compile(r"[^\w-]")  # a dot ends a key in a tar shard, a blank a path in a list file


def safe_names(identifiers: Iterable[str], *, words: bool = False) -> dict[str, str]:
    """Return identifier -> file name without an ending: letters of any script, digits, `_` and, unless `words`, `-`.

    Names that would look the same, on file systems that fold case, too, end in a digest of their identifiers.
    """
    plain = {one: _plain(one.replace("-", "_") if words else one) for one in dict.fromkeys(identifiers)}
    alike: dict[str, list[str]] = {}
    for one, name in plain.items():
        alike.setdefault(appearance(name), []).append(one)
    shared = {one for group in alike.values() if len(group) > 1 for one in group}
    mark = "_" if words else "~"
    return {one: f"{name}{mark}{_digest(one)}" if one in shared else name for one, name in plain.items()}


def _plain(identifier: str) -> str:
    name = _OTHER.sub("_", unicodedata.normalize("NFC", identifier))
    return shortened_identifier(f"_{name}" if name[:1] in ("-", "") else name, max_bytes=MAX_NAME_BYTES)


def _digest(identifier: str) -> str:
    return hashlib.blake2b(identifier.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
