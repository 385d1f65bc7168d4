"""Every model by name, and planned runs: name, configuration, and the key that tells whether a run is up to date."""

from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from hipposeg import inference, metrics
from hipposeg.data import captions, n4
from hipposeg.data.folds import Fold, folds_sha256
from hipposeg.experiments.model import Model
from hipposeg.experiments.zoo2d import ZOO_2D
from hipposeg.experiments.zoo3d import VOLUME, ZOO_3D
from hipposeg.experiments.zoo_clip import ZOO_CLIP
from hipposeg.files import sha256_bytes, sha256_file, to_json
from hipposeg.inference import Prep
from hipposeg.models import encoders, published
from hipposeg.training import loop
from hipposeg.training.augmentation import Classic

# Version of each model family's arithmetic: increase one when it changes, and keys of its earlier runs differ.
NUMERICS = {"atlas": 1, "unet": 1, "encoder": 1, "transformer": 1, "inr": 1, "attention": 1, "clip": 3, "guided": 2}

ATLAS = Model(
    "atlas-no-image", "01", "atlas", 3, Prep(size=(36, 50, 36)),
    title="Image-free atlas: the mean training label map stretched to the crop",
)  # fmt: skip

# Ensembles of one 3D and three 2D networks, without and with test-time augmentation.
_MEMBERS = ("unet3d-short", *(f"unet2d-short-axis{axis}" for axis in range(3)))
_MEAN = "Mean probability of the flagship's network and three short 2D U-Nets"
FUSIONS = (
    Model("fusion", "04", "unet", 3, VOLUME, members=_MEMBERS, title=_MEAN),
    Model(
        "fusion+views", "04", "unet", 3, replace(VOLUME, views=True), members=_MEMBERS,
        title=f"{_MEAN}; test-time augmentation",
    ),
)  # fmt: skip

MODELS: dict[str, Model] = {model.name: model for model in (ATLAS, *ZOO_2D, *ZOO_3D, *ZOO_CLIP, *FUSIONS)}

# Best single network on `dev`, chosen before it was evaluated on a test fold.
FLAGSHIP = "unet3d-fast"
# Its successor, whose networks `hipposeg predict` uses.
SCANS = "unet3d-scan"


def with_imagenet(name: str, profile: str) -> str:
    """`<name>+imagenet` if this machine has the encoder's published weights; else, and under some profiles, `name`."""
    model = MODELS[f"{name}+imagenet"]
    has_weights = profile not in ("smoke", "stored") and encoders.imagenet_weights(model.imagenet, fetch=False)
    return model.name if has_weights else name


@dataclass(frozen=True)
class RunSpec:
    """One model, trained on one fold with one seed.

    Attributes:
        model: a name in MODELS.
        folds: kind of folds: grouped, nnunet, dev, inner, leak-volumes or leak-slices.
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
        value, default = getattr(settings, one.name), one.default
        if one.default_factory is not MISSING:
            default = one.default_factory()
        if value != default:
            found[one.name] = chosen(value)
            if is_dataclass(default) and type(value) is not type(default):  # equal fields of another class
                found[one.name]["kind"] = type(value).__name__
    return found


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
        "run": {one.name: getattr(run, one.name) for one in fields(RunSpec)},
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
    if model.start:
        parts["start"] = sha256_file(Path(model.start))
    if model.family in ("clip", "guided"):
        parts["texts"] = captions.digest()
    return sha256_bytes(to_json(parts).encode())
