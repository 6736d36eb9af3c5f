"""CellProfiler modules, each in a file of its own that is found by its name: MeasureTexture in measure_texture.py."""
