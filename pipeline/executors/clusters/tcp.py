"""`cluster: tcp://host:8786`: a Dask scheduler that runs already, spoken to without encryption."""

from pipeline.executors.cluster import open

__all__ = ["open"]
