"""A model of the comparison: a network, its input, and the training configurations it can be trained by."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from torch import nn

from hipposeg.inference import Prep
from hipposeg.training.loop import TrainConfig

Schedules = dict[str, TrainConfig]


@dataclass(frozen=True)
class Model:
    """A network together with its input and its training schedules.

    Attributes:
        notebook: number of the notebook that introduces it.
        family: key of `registry.NUMERICS`.
        dims: 2 or 3.
        prep: the network's input.
        build: (input channels, classes) -> network with initial weights; None for the atlas.
        schedules: name -> training configuration.
        members: models whose probabilities this ensemble averages; it has no network of its own then.
        guide: the model whose finished run of the same fold, seed and schedule teaches this one.
        published: open_clip's name of a model that is used as it is, without training.
        imagenet: segmentation-models-pytorch's name of an encoder whose published weights training starts from.
        start: file with the weights that training starts from, as far as they fit.
        title: what it is, in words; by default its name.
    """

    name: str
    notebook: str
    family: str
    dims: int
    prep: Prep
    build: Callable[[int, int], nn.Module] | None = None
    schedules: Schedules = field(default_factory=dict)
    members: tuple[str, ...] = ()
    guide: str = ""
    published: str = ""
    imagenet: str = ""
    start: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.name)

    @property
    def trains(self) -> bool:
        """Whether there is a network to train."""
        return self.build is not None and not self.published

    @property
    def network(self) -> str:
        """The network's class and options, as text for the run's key."""
        if not isinstance(self.build, partial):
            return f"{self.build.__module__}.{self.build.__name__}" if self.build else ""
        options = [*map(repr, self.build.args), *(f"{name}={value!r}" for name, value in self.build.keywords.items())]
        return f"{self.build.func.__module__}.{self.build.func.__name__}({', '.join(options)})"

    def training(self, schedule: str) -> TrainConfig:
        """The training configuration of a schedule; "e3" is the standard one in three epochs, for any number."""
        if schedule in self.schedules:
            return self.schedules[schedule]
        if "standard" in self.schedules and re.fullmatch(r"e[1-9]\d*", schedule):
            epochs = int(schedule[1:])
            return replace(self.schedules["standard"], epochs=epochs, watch_every=epochs)
        known = ", ".join([*self.schedules, "e<epochs>"])
        raise KeyError(f"model {self.name} has no schedule {schedule!r}; choose one of {known}")


def schedules(standard: TrainConfig, **others: TrainConfig) -> Schedules:
    """Name -> configuration: the standard one, a smoke test of two epochs, and others by name."""
    return {"standard": standard, "smoke": replace(standard, epochs=2, average=0.9), **others}
