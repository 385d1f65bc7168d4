"""The text-guided run and its teacher that several tests look into, trained once."""

from hipposeg.experiments import RunSpec
from hipposeg.experiments.registry import needed_by

RUN = RunSpec("clip2d-guided", schedule="smoke", hardware="fp32")
(GUIDE,) = needed_by(RUN)
