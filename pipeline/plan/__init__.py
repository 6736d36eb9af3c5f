"""What is there to do: images listed, metadata joined, one checked against the other."""

from pipeline.plan.checks import findings_table
from pipeline.plan.metadata import screen_plates, screen_wells
from pipeline.plan.plan import Plan, make_plan
from pipeline.plan.show import show
from pipeline.plan.subset import in_group
from pipeline.plan.tables import (
    SitePlan,
    read_findings,
    read_plates,
    read_sites,
    read_well_sites,
    read_wells,
    write_plan,
)

__all__ = [
    "Plan",
    "SitePlan",
    "findings_table",
    "in_group",
    "make_plan",
    "read_findings",
    "read_plates",
    "read_sites",
    "read_well_sites",
    "read_wells",
    "screen_plates",
    "screen_wells",
    "show",
    "write_plan",
]
