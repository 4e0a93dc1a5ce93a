"""A run, drawn: one HTML file that needs nothing else."""

from olive_like.report.write import FILE, write_report

__all__ = ["FILE", "write_report"]
