"""New files taken into service while the server runs."""
