"""What is there to do: images listed, metadata joined, one checked against the other."""

from pipeline.plan.checks import findings_table
from pipeline.plan.plan import Plan, make_plan
from pipeline.plan.show import show

__all__ = [
    "Plan",
    "findings_table",
    "make_plan",
    "show",
]
