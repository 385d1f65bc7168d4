"""hipposeg: hippocampus segmentation in MRI, taught in notebooks and evaluated honestly."""

__version__ = "0.1.0"
