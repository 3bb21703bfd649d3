"""What a training runs on and how it is kept: none of it is a parameter, for it changes nothing in what is trained.

That is why params.yaml does not know it and DVC trains nothing again for it: it comes from options of `tdn-data train`
or from the environment.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from tdn_data.pipeline.errors import InputError
from tdn_data.pipeline.flow.methods import DEVICES
from tdn_data.pipeline.limits import MAX_THREADS

VARIABLES = {  # field -> the environment variable that sets it where no option does
    "num_processes": "TDN_DATA_TRAIN_PROCESSES",
    "ray_address": "RAY_ADDRESS",
    "device": "TDN_DATA_TRAIN_DEVICE",
    "num_workers": "TDN_DATA_TRAIN_WORKERS",
    "snapshot_seconds": "TDN_DATA_SNAPSHOT_SECONDS",
}
KINDS = {"num_processes": int, "num_workers": int, "snapshot_seconds": float}


@dataclass(frozen=True)
class Resources:
    """What a training may use, and how often it is kept.

    On another `device` sums are rounded otherwise, and so they are by more processes than the training has
    `micro_batches`, for each process normalises its own share of a batch.
    """

    num_processes: int = 1  # that share each batch, on one machine or several
    ray_address: str | None = None  # of the cluster that trains, HOST:PORT; None: this machine
    device: str = "auto"  # or cpu, cuda; auto: a GPU where there is one
    num_workers: int = 0  # further processes, of each of these, that prepare clips
    snapshot_seconds: float = 300.0  # how often the state is kept from which an interrupted training goes on

    def __post_init__(self) -> None:
        for name, least in (("num_processes", 1), ("num_workers", 0)):
            if not least <= getattr(self, name) <= MAX_THREADS:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be from {least} to {MAX_THREADS:,}")
        if self.device not in DEVICES:
            raise ValueError(f"device is {self.device!r}; it must be one of {', '.join(DEVICES)}")
        if not 0 <= self.snapshot_seconds < math.inf:
            raise ValueError(f"snapshot_seconds is {self.snapshot_seconds!r}; it must be a number, 0 or more")

    @property
    def needs_ray(self) -> bool:
        """Whether anything but this process computes."""
        return self.num_processes > 1 or self.ray_address is not None

    @classmethod
    def from_environment(cls, given: Mapping[str, object] | None = None) -> Resources:
        """Return what the environment variables of `VARIABLES` say; `given` values that are not None come first.

        Raises InputError that names the variable whose value does not do.
        """
        chosen = {name: value for name, value in (given or {}).items() if value is not None}
        for name, variable in VARIABLES.items():
            text = os.environ.get(variable, "").strip()
            if name in chosen or not text:
                continue
            try:
                chosen[name] = getattr(cls(**{name: KINDS.get(name, str)(text)}), name)
            except ValueError as error:
                words = f": {error}" if name in str(error) else " is no number"
                raise InputError(f"{variable}={text}{words}.", key=variable) from error
        if chosen.get("num_processes", 1) == 1 and "ray_address" not in (given or {}):
            chosen.pop("ray_address", None)  # other programs read that variable, too
        return cls(**chosen)


ONE_PROCESS = Resources()


def chosen_device(name: str) -> torch.device:
    """Return the device called `auto`, `cpu` or `cuda`; raise InputError where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device is 'cuda', and torch finds no GPU here; set it to auto or cpu.", key="device")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
