"""One well from keys to a committed shard."""

from pipeline.measure.inputs import SiteInputs
from pipeline.measure.well import exclude_wells, measure_well, set_aside

__all__ = ["SiteInputs", "exclude_wells", "measure_well", "set_aside"]
