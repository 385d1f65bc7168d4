"""Analyses of finished runs: what inflates a score, where errors lie, what a leak adds, how calibrated a network is."""
