"""Published CLIPs: weights that others trained, from a file or from the local cache. Nothing is downloaded."""

import logging
import os
from pathlib import Path

from torch import nn

from hipposeg import files
from hipposeg.models.clip import Clip

log = logging.getLogger(__name__)

# The published model that arms can take instead of one trained here, with open_clip's name of its weights.
PUBLISHED = {"ViT-B-32": "laion2b_s34b_b79k"}
# A file with the weights of such a model, or a folder with open_clip_config.json and weights (any open_clip model).
VARIABLE = "HIPPOSEG_CLIP"


def checkpoint(name: str, path: Path | None = None) -> Path:
    """The file (or folder) with a published model's weights: `path`, else HIPPOSEG_CLIP, else the local cache.

    Nothing is downloaded. Raises FileNotFoundError saying what was looked for and what to do.
    """
    from huggingface_hub import hf_hub_download
    from open_clip import get_pretrained_cfg

    given = path or os.environ.get(VARIABLE)
    if given:
        if Path(given).exists():
            return Path(given)
        raise FileNotFoundError(f"{given} is not there; {VARIABLE} must name a checkpoint that open_clip reads")
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


def published(name: str, path: Path | None = None) -> tuple[nn.Module, str, str]:
    """A published model with its weights: (open_clip's module, its name for the tokenizer, the source in words).

    name: open_clip's, such as "ViT-B-32". path: see `checkpoint`; a folder holds a model of its own and needs no name.
    Raises FileNotFoundError without weights, ValueError if they are not of this model.
    """
    import open_clip

    found = checkpoint(name, path)
    named, weights = (f"local-dir:{found}", None) if found.is_dir() else (name, str(found))
    try:
        model = open_clip.create_model(named, pretrained=weights, require_pretrained=True)
    except Exception as error:  # open_clip, torch and safetensors each raise their own kinds
        raise ValueError(f"{found} does not hold weights of open_clip's {name}: {error}") from error
    return model, named, f"open_clip's {name}, {found.name}, SHA-256 {digest(found)[:16]}"


def digest(path: Path) -> str:
    """SHA-256 of a checkpoint: of the file, or of all files of the folder in order of their names."""
    return files.sha256_bytes(*map(Path.read_bytes, [path] if path.is_file() else sorted(path.glob("*.*"))))


def published_clip(name: str, channels: int, n_classes: int) -> Clip:
    """A published CLIP as it is, for slices."""
    model, named, source = published(name)
    return Clip(model, n_classes, source, photograph=True, name=named)
