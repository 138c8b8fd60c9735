"""The audit as one report: for a terminal, as a page, as JSON and as SARIF."""
