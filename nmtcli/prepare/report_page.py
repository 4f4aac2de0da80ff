"""The report as one web page that needs nothing else."""

from pathlib import Path

from nmtcli.prepare.report import Report

PAGE_FILE = "report.html"


def write_page(report: Report, path: Path) -> None:
    """Write the page."""
    path.write_text(f"<pre>{report.model_dump_json(indent=2)}</pre>", "utf-8")
