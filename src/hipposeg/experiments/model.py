"""What an arm is: a network, the input that it takes, and the recipes that train it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from torch import nn

from hipposeg.inference import Prep
from hipposeg.training.loop import TrainConfig

Recipes = dict[str, TrainConfig]


@dataclass(frozen=True)
class Arm:
    """One row of the results.

    name: as in the tables. notebook: that trains it. family: key of NUMERICS. dims: 2 or 3. prep: the network's input.
    build: (input channels, classes) -> network with initial weights, None for the atlas. recipes: budget -> recipe.
    members: arms whose probabilities this one averages; it has no network or recipe of its own then. guide: the arm
    whose finished run of the same fold, seed and budget this one starts from. published: open_clip's name of a model
    that is taken as it is, without any training. imagenet: segmentation-models-pytorch's name of an encoder whose
    published weights the training starts from.
    """

    name: str
    notebook: str
    family: str
    dims: int
    prep: Prep
    build: Callable[[int, int], nn.Module] | None = None
    recipes: Recipes = field(default_factory=dict)
    members: tuple[str, ...] = ()
    guide: str = ""
    published: str = ""
    imagenet: str = ""

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

    def recipe(self, budget: str) -> TrainConfig:
        """The training recipe of a budget. Raises KeyError naming the budgets there are."""
        if budget not in self.recipes:
            raise KeyError(f"arm {self.name} has no budget {budget!r}; it has {', '.join(self.recipes)}")
        return self.recipes[budget]


def recipes(standard: TrainConfig, **others: TrainConfig) -> Recipes:
    """Budget -> recipe: the standard one, a smoke test of the same a few steps long, and others by name."""
    smoke = replace(standard, epochs=2, average=0.9)
    return {"standard": standard, "smoke": smoke, **others}
