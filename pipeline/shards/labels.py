"""What the numbers in `labels` mean: each shard numbers the classes of its own list.

Where a folder's modalities were extracted from lists with other classes, the longest list counts if it has all classes
of the others, and labels are renumbered by name:

    flow, extracted before   cook, jump         label 1 = jump  -> 2
    rgb, extracted after     bake, cook, jump   label 2 = jump  -> 2
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from tdn_data.pipeline.errors import InputError, ShardError
from tdn_data.pipeline.shards.schema import Labelling

MAX_NAMES_SHOWN = 3


class _HasAbout(Protocol):
    about: dict[str, object]


def labelling_of(shard: _HasAbout) -> Labelling | None:
    """Return what a shard's labels mean; None for one of schema 1, which does not say it."""
    about = shard.about
    if "class_names" not in about:
        return None
    return Labelling(about["dataset"], tuple(about["class_names"]), about["multi_label"])


def common_labelling(labellings: Iterable[Labelling], *, where: str) -> Labelling:
    """Return the labelling that covers all: the first of the longest lists, if no other has a class that it lacks.

    Raises InputError where the lists contradict each other.
    """
    found = list(dict.fromkeys(labellings))
    chosen = max(found, key=lambda one: len(one.class_names))
    for other in found:
        missing = [name for name in other.class_names if name not in set(chosen.class_names)]
        if other.dataset != chosen.dataset:
            words = f"of the data sets {other.dataset} and {chosen.dataset}"
        elif other.multi_label != chosen.multi_label:
            words = "with one label a video and with several"
        elif missing:
            shown = ", ".join(missing[:MAX_NAMES_SHOWN])
            words = f"of other classes (only some have {shown})"
        elif len(set(chosen.class_names)) < len(chosen.class_names) and other != chosen:
            words = "of other lists of classes, which name a class twice"
        else:
            continue
        raise InputError(
            f"{where} holds shards {words}; extract both modalities together (--modality both) or into two folders.",
            path=where,
        )
    return chosen


def renumbered(labels: Sequence[int], own: Labelling, common: Labelling) -> tuple[int, ...]:
    """Return labels of the list `own` as numbers of the list `common`; raise ShardError for one without a number."""
    if labels and max(labels) >= len(own.class_names):
        raise ShardError(f"label {max(labels)} has no name; there are {len(own.class_names)} classes.")
    if own.class_names == common.class_names:
        return tuple(labels)
    numbers = {name: number for number, name in enumerate(common.class_names)}
    names = [own.class_names[label] for label in labels]
    unknown = [name for name in names if name not in numbers]
    if unknown:
        raise ShardError(f"the class {unknown[0]!r} of a shard is not among those of its folder.")
    return tuple(numbers[name] for name in names)
