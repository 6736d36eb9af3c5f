"""`cluster: tls://host:8786`: a Dask scheduler that runs already, with certificates."""

from pipeline.executors.cluster import open

__all__ = ["open"]
