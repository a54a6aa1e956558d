"""What a report is put together from: standings, findings, tables, plots, the page."""
