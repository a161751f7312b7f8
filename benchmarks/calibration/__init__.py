"""Calibration: what half of a machine's start-ups teach about the other half."""
