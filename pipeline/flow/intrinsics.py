"""What the kernels need of LLVM and Numba does not offer: accesses that never overlap, and a fused multiply-add.

Loads and stores here say which plane of a buffer they touch, so that LLVM vectorises the kernels' loops. By itself
LLVM proves two arrays disjoint by comparing addresses at run time, and gives up beyond a few pairs; a TV-L1 step
touches ten planes. All planes live in one flat buffer. Each access carries its plane's alias scope and is declared
disjoint from every other plane's: the caller answers for that. No bounds checks, no negative indices.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
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


@intrinsic
def sample(typing_context, image, start, pitch, weights, at, stride, samples, into):
    """Weigh 4 x 4 neighbours of 4 interleaved channels; sets `samples[into : into + 4]`.

    `image[start]` is the first channel of the upper left neighbour, rows are `pitch` apart. `weights[at + k * stride]`:
    k = 0..3 from left to right, k = 4..7 from top to bottom. Sums run across each row, then down, fused. The channels
    are one vector of four: LLVM would work on them one by one.
    """

    def generate(context, builder, signature, arguments):
        arrays = [context.make_array(signature.args[k])(context, builder, arguments[k]).data for k in (0, 3, 6)]
        _emit_sample(builder, *arrays, *(arguments[k] for k in (1, 2, 4, 5, 7)))
        return context.get_dummy_value()

    integers = types.intp
    return types.void(image, integers, integers, weights, integers, integers, samples, integers), generate


def _emit_sample(builder, image, weights, samples, start, pitch, at, stride, into) -> None:
    """Write the instructions of `sample`; `image`, `weights` and `samples` are addresses of floats."""
    vector = ir.VectorType(ir.FloatType(), 4)
    fused = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), "llvm.fma.v4f32")

    def times(factor: int, value):
        return builder.mul(value, value.type(factor))

    def weight(number: int):
        scalar = builder.load(builder.gep(weights, [builder.add(at, times(number, stride))]))
        first = builder.insert_element(vector(ir.Undefined), scalar, ir.IntType(32)(0))
        return builder.shuffle_vector(first, vector(ir.Undefined), ir.VectorType(ir.IntType(32), 4)([0] * 4))

    def weighted(factors, values):
        total = builder.fmul(factors[0], values[0])
        for factor, value in zip(factors[1:], values[1:], strict=True):
            total = builder.call(fused, [factor, value, total])
        return total

    def pixel(row: int, column: int):
        index = builder.add(builder.add(start, times(row, pitch)), start.type(4 * column))
        return builder.load(builder.bitcast(builder.gep(image, [index]), vector.as_pointer()), align=4)

    across = [weight(number) for number in range(4)]
    rows = [weighted(across, [pixel(row, column) for column in range(4)]) for row in range(4)]
    total = weighted([weight(number) for number in range(4, 8)], rows)
    target = builder.bitcast(builder.gep(samples, [into]), vector.as_pointer())
    builder.store(total, target, align=4)


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
