"""Measurements, side by side in one run: compare the ratios, since absolute times depend on the machine."""
