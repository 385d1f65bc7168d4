"""Studies on finished runs: each reads runs and writes a table."""
