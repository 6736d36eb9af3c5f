"""Everything -> a page."""

from pipeline.report.page import Summary, read_summary, standing, write_report

__all__ = ["Summary", "read_summary", "standing", "write_report"]
