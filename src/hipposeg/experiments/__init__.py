"""Runs: the models of the series, training or loading one, and the table of all of them."""

from typing import Any

from hipposeg.experiments.spec import RunSpec

__all__ = ["RunResult", "RunSpec", "train_or_load"]


def __getattr__(name: str) -> Any:
    """Load `runs.run` on first use: it brings pandas along, a second that predicting a scan need not wait."""
    if name in __all__:
        from hipposeg.experiments import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
