"""Everything -> a page."""

from pipeline.report.page import Summary, has_ended, is_finished, read_summary, write_report, write_summary

__all__ = ["Summary", "has_ended", "is_finished", "read_summary", "write_report", "write_summary"]
