"""How kernels are compiled, and two instructions of the processor that Numba does not offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

#: Releases the GIL, is kept on disk between processes, and divides by zero as numpy does: to infinity or NaN.
kernel = njit(nogil=True, cache=True, error_model="numpy")
#: what is called in kernels with numbers and arrays, and defined here by their types
instruction: Callable[..., Any] = intrinsic


@instruction
def ones(typing: Any, bits: Any) -> Any:
    """How many bits of an integer are set, as its type."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return bits(bits), generate


@instruction
def prefetch(typing: Any, array: Any, at: Any) -> Any:
    """Have the cache fetch an element of a contiguous array that is read or written soon; any index will do."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        elements = context.make_array(signature.args[0])(context, builder, arguments[0])
        anything, number, name = ir.IntType(8).as_pointer(), ir.IntType(32), "llvm.prefetch.p0"
        function = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(ir.VoidType(), [anything, number, number, number]), name
        )
        address = builder.bitcast(builder.gep(elements.data, [arguments[1]]), anything)
        builder.call(function, [address, number(0), number(3), number(1)])  # to read, into every cache, as data
        return context.get_dummy_value()

    return types.void(array, at), generate
