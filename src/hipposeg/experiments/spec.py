"""A planned run: its name, its configuration, and the key that tells whether a finished run is up to date."""

from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass, replace
from importlib import metadata
from typing import Any

from hipposeg import inference, metrics
from hipposeg.data import captions, n4
from hipposeg.data.folds import Fold, folds_sha256
from hipposeg.experiments.model import Model
from hipposeg.experiments.registry import MODELS, NUMERICS
from hipposeg.files import sha256_bytes, to_json
from hipposeg.models import encoders, published
from hipposeg.training import loop
from hipposeg.training.augmentation import Classic


@dataclass(frozen=True)
class RunSpec:
    """One model, trained on one fold with one seed.

    Attributes:
        model: a name in `registry.MODELS`.
        folds: kind of folds: grouped, nnunet, dev, inner, leak-volumes or leak-slices.
        fold: index of the fold.
        seed: of initial weights, batch order and augmentation.
        schedule: one of the model's training schedules, such as standard or S.
        hardware: "" for bfloat16 on a CPU; else "fp32", "cuda", ..., as `Machine.kind` names it.
    """

    model: str
    folds: str = "grouped"
    fold: int = 0
    seed: int = 0
    schedule: str = "standard"
    hardware: str = ""

    @property
    def name(self) -> str:
        """Unique name, such as `unet2d.grouped0.s0.standard` or `unet2d.grouped0.s0.standard.fp32`."""
        plain = f"{self.model}.{self.folds}{self.fold}.s{self.seed}.{self.schedule}"
        return f"{plain}.{self.hardware}" if self.hardware else plain

    @property
    def definition(self) -> Model:
        """The model. Raises KeyError with all names."""
        if self.model not in MODELS:
            raise KeyError(f"there is no model {self.model!r}; choose one of {', '.join(MODELS)}")
        return MODELS[self.model]


def chosen(settings: Any) -> Any:
    """A dataclass as plain values without fields at their default, so that a new option leaves older keys valid."""
    if not is_dataclass(settings):
        return settings
    found = {}
    for one in fields(settings):
        value, default = getattr(settings, one.name), _default(one)
        if value != default:
            found[one.name] = chosen(value)
            if is_dataclass(default) and type(value) is not type(default):  # equal fields of another class
                found[one.name]["kind"] = type(value).__name__
    return found


def _default(field: Field) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def members_of(run: RunSpec) -> list[RunSpec]:
    """The runs that an ensemble averages (same fold, seed and schedule); empty for a single network."""
    return [replace(run, model=name) for name in run.definition.members]


def needed_by(run: RunSpec) -> list[RunSpec]:
    """The runs that must be finished first: the members of an ensemble, or the teacher of a text-guided network."""
    guide = run.definition.guide
    return members_of(run) + ([replace(run, model=guide)] if guide else [])


def configuration_of(run: RunSpec) -> dict:
    """The whole configuration of a run as plain values, as stored in configs.json."""
    model = run.definition
    if model.members:
        members = {member.model: configuration_of(member) for member in members_of(run)}
        return {"prep": asdict(model.prep), "members": members}
    return {
        "prep": asdict(model.prep),
        "n4": asdict(n4.N4Params()) if model.prep.n4 else {},
        "training": asdict(model.training(run.schedule)) if model.trains else {},
        "network": model.network,
        **({"guide": {one.model: configuration_of(one) for one in needed_by(run)}} if model.guide else {}),
    }


def numerics_of(model: Model) -> str:
    """Versions of all arithmetic behind a model's scores, such as "unet1-train1-inference1-metrics1"."""
    if model.members:
        return "+".join(sorted({numerics_of(MODELS[name]) for name in model.members}))
    made = f"train{loop.NUMERICS}-inference{inference.NUMERICS}" if model.trains else f"inference{inference.NUMERICS}"
    corrected = f"-n4.{n4.VERSION}" if model.prep.n4 else ""
    guided = f"-by-{MODELS[model.guide].family}{NUMERICS[MODELS[model.guide].family]}" if model.guide else ""
    return f"{model.family}{NUMERICS[model.family]}-{made}-metrics{metrics.NUMERICS}{corrected}{guided}"


def run_key(run: RunSpec, data_sha256: str, fold: Fold) -> str:
    """Hash of everything that was decided about a run: configuration, data, fold, precision and numerics.

    Processor, number of threads and build of torch are left out: they change the last digits, as another seed does.

    Raises:
        FileNotFoundError: the model starts from published weights that are not on this machine.
    """
    model = run.definition
    parts = {
        "run": asdict(run),
        "network": model.network,
        "prep": chosen(model.prep),
        "training": chosen(model.training(run.schedule)) if model.trains else {},
        "n4": asdict(n4.N4Params()) if model.prep.n4 else {},
        "numerics": numerics_of(model),
        "data": data_sha256,
        "fold": folds_sha256(fold),
    }
    if model.trains and isinstance(model.training(run.schedule).augmentation, Classic):
        parts["torchvision"] = metadata.version("torchvision")
    if needed := needed_by(run):
        parts["needed"] = [run_key(one, data_sha256, fold) for one in needed]
    if model.published:
        parts["checkpoint"] = published.digest(published.checkpoint(model.published))
    if model.imagenet:
        parts["imagenet"] = encoders.imagenet_digest(model.imagenet)
    if model.family in ("clip", "guided"):
        parts["texts"] = captions.digest()
    return sha256_bytes(to_json(parts).encode())
