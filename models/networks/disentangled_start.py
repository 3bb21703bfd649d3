"""How the network of `disentangled` starts from files of its branches: which file gives which, and its shared layer.

appearance.pt: conv1, appearance  ->  conv1, appearance
motion.pt:     conv1, motion      ->         motion          (conv1 is there once)
change.pt:     conv1, change      ->         change
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from tdn_data.models.backbones.base import StateDict
from tdn_data.pipeline.errors import InputError

logger = logging.getLogger(__name__)

BRANCHES = ("appearance", "motion", "change")
LOW_LEVEL = "conv1"
SHARED = f"appearance.{LOW_LEVEL}"  # with which the names of the shared layer's weights begin
COUNTER = "num_batches_tracked"  # of a normalisation, which changes no score

Files = Sequence[tuple[object, StateDict]]  # (path, tensors by name)


def branches_in(state: StateDict) -> tuple[str, ...]:
    """Return the branches that a file's weights make up; the shared layer alone is none.

    >>> branches_in({"appearance.conv1_7x7_s2.weight": None, "motion.last_linear.bias": None})
    ('motion',)
    """
    names = [name for name in state if not name.startswith(SHARED)]
    return tuple(branch for branch in BRANCHES if any(name.startswith(f"{branch}.") for name in names))


def weights_of_each(files: Files, branches: Sequence[str], *, has_layer: bool) -> list[StateDict]:
    """Return what each file gives to a network with these branches; one of them gives the shared layer, if it has one.

    That is the file with the appearance branch, else the first of a branch. Raises InputError where a file holds
    nothing for the network, or two hold the same branch.
    """
    _check_branches(files, branches, has_layer=has_layer)
    giver = _giver_of_layer(files) if has_layer else None
    for number, (path, state) in enumerate(files):
        parts = [f"the {branch} branch" for branch in branches_in(state) if branch in branches]
        parts += ["the shared layer"] if number == giver else []
        if parts:
            logger.info("%s gives %s", path, ", ".join(parts))
    _warn_of_other_layers(files, branches, giver)
    return [state if number == giver else _without_layer(state) for number, (_, state) in enumerate(files)]


def _check_branches(files: Files, branches: Sequence[str], *, has_layer: bool) -> None:
    givers = {}
    for path, state in files:
        held = branches_in(state)
        serving = [branch for branch in held if branch in branches]
        if held and not serving and not (has_layer and "appearance" in held):
            raise InputError(
                f"{path} holds no branch of this network, which has {', '.join(branches)}, but {', '.join(held)}; give "
                "a file with one of its branches.",
                path=path,
            )
        for branch in serving:
            if branch in givers:
                raise InputError(f"{path} and {givers[branch]} both hold the {branch} branch; give one.", path=path)
            givers[branch] = path


def _giver_of_layer(files: Files) -> int | None:
    """Return the number of the file whose shared layer is taken."""
    numbers = [number for number, (_, state) in enumerate(files) if branches_in(state) and _layer(state)]
    return min(numbers, key=lambda number: "appearance" not in branches_in(files[number][1]), default=None)


def _warn_of_other_layers(files: Files, branches: Sequence[str], giver: int | None) -> None:
    """Say which branches were trained on another shared layer than the network gets, and so score otherwise."""
    if giver is None:
        return
    source, taken = files[giver][0], _layer(files[giver][1])
    for path, state in files:
        own = _layer(state)
        if own and any(name not in taken or not torch.equal(value, taken[name]) for name, value in own.items()):
            names = [branch for branch in branches_in(state) if branch in branches]
            logger.warning(
                "%s was trained on another shared layer than that of %s, which is taken: here its branches (%s) do not "
                "score as there",
                path,
                source,
                ", ".join(names),
            )


def _layer(state: StateDict) -> StateDict:
    return {name: value for name, value in state.items() if name.startswith(SHARED) and not name.endswith(COUNTER)}


def _without_layer(state: StateDict) -> StateDict:
    return {name: value for name, value in state.items() if not name.startswith(SHARED)}
