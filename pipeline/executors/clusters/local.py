"""`cluster: local`: worker processes on this machine."""

from pipeline.executors.cluster import open

__all__ = ["open"]
