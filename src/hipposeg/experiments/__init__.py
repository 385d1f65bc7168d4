"""Experiments: models and their training configurations, the plan of all runs, training one run and many.

`registry.MODELS` holds every model by name, one line a variant (`zoo2d`, `zoo3d`, ...); `plan` lists which runs exist;
`run` trains one of them and puts it into the tables; `many` trains several side by side.
"""

from hipposeg.experiments.registry import RunSpec

__all__ = ["RunSpec"]
