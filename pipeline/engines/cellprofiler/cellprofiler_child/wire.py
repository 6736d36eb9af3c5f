"""Messages between the two interpreters: a JSON head and the raw bytes of arrays, over a pipe.

Not pickle: the two sides have different versions of numpy, and neither should run what the other says.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

_LENGTH = struct.Struct("<Q")


def send(stream: IO[bytes], message: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Write one message. Arrays of any shape, of numbers or booleans."""
    arrays = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    shapes = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
    head = json.dumps([message, shapes]).encode()
    stream.write(_LENGTH.pack(len(head)) + head)
    for array in arrays.values():
        stream.write(array.reshape(-1).view(np.uint8).data)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read one message; the arrays are the receiver's own. Raises `EOFError` where the other side has gone."""
    head = bytearray(_LENGTH.unpack(_fill(stream, bytearray(_LENGTH.size)))[0])
    message, shapes = json.loads(_fill(stream, head))
    arrays = {}
    for name, dtype, shape in shapes:
        arrays[name] = array = np.empty(shape, dtype)
        _fill(stream, array.reshape(-1).view(np.uint8).data)
    return message, arrays


def _fill(stream: IO[bytes], buffer: Any) -> Any:
    view = memoryview(buffer)
    while view:
        count = stream.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        view = view[count:]
    return buffer
