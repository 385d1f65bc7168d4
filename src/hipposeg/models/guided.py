"""A U-Net with a text-guided head: CLIP's embedding of the whole slice, and classes as directions in CLIP's space.

After a published student project (named in notebook 06), with two parts that can be switched:

- The frozen image tower's embedding is projected, repeated over the bottleneck and merged.
- Each pixel is embedded in CLIP's space; its logits are cosines with one vector per class, the mean embedding of the
  class's prompts, times a learned scale. With scale 1 the loss has a lower bound above zero.

Text can do little in the second part: the learned pixel embedding can undo a rotation of all class vectors, so only the
angles between the classes carry information.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize

from hipposeg.models.clip import HIGHEST_SCALE, empty_tower, exact
from hipposeg.models.unet import CONV, UNet

# Where class vectors come from: text; random ones with the text's angles; the text's under one random rotation; learned
# from one-hot ones; or none, which leaves the plain head.
TEXT, GRAM, ROTATED, LEARNED, NONE = "text", "gram", "rotated", "learned", "none"
# What is merged at the bottleneck: the trained tower's feature, that of a tower with random weights (drawn after the
# U-Net's own, so not those that the guide began with), zeros, or nothing.
TOWER, UNTRAINED, ZEROED = "tower", "untrained", "zeroed"
# The logarithm of a learned scale is this many times a weight: one weight of its own has further to go than others.
FIRST_SCALE, SPEED = 1 / 0.07, 10


class GuidedUNet(UNet):
    """The U-Net with CLIP's guidance; initial weights and first four arguments as of `UNet`.

    In 3D only the head is guided, because the tower works on slices.

    Args:
        vectors: TEXT, GRAM, ROTATED, LEARNED or NONE.
        prompts: set of `data.captions`.
        image: TOWER, UNTRAINED, ZEROED or NONE.
        scale: a fixed one; None learns it, starting at FIRST_SCALE.
        embed: dimensions of CLIP's space.
        tower: a published model of open_clip, "" for HippoCLIP's.

    Input (B, in_channels, *S) and optionally the tower's embeddings of the unchanged images (B, embed). Output
    (B, n_classes, *S) logits. Before `adopt` the tower is untrained and class vectors are random.
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        n_classes: int,
        channels: Sequence[int] = (16, 32, 64, 128),
        *,
        vectors: str = TEXT,
        prompts: str = "geometric",
        image: str = TOWER,
        scale: float | None = None,
        embed: int = 64,
        tower: str = "",
    ) -> None:
        if vectors not in (TEXT, GRAM, ROTATED, LEARNED, NONE) or image not in (TOWER, UNTRAINED, ZEROED, NONE):
            raise ValueError(f"no parts are called vectors={vectors!r}, image={image!r}; see models/guided.py")
        if dims == 3 and image != NONE:
            raise ValueError(f"image is {image!r} in 3D; CLIP's tower sees slices: take {NONE!r}")
        super().__init__(dims, in_channels, n_classes, channels)
        self.vectors, self.prompts, self.image, self.source = vectors, prompts, image, ""
        if vectors != NONE:
            self.head = nn.Identity()
            self.embedding = CONV[dims](channels[0], embed, 1)
            if vectors == LEARNED:
                self.classes = nn.Parameter(torch.eye(n_classes, embed))
            else:
                self.classes = nn.Buffer(normalize(torch.randn(n_classes, embed), dim=-1))
            first = torch.tensor(math.log(scale or FIRST_SCALE) / SPEED)
            self.log_scale = nn.Parameter(first) if scale is None else nn.Buffer(first)
        if image != NONE:
            # The merged feature passes a nonlinearity before the next norm, which would take away what is equal at all
            # places of a channel.
            self.project = nn.Linear(embed, channels[-1])
            self.fuse = nn.Sequential(CONV[dims](2 * channels[-1], channels[-1], 1), nn.LeakyReLU(0.01))
            with torch.no_grad():  # the bottleneck passes as it is at first, and the feature is added to it
                self.fuse[0].weight[:, : channels[-1]] = torch.eye(channels[-1]).view(*[channels[-1]] * 2, *[1] * dims)
        if self.wants_context:
            self.tower = empty_tower(tower, in_channels, embed).requires_grad_(False)

    @property
    def scale(self) -> Tensor:
        """Factor of the cosines."""
        return (SPEED * self.log_scale).exp().clamp(max=HIGHEST_SCALE)

    def noted(self) -> dict[str, float]:
        """Numbers for the history."""
        return {} if self.vectors == NONE else {"scale": float(self.scale.detach())}

    @torch.no_grad()
    def adopt(self, guide: nn.Module, prompts: Callable[[str], list[tuple[str, ...]]], generator: Generator) -> None:
        """Copy the image tower of a `Clip` (or `AttributeTower`) and, where text is used, embeddings of the prompts.

        prompts: name of a set -> prompts of each class, background first. generator: for random vectors.
        """
        self.source = guide.source
        if self.image == TOWER:
            self.tower.load_state_dict(guide.tower.state_dict())
        if self.vectors in (LEARNED, NONE):
            return
        found = guide.vectors(prompts(self.prompts)).cpu()
        if self.vectors == GRAM:
            found = same_angles(found, generator)
        elif self.vectors == ROTATED:
            found = rotated(found, generator)
        self.classes.copy_(found)

    @property
    def wants_context(self) -> bool:
        """Whether the frozen tower's embeddings are used; they can be computed once per training sample."""
        return self.image in (TOWER, UNTRAINED)

    @torch.no_grad()
    def context(self, images: Tensor) -> Tensor:
        """(B, in_channels, *S) -> the frozen tower's embeddings (B, embed), or zeros."""
        return self.tower(images) if self.wants_context else images.new_zeros(len(images), self.project.in_features)

    def features(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, in_channels, *S) -> (B, channels[0], *S): the input of the head."""
        *skips, deepest = self.encoded(images)
        if self.image != NONE:
            found = self.project(self.context(images) if context is None else context)  # (B, channels[-1])
            spread = found.view(*found.shape, *[1] * (images.ndim - 2)).expand_as(deepest)
            deepest = self.fuse(torch.cat([deepest, spread.to(deepest.dtype)], dim=1))
        return self.decoded(*skips, deepest)[0]

    def similarity(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, in_channels, *S) -> cosines of each pixel with the class vectors, (B, n_classes, *S) float32.

        A pixel's embedding e = W x + b, four times as long as x, is never written out: with x extended by a 1 and A =
        [W b], its product with a class vector is (t A) x, and its squared length x'(A'A)x.
        """
        features = self.features(images, context)
        with exact(images):
            x = torch.cat([features.float(), torch.ones_like(features[:, :1], dtype=torch.float32)], dim=1)
            matrix = torch.cat([self.embedding.weight.flatten(1), self.embedding.bias[:, None]], dim=1)  # (D, C + 1)
            rows = torch.cat([normalize(self.classes, dim=-1) @ matrix, matrix.T @ matrix])
            found = torch.einsum("rc,bc...->br...", rows, x)
            products, squares = found[:, : len(self.classes)], found[:, len(self.classes) :]
            return products / (x * squares).sum(1, keepdim=True).clamp(min=1e-8).sqrt()

    def forward(self, images: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, in_channels, *S), (B, embed) -> (B, n_classes, *S)."""
        if self.vectors == NONE:
            return self.head(self.features(images, context))
        return self.scale * self.similarity(images, context)


def rotated(vectors: Tensor, generator: Generator) -> Tensor:
    """(K, D) under one random rotation or reflection: angles stay, directions change."""
    return vectors @ _orthonormal(vectors.shape[1], vectors.shape[1], generator)


def same_angles(vectors: Tensor, generator: Generator) -> Tensor:
    """Random vectors (K, D) with the Gram matrix of the given ones."""
    values, basis = torch.linalg.eigh((vectors @ vectors.T).double())
    root = (basis * values.clamp(min=0).sqrt()) @ basis.T
    return root.float() @ _orthonormal(vectors.shape[1], len(vectors), generator).T


def _orthonormal(rows: int, columns: int, generator: Generator) -> Tensor:
    # With orthonormal columns, uniformly distributed.
    q, r = torch.linalg.qr(torch.randn(rows, columns, generator=generator))
    return q * r.diagonal().sign()
