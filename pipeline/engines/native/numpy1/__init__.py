"""Arithmetic in the order of the libraries beneath CellProfiler: NumPy 1, its BLAS and LAPACK, the C library."""
