"""What is there to do: images listed, metadata joined, one checked against the other."""

from pipeline.plan.checks import findings_table
from pipeline.plan.metadata import screen_plates, screen_wells
from pipeline.plan.plan import Plan, make_plan
from pipeline.plan.show import show
from pipeline.plan.subset import in_group

__all__ = [
    "Plan",
    "findings_table",
    "in_group",
    "make_plan",
    "screen_plates",
    "screen_wells",
    "show",
]
