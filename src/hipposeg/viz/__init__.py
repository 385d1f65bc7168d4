"""Figures. Functions take arrays and tables and return a matplotlib Figure; the notebook session saves them."""
