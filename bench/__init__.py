"""Measurements, side by side in one run: ratios count, absolute times are those of the machine."""
