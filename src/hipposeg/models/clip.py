"""CLIP through open_clip: a small one for this project's slices; `models.published` loads published ones.

CLIP (Radford et al. 2021, arXiv:2103.00020) trains an image tower and a text tower whose embeddings of an image and its
caption have the same direction. open_clip (Ilharco et al. 2021, doi:10.5281/zenodo.5143773) provides towers, tokenizer
and loss, without network access; it is imported only when a tower is built.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, mse_loss, normalize, pad

from hipposeg.models.unet import margins

HIGHEST_SCALE = 100.0
# Rows of the small text tower's table of tokens.
VOCABULARY, END_OF_TEXT = 4096, 49407


def exact(like: Tensor) -> AbstractContextManager:
    """Context in which cosines, which are multiplied by up to a hundred, are computed in float32."""
    return torch.autocast(like.device.type, enabled=False)


class Tower(nn.Module):
    """Image tower for z-scored slices with their neighbours as channels.

    Pads slices to its own image size. With `photograph` (published towers) it enlarges the middle channel as grey RGB.
    """

    def __init__(self, visual: nn.Module, photograph: bool = False) -> None:
        super().__init__()
        self.visual, self.photograph = visual, photograph

    def prepared(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> input of the tower, (B, C or 3, *its sides)."""
        sides = self.visual.image_size
        if self.photograph:
            from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

            middle = images[:, images.shape[1] // 2, None].clamp(-2, 4)
            grey = interpolate((middle + 2) / 6, size=sides, mode="bilinear", align_corners=False).expand(-1, 3, -1, -1)
            mean, std = (images.new_tensor(v).view(1, 3, 1, 1) for v in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
            return (grey - mean) / std
        return pad(images, margins(images.shape[2:], sides))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D) float32 of length 1."""
        return normalize(self.visual(self.prepared(images)).float(), dim=-1)

    def patches(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, h, w) float32 of length 1: each patch in the space that images and text share."""
        found = self.visual.forward_intermediates(
            self.prepared(images), indices=1, normalize_intermediates=True, intermediates_only=True
        )["image_intermediates"][-1]  # (B, width, h, w)
        with exact(images):
            return normalize(torch.einsum("bchw,cd->bdhw", found.float(), self.visual.proj), dim=1)


class Clip(nn.Module):
    """Both towers, and one vector per class in their space. Called with images it segments by text alone.

    Made of open_clip's model; `source` is the origin of its weights in words, `name` that of a published tokenizer.
    """

    divisor = 1

    def __init__(self, model: nn.Module, n_classes: int, source: str, photograph: bool = False, name: str = "") -> None:
        super().__init__()
        self.tower = Tower(model.visual, photograph)
        del model.visual
        self.text, self.source, self.name = model, source, name
        self.register_buffer("classes", normalize(torch.randn(n_classes, self.tower.visual.output_dim), dim=-1))

    @property
    def scale(self) -> Tensor:
        """Learned factor of the similarities, the inverse of a temperature."""
        return self.text.logit_scale.exp().clamp(max=HIGHEST_SCALE)

    def noted(self) -> dict[str, float]:
        """Numbers for the history."""
        return {"scale": float(self.scale.detach())}

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """(N, L) int64. Raises ValueError for a text that is too long for the tower made here."""
        length = self.text.context_length
        found = _tokenizer(self.name)(list(texts), context_length=length)
        if self.name:
            return found
        if (found[:, -1] > 0).any():
            text = texts[int((found[:, -1] > 0).nonzero()[0])]
            raise ValueError(f"{text!r} has more than the {length - 1} tokens that the text tower reads; shorten it")
        return folded(found)

    def loss(self, images: Tensor, tokens: Tensor) -> Tensor:
        """open_clip's contrastive loss of images (B, C, H, W) and the tokens of their captions (B, L)."""
        from open_clip import ClipLoss

        features = self.tower(images), self._read(tokens)
        with exact(images):
            return ClipLoss()(*features, self.scale)

    def _read(self, tokens: Tensor) -> Tensor:
        return normalize(self.text.encode_text(tokens).float(), dim=-1)

    @torch.no_grad()
    def read(self, texts: Sequence[str]) -> Tensor:
        """Texts -> (N, D) float32 of length 1."""
        return self._read(self.tokens(texts).to(self.classes.device))

    def vectors(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """Prompts of each class -> (K, D) of length 1, the mean direction of its prompts."""
        return normalize(torch.stack([self.read(said).mean(0) for said in prompts]), dim=-1)

    def similarity(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> cosines of patches with `classes`, (B, K, H, W) float32, linearly enlarged."""
        patches = self.tower.patches(images)
        with exact(images):
            found = torch.einsum("bdhw,kd->bkhw", patches, self.classes)
            return _enlarged(found, images.shape[2:], self.tower)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits: scaled similarity of patches to the classes."""
        return self.scale * self.similarity(images)


class AttributeTower(nn.Module):
    """The same image tower, trained to predict the captions' facts as numbers: a control without language."""

    divisor = 1
    source = "trained here on the captions' facts as numbers, without text"

    def __init__(self, tower: Tower, n_classes: int) -> None:
        super().__init__()
        self.tower = tower
        self.head = nn.Linear(tower.visual.output_dim, n_classes + 2)  # parts, place, area, size

    def loss(self, images: Tensor, attributes: Tensor) -> Tensor:
        """Mean squared error of the attributes (B, A) of images (B, C, H, W)."""
        features = self.tower(images)
        with exact(images):
            return mse_loss(self.head(features), attributes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W): a part where its attribute is nearer to visible, else background."""
        patches = self.tower.patches(images)
        with exact(images):
            found = self.head(patches.movedim(1, -1)).movedim(-1, 1)  # (B, A, h, w)
            visible = found[:, : self.head.out_features - 3]
            logits = torch.cat([torch.full_like(found[:, :1], 0.5), visible], 1)
            return _enlarged(logits, images.shape[2:], self.tower)


def _enlarged(patches: Tensor, sides: Sequence[int], tower: Tower) -> Tensor:
    """Values of patches (B, K, h, w) as of pixels (B, K, *sides), linearly; inverts `Tower.prepared`."""
    if tower.photograph:
        return interpolate(patches, size=tuple(sides), mode="bilinear", align_corners=False)
    whole = interpolate(patches, size=tower.visual.image_size, mode="bilinear", align_corners=False)
    # Beyond the tower's image all classes are equal, and the background comes first.
    return pad(whole, [-margin for margin in margins(sides, tower.visual.image_size)])


def _model(channels: int, embed: int) -> nn.Module:
    """open_clip's model with a small ViT and a small text tower."""
    from open_clip.model import CLIP

    visual = {"image_size": 40, "patch_size": 5, "width": 64, "layers": 4, "head_width": 32}
    text = {"context_length": 64, "vocab_size": VOCABULARY, "width": 64, "heads": 2, "layers": 2}
    # The mean over patches, not a token of its own: so patches lie in the shared space, too.
    model = CLIP(embed, {**visual, "pool_type": "avg"}, text)
    if channels != 3:
        model.visual.conv1 = nn.Conv2d(channels, 64, 5, 5, bias=False)
    return model


def hippoclip(channels: int, n_classes: int, embed: int = 64) -> Clip:
    """HippoCLIP, untrained: four layers of width 64, and patches of 5 voxels in slices of 40."""
    return Clip(_model(channels, embed), n_classes, "trained here on captions from labels")


def attribute_tower(channels: int, n_classes: int, embed: int = 64) -> AttributeTower:
    """The control without language: the tower of `hippoclip` with the same initial weights."""
    return AttributeTower(hippoclip(channels, n_classes, embed).tower, n_classes)


@lru_cache(maxsize=4)
def _tokenizer(name: str) -> Any:
    """open_clip's own tokenizer, or that of a published model."""
    import open_clip

    return open_clip.get_tokenizer(name) if name else open_clip.SimpleTokenizer()


def folded(tokens: Tensor) -> Tensor:
    """Map open_clip's token numbers (up to 49407) to rows of a small table, which words of captions do not share.

    Padding stays 0; the end-of-text token stays the highest, by which the tower finds it.
    """
    found = tokens % (VOCABULARY - 3) + 1
    found[tokens == 0] = 0
    found[tokens == END_OF_TEXT] = VOCABULARY - 1
    return found


def empty_tower(name: str, channels: int, embed: int) -> Tower:
    """A tower with initial weights: HippoCLIP's for the name "", else that of a published model."""
    if not name:
        return hippoclip(channels, 1, embed).tower
    import open_clip

    return Tower(open_clip.create_model(name).visual, photograph=True)
