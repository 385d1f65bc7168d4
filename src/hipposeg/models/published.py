"""Published CLIP weights, from a file or the local cache. Nothing is downloaded."""

import logging
import os
from pathlib import Path

from torch import nn

from hipposeg import files
from hipposeg.models.clip import Clip

log = logging.getLogger(__name__)

# The published model that models can take instead of one trained here, with open_clip's name of its weights.
PUBLISHED = {"ViT-B-32": "laion2b_s34b_b79k"}
# A file with weights of that model, or a folder with open_clip_config.json and weights of another one whose visual
# tower is open_clip's VisionTransformer (not timm's, as in BiomedCLIP).
VARIABLE = "HIPPOSEG_CLIP"


def checkpoint(name: str) -> Path:
    """File or folder with a published model's weights: HIPPOSEG_CLIP, else the local cache's; or FileNotFoundError."""
    from huggingface_hub import hf_hub_download
    from open_clip import get_pretrained_cfg

    given = os.environ.get(VARIABLE)
    if given:
        if Path(given).exists():
            return Path(given)
        raise FileNotFoundError(
            f"{given} is not there; {VARIABLE} must name a checkpoint of open_clip's {name}, or a folder in "
            "open_clip's layout whose visual tower is a VisionTransformer"
        )
    repository = (get_pretrained_cfg(name, PUBLISHED.get(name, "")) or {}).get("hf_hub", "").rstrip("/")
    for file in ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"):
        try:
            return Path(hf_hub_download(repository, file, local_files_only=True))
        except Exception as error:  # the hub's client lets through whatever its HTTP library raises
            log.debug("%s: %s", file, error)
    raise FileNotFoundError(
        f"no weights of open_clip's {name} in the local cache; set {VARIABLE} to a checkpoint file, or fetch "
        f"{repository or name} with huggingface-cli, or take HippoCLIP, which is trained here"
    )


def published(name: str) -> tuple[nn.Module, str, str]:
    """A published model with its weights: open_clip's module, its name for the tokenizer, the source in words.

    Raises:
        FileNotFoundError: there are no weights.
        ValueError: they are of another model, or of one whose patches do not share the space of images and text.
    """
    import open_clip

    found = checkpoint(name)
    whose = "the folder's own model" if found.is_dir() else f"open_clip's {name}"
    named, weights = (f"local-dir:{found}", None) if found.is_dir() else (name, str(found))
    try:
        model = open_clip.create_model(named, pretrained=weights, require_pretrained=True)
        # In open_clip's own ViT one projection follows the patches and the image.
        if getattr(model.visual, "proj", None) is None or getattr(model.visual, "attn_pool", None) is not None:
            raise ValueError(f"a {type(model.visual).__name__} does not project its patches into the common space")
    except Exception as error:  # open_clip, torch and safetensors each raise their own kinds
        raise ValueError(
            f"{found} cannot serve as {whose}; what can are weights of a model whose visual tower is open_clip's "
            f"VisionTransformer: {error}"
        ) from error
    return model, named, f"{whose}, {found.name}, SHA-256 {digest(found)[:16]}"


def digest(path: Path) -> str:
    """SHA-256 of a checkpoint file, or of all files of a folder in order of their names."""
    return files.sha256_bytes(*map(Path.read_bytes, [path] if path.is_file() else sorted(path.glob("*.*"))))


def published_clip(name: str, channels: int, n_classes: int) -> Clip:
    """A published CLIP for slices."""
    model, named, source = published(name)
    return Clip(model, n_classes, source, photograph=True, name=named)
