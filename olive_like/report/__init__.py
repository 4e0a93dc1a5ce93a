"""A run, drawn: one HTML file that needs nothing else."""

from olive_like.report.write import FILE, report_run, write_report

__all__ = ["FILE", "report_run", "write_report"]
