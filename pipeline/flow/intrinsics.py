"""What the kernels need of LLVM and Numba does not offer: accesses that never overlap, and a fused multiply-add.

Loads and stores here say which plane of a buffer they touch, so that LLVM vectorises the kernels' loops. By itself
LLVM proves two arrays disjoint by comparing addresses at run time, and gives up beyond a few pairs; a TV-L1 step
touches ten planes. All planes live in one flat buffer. Each access carries its plane's alias scope and is declared
disjoint from every other plane's: the caller answers for that. No bounds checks, no negative indices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from numba import config, njit, types
from numba.extending import intrinsic

NUM_PLANES = 32


def compiled(function: Callable) -> Callable:
    """Compile a kernel: without the interpreter's lock, kept on disk for the next process where a folder allows it."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        with _cache_of_this_code():
            return njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's nor the user's cache folder can be written
        return njit(**options)(function)


@contextmanager
def _cache_of_this_code() -> Iterator[None]:
    """Keep what is compiled apart for each state of this folder's code.

    To see whether a compiled kernel is still right, Numba looks at the kernel's own file, not at those of the kernels
    that it calls: a changed median would go on as it was inside an unchanged step.
    """
    before = config.CACHE_DIR
    folder = Path(before) if before else Path(__file__).with_name("__pycache__")
    config.CACHE_DIR = str(folder / f"kernels-{_code_digest()}")
    try:
        yield
    finally:
        config.CACHE_DIR = before


@lru_cache(maxsize=1)
def _code_digest(folder: Path = Path(__file__).parent) -> str:
    """Return a digest of all code in this folder."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@intrinsic(prefer_literal=True)
def load(typing_context, plane, buffer, index):
    """Return `buffer[index]`, an element of `plane` (a constant below `NUM_PLANES`)."""
    if not isinstance(plane, types.IntegerLiteral):
        return None

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments)
        return _tag(builder, builder.load(address), plane.literal_value)

    return buffer.dtype(plane, buffer, types.intp), generate


@intrinsic(prefer_literal=True)
def store(typing_context, plane, buffer, index, value):
    """Set `buffer[index]`, an element of `plane` (a constant below `NUM_PLANES`)."""
    if not isinstance(plane, types.IntegerLiteral):
        return None

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature, arguments)
        _tag(builder, builder.store(arguments[3], address), plane.literal_value)
        return context.get_dummy_value()

    return types.void(plane, buffer, types.intp, buffer.dtype), generate


@intrinsic
def fma(typing_context, a, b, c):
    """Return a * b + c with one rounding: one instruction where the CPU has it, the C library's function elsewhere."""

    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return a(a, b, c), generate


def _address(context, builder, signature, arguments):
    array = context.make_array(signature.args[1])(context, builder, arguments[1])
    return builder.gep(array.data, [arguments[2]])


def _tag(builder, instruction, plane: int):
    """Attach LLVM's alias.scope and noalias metadata; string names make the scopes one over all modules."""
    metadata = builder.module.add_metadata
    domain = metadata(["tvl1 planes"])
    scopes = [metadata([f"tvl1 plane {number}", domain]) for number in range(NUM_PLANES)]
    instruction.set_metadata("alias.scope", metadata([scopes[plane]]))
    instruction.set_metadata("noalias", metadata([scope for number, scope in enumerate(scopes) if number != plane]))
    return instruction
