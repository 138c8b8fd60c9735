"""Findings and a grade, from what the probes observed. Each judge has its findings in the TOML file beside it."""
