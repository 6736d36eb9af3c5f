"""How kernels are compiled."""

from __future__ import annotations

from numba import njit

#: Releases the GIL, is kept on disk between processes, and divides by zero as numpy does: to infinity or NaN.
kernel = njit(nogil=True, cache=True, error_model="numpy")
