"""What identifies a run: its name for people, its key for the cache."""

from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass, replace
from importlib import metadata
from typing import Any

import torch

from hipposeg import inference, metrics
from hipposeg.data import n4, prompts
from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold, folds_sha256
from hipposeg.experiments.model import Arm
from hipposeg.experiments.registry import ARMS, NUMERICS
from hipposeg.files import sha256_bytes, to_json
from hipposeg.models import encoders, published
from hipposeg.training import loop
from hipposeg.training.classic import Classic
from hipposeg.training.machine import Machine


@dataclass(frozen=True)
class RunSpec:
    """One arm, trained on one fold with one seed and one budget."""

    arm: str
    folds: str = "grouped"
    fold: int = 0
    seed: int = 0
    budget: str = "standard"

    @property
    def name(self) -> str:
        """Unique name, such as `unet2d.grouped0.s0.standard`."""
        return f"{self.arm}.{self.folds}{self.fold}.s{self.seed}.{self.budget}"

    @property
    def definition(self) -> Arm:
        """The arm. Raises KeyError naming the arms there are."""
        if self.arm not in ARMS:
            raise KeyError(f"no arm is called {self.arm!r}; there are {', '.join(ARMS)}")
        return ARMS[self.arm]


def chosen(settings: Any) -> Any:
    """A dataclass as plain values, without fields at their default: a new option leaves older keys as they are."""
    if not is_dataclass(settings):
        return settings
    found = {}
    for one in fields(settings):
        value, default = getattr(settings, one.name), _default(one)
        if value != default:
            found[one.name] = chosen(value)
            if is_dataclass(default) and type(value) is not type(default):  # equal fields of another kind
                found[one.name]["kind"] = type(value).__name__
    return found


def _default(field: Field) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def members_of(run: RunSpec) -> list[RunSpec]:
    """The runs whose probabilities a fused arm averages: same fold, seed and budget. Empty for any other arm."""
    return [replace(run, arm=name) for name in run.definition.members]


def needed_by(run: RunSpec) -> list[RunSpec]:
    """The runs that must be finished first, same fold, seed and budget: members of a fused arm, or an arm's guide."""
    guide = run.definition.guide
    return members_of(run) + ([replace(run, arm=guide)] if guide else [])


def recipe_of(run: RunSpec) -> dict:
    """Everything that was decided about a run, as plain values: goes into its config.json."""
    arm = run.definition
    if arm.members:
        return {"prep": asdict(arm.prep), "members": {member.arm: recipe_of(member) for member in members_of(run)}}
    return {
        "prep": asdict(arm.prep),
        "n4": asdict(n4.N4Params()) if arm.prep.n4 else {},
        "training": asdict(arm.recipe(run.budget)) if arm.trains else {},
        "network": arm.network,
        **({"guide": {one.arm: recipe_of(one) for one in needed_by(run)}} if arm.guide else {}),
    }


def numerics_of(arm: Arm) -> str:
    """Versions of all arithmetic behind an arm's scores, such as "unet1-train1-inference1-metrics1"."""
    if arm.members:
        return "+".join(sorted({numerics_of(ARMS[name]) for name in arm.members}))
    made = f"train{loop.NUMERICS}-inference{inference.NUMERICS}" if arm.trains else f"inference{inference.NUMERICS}"
    corrected = f"-n4.{n4.VERSION}" if arm.prep.n4 else ""
    guided = f"-by-{ARMS[arm.guide].family}{NUMERICS[ARMS[arm.guide].family]}" if arm.guide else ""
    return f"{arm.family}{NUMERICS[arm.family]}-{made}-metrics{metrics.NUMERICS}{corrected}{guided}"


def current_numerics() -> dict[str, str]:
    """Arm -> version that a run made now would have; `table.collect` marks what is behind."""
    return {name: numerics_of(arm) for name, arm in ARMS.items()}


def run_key(run: RunSpec, cohort: Cohort, fold: Fold, machine: Machine) -> str:
    """Hash of all that a run's bytes depend on: recipe, data, fold, device, precision, threads, torch, numerics.

    Raises FileNotFoundError for an arm that starts from published weights, or is such a model, where they are missing.
    """
    arm = run.definition
    parts = {
        "run": asdict(run),
        "network": arm.network,
        "prep": chosen(arm.prep),
        "training": chosen(arm.recipe(run.budget)) if arm.trains else {},
        "n4": asdict(n4.N4Params()) if arm.prep.n4 else {},
        "numerics": numerics_of(run.definition),
        "data": cohort.sha256,
        "fold": folds_sha256(fold),
        "machine": asdict(machine),
        "torch": torch.__version__,
    }
    if machine.channels_last:  # named only where it is, so that it leaves the keys of other machines as they are
        parts["layout"] = "channels-last"
    if arm.trains and isinstance(arm.recipe(run.budget).augmentation, Classic):
        parts["torchvision"] = metadata.version("torchvision")
    if arm.members:
        parts["members"] = [run_key(member, cohort, fold, machine) for member in members_of(run)]
    if arm.guide:
        parts["guide"] = [run_key(one, cohort, fold, machine) for one in needed_by(run)]
    if arm.published:
        parts["checkpoint"] = published.digest(published.checkpoint(arm.published))
    if arm.imagenet:
        parts["imagenet"] = encoders.imagenet_digest(arm.imagenet)
    if arm.family in ("clip", "guided"):  # what they read
        parts["texts"] = prompts.digest()
    return sha256_bytes(to_json(parts).encode())
