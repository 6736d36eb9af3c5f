"""What runs in CellProfiler's own interpreter: Python 3.9 or newer, numpy < 2, none of the project's packages.

The parent side imports `wire` alone. Everything else here needs CellProfiler 4.2.8.
"""
