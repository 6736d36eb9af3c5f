"""Eight sums side by side, in kernels: as fast as the processor's vectors allow, and in one order on all of them.

A compiler that may add numbers in any order takes the order that suits the processor, and the last digits of a sum are
then the processor's. Here the order is written down: element k goes to sum k % 8, and `total` adds the eight in pairs.
LLVM makes of an operation on eight numbers as many instructions as the processor needs.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, models, register_model, type_callable

from pipeline.engines.native.compiled import instruction, kernel

WIDTH = 8
_VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)


class Lanes(types.Type):
    """Eight float64."""

    def __init__(self) -> None:
        super().__init__("Lanes")


LANES = Lanes()


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, of: Any) -> None:
        super().__init__(manager, of, _VECTOR)


def _define(operation: Any, instruction_name: str) -> None:
    @type_callable(operation)
    def typer(_: Any) -> Any:
        return lambda one, other: LANES if one is LANES and other is LANES else None

    @lower_builtin(operation, LANES, LANES)
    def lower(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return getattr(builder, instruction_name)(*arguments)


for _operation, _name in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _define(_operation, _name)
    _define({operator.add: operator.iadd, operator.sub: operator.isub, operator.mul: operator.imul}[_operation], _name)


@instruction
def zeros(_: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_VECTOR, [0.0] * WIDTH)

    return LANES(), generate


@instruction
def spread(_: Any, value: Any) -> Any:
    """One number eight times."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), arguments[0], ir.IntType(32)(0))
        every = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return builder.shuffle_vector(one, one, every)

    return LANES(types.float64), generate


def _eight(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """The elements `at` to `at + 7` of a contiguous array, as they are."""
    data = context.make_array(kind)(context, builder, array).data
    element = context.get_value_type(kind.dtype)
    address = builder.bitcast(builder.gep(data, [at]), ir.VectorType(element, WIDTH).as_pointer())
    return builder.load(address, align=kind.dtype.bitwidth // 8)


@instruction
def load(_: Any, array: Any, at: Any) -> Any:
    """Elements `at` to `at + 7` of a contiguous array of float64, float32 or int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = _eight(context, builder, signature.args[0], *arguments)
        if array.dtype == types.float64:
            return values
        return (builder.fpext if array.dtype == types.float32 else builder.sitofp)(values, _VECTOR)

    return LANES(array, types.uint64), generate


@instruction
def single_products(_: Any, one: Any, other: Any, at: Any) -> Any:
    """Products of the elements `at` to `at + 7` of two float32 arrays, rounded to float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, second = (_eight(context, builder, signature.args[k], arguments[k], arguments[2]) for k in (0, 1))
        return builder.fpext(builder.fmul(first, second), _VECTOR)

    return LANES(one, other, types.uint64), generate


@instruction
def absolute(_: Any, values: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        module, name = builder.module, f"llvm.fabs.v{WIDTH}f64"
        function = module.globals.get(name) or ir.Function(module, ir.FunctionType(_VECTOR, [_VECTOR]), name)
        return builder.call(function, arguments)

    return LANES(values), generate


@instruction
def lane(_: Any, values: Any, at: Any) -> Any:
    """One of the eight."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.extract_element(*arguments)

    return types.float64(values, types.uint32), generate


@kernel
def total(values: Any) -> float:
    """All eight, added in pairs."""
    return ((lane(values, 0) + lane(values, 4)) + (lane(values, 2) + lane(values, 6))) + (
        (lane(values, 1) + lane(values, 5)) + (lane(values, 3) + lane(values, 7))
    )


@kernel
def sum_of(values: np.ndarray) -> float:
    """Sum of a contiguous vector of float64 or float32: float64."""
    whole = values.size - values.size % WIDTH
    sums = zeros()
    for at in range(0, whole, WIDTH):
        sums += load(values, at)
    rest = 0.0
    for at in range(whole, values.size):
        rest += values[at]
    return total(sums) + rest
