"""One well from keys to a committed shard."""

from pipeline.measure.well import input_digest, measure_well

__all__ = ["input_digest", "measure_well"]
