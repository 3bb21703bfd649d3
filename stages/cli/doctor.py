"""The command that looks at the installation and the machine: what is there, what is missing, what to type."""

from __future__ import annotations

import os
import platform
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click
from rich.filesize import decimal
from rich.table import Table

from tdn_data.pipeline import __version__, machine
from tdn_data.stages.cli import console
from tdn_data.stages.cli.extras import DISTRIBUTIONS, EXTRAS, pip_line
from tdn_data.stages.cli.options import json_option

MIN_SHARED_MEMORY = 256 << 20  # bytes; with less, Ray's objects and a training's workers go to the disk or fail
MIN_FREE = 5 << 30  # bytes; less holds no data set's shards
BASE = ("numpy", "opencv-contrib-python-headless", "numba", "pyarrow", "lmdb")


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at, what it is, and what to do about it where something should be done."""

    name: str
    found: str
    advice: str = ""


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Look at the installation and this machine: versions, kernels, GPU, room, what is missing and what to type.

    \b
    Example: tdn-data doctor
    """
    with console.messages():
        diagnoses = (*_versions(), *_extras(), *_processor(), *_gpu(), *_room())
    if as_json:
        console.print_json({"diagnoses": diagnoses, "advice": sum(bool(one.advice) for one in diagnoses)})
        return
    table = Table("", "found", "what to do")
    for one in diagnoses:
        table.add_row(one.name, console.shown(one.found), console.shown(one.advice))
    console.out.print(table)
    count = sum(bool(one.advice) for one in diagnoses)
    console.out.print("Everything is there." if not count else f"{console.counted(count, 'thing')} to look at.")


def _versions() -> list[Diagnosis]:
    from tdn_data.pipeline.video.libraries import ffmpeg_versions

    av = f"{machine.installed_version('av')}; " + ", ".join(f"{name} {is_}" for name, is_ in ffmpeg_versions().items())
    rest = ", ".join(f"{name} {version}" for name, version in machine.installed_versions(BASE).items())
    return [
        Diagnosis("tdn-data", __version__),
        Diagnosis("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Diagnosis("PyAV with FFmpeg", av),
        Diagnosis("libraries", rest),
    ]


def _extras() -> list[Diagnosis]:
    diagnoses = []
    for package, (extra, purpose) in EXTRAS.items():
        name = DISTRIBUTIONS.get(package, package)
        version = machine.installed_version(name)
        missing = version is None or find_spec(package) is None
        diagnoses.append(
            Diagnosis(
                name, "not installed" if missing else version, f"for {purpose}: {pip_line(extra)}" if missing else ""
            )
        )
    return diagnoses


def _processor() -> list[Diagnosis]:
    words = f"{machine.processor()}, {console.counted(machine.usable_cores(), 'usable core')}"
    sets = machine.instruction_sets()
    slow = "" if "avx2" in sets else "flow is several times slower without AVX2; a newer processor helps"
    return [Diagnosis("processor", words), Diagnosis("CPU kernels", _kernels(sets), slow)]


def _kernels(instruction_sets: tuple[str, ...]) -> str:
    """Return what Numba compiles the flow's kernels for: the processor, or what the environment says in its place."""
    target = os.environ.get("NUMBA_CPU_NAME")
    if target is None:
        import llvmlite.binding

        target = llvmlite.binding.get_host_cpu_name()
    return f"Numba for {target} ({', '.join(instruction_sets) or 'no wide instructions'})"


def _gpu() -> list[Diagnosis]:
    if find_spec("torch") is None:
        return []
    import torch

    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for CPUs"
        plugged = Path("/dev/nvidiactl").exists()
        advice = "a GPU is here that torch cannot use: install torch for CUDA, https://pytorch.org" if plugged else ""
        return [Diagnosis("GPU", f"none (torch {torch.__version__}, {built})", advice)]
    kernels = "flow in Triton" if find_spec("triton") else "no Triton"
    advice = "" if find_spec("triton") else "for flow on the GPU: pip install triton"
    return [Diagnosis("GPU", f"{torch.cuda.get_device_name()}, {kernels}", advice)]


def _room() -> list[Diagnosis]:
    diagnoses = [Diagnosis("memory", f"{decimal(machine.available_memory())} free")]
    places = {"this folder": Path.cwd(), "temporary files": Path(tempfile.gettempdir())}
    for name, folder in places.items():
        free = machine.free_bytes(folder)
        little = free is not None and free < MIN_FREE
        diagnoses.append(
            Diagnosis(
                f"disk, {name}",
                f"{console.shown_path(str(folder))}: {'unknown' if free is None else decimal(free) + ' free'}",
                "make room, or set TMPDIR to another disk" if little else "",
            )
        )
    free = machine.free_bytes(machine.SHARED_MEMORY)
    little = free is None or free < MIN_SHARED_MEMORY
    advice = "Ray then uses the disk, and training wants --num-workers 0; docker run --shm-size 1g" if little else ""
    return [*diagnoses, Diagnosis("shared memory", "none" if free is None else f"{decimal(free)} free", advice)]


COMMANDS = (doctor,)
