"""One well from keys to a committed shard."""

from pipeline.measure.inputs import SiteInputs
from pipeline.measure.well import measure_well, replaced_wells, set_aside

__all__ = ["SiteInputs", "measure_well", "replaced_wells", "set_aside"]
