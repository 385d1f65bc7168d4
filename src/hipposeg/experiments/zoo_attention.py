"""Models of notebook 05: each differs from a model without attention in the network alone."""

from dataclasses import replace
from functools import partial

from hipposeg.experiments.model import Model
from hipposeg.experiments.zoo2d import ZOO_2D
from hipposeg.experiments.zoo3d import ZOO_3D
from hipposeg.models.attention import AttentionUNet

_TWINS = {model.name: model for model in (*ZOO_2D, *ZOO_3D)}


def _twin(of: str, name: str, family: str, build: partial) -> Model:
    """The model `of` with another network, and the same input and schedules."""
    model = _TWINS[of]
    kept = {schedule: model.schedules[schedule] for schedule in ("standard", "smoke")}
    return replace(model, name=name, notebook="05", family=family, build=build, schedules=kept)


def _gated(of: str) -> tuple[Model, Model]:
    """A U-Net with attention gates, and its control: gates with one weight for the whole sample."""
    plain = _TWINS[of].build
    gates = partial(AttentionUNet, *plain.args, **plain.keywords)
    constant = partial(gates, spatial=False)
    name = of.replace("unet", "attention")
    return _twin(of, name, "attention", gates), _twin(of, f"{name}-constant", "attention", constant)


_SCSE = partial(_TWINS["unet2d-mobilenetv3"].build, attention="scse")

ZOO_ATTENTION = (
    *_gated("unet2d"),
    *_gated("unet3d"),
    _twin("unet2d-mobilenetv3", "scse2d", "encoder", _SCSE),
)
