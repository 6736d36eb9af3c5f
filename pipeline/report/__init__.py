"""Everything -> a page."""

from pipeline.report.page import Summary, is_finished, read_summary, write_report, write_summary

__all__ = ["Summary", "is_finished", "read_summary", "write_report", "write_summary"]
