"""hipposeg: hippocampus segmentation in MRI, taught in notebooks and evaluated honestly."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`hipposeg.segment`, imported when it is first used: it brings torch with it."""
    if name == "segment":
        from hipposeg.predict.segment import segment

        return segment
    raise AttributeError(f"module 'hipposeg' has no attribute {name!r}")
