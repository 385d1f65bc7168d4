"""Runs: the arms of the series, training or loading one, and the table of all of them."""

from hipposeg.runs.run import RunResult, train_or_load
from hipposeg.runs.spec import RunSpec

__all__ = ["RunResult", "RunSpec", "train_or_load"]
