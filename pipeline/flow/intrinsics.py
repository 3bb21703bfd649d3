"""What the kernels need of LLVM and Numba does not offer: accesses that never overlap, and a fused multiply-add.

Loads and stores here say which plane of a buffer they touch, so that LLVM vectorises the kernels' loops. By itself
LLVM proves two arrays disjoint by comparing addresses at run time, and gives up beyond a few pairs; a TV-L1 step
touches ten planes. All planes live in one flat buffer. Each access carries its plane's alias scope and is declared
disjoint from every other plane's: the caller answers for that. No bounds checks, no negative indices.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit, types
from numba.extending import intrinsic

NUM_PLANES = 32


def compiled(function: Callable) -> Callable:
    """Compile a kernel: without the interpreter's lock, kept on disk for the next process where a folder allows it."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's nor the user's cache folder can be written
        return njit(**options)(function)


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
