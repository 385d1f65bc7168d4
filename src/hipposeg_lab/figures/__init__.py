"""Figures that a single notebook or study draws."""
