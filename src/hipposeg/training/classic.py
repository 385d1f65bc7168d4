"""Conventional augmentation: torchvision's transforms, slice by slice, nearest-neighbour labels.

`training.augmentation` changes a whole batch at once and moves soft labels. This is the usual alternative, used for the
configurations of other projects.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from hipposeg.training.augmentation import Batch, centred_points


@dataclass(frozen=True)
class Classic:
    """Probabilities and ranges; 0 switches a change off.

    Attributes:
        flip: probability of a flip along the slice's first axis.
        rotate: degrees, uniform in +/-.
        scale: smallest and largest factor.
        shift: largest shift, as a fraction of the side.
        noise: standard deviation of Gaussian noise, in units of the z-score.
        apart: if set, rotation, the other moves and the flip are alternatives, the first two with this probability
            each.
    """

    flip: float = 0.0
    rotate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    noise: float = 0.0
    apart: float = 0.0


def transform(settings: Classic) -> torch.nn.Module:
    """torchvision's transform of these settings, for tv_tensors of an image and a mask."""
    from torchvision.transforms import v2

    moves = {"scale": settings.scale, "translate": (settings.shift, settings.shift)}
    linear = {"interpolation": v2.InterpolationMode.BILINEAR}
    parts: list[torch.nn.Module] = []
    if settings.apart:
        chances = [settings.apart, settings.apart, settings.flip]
        ways = [v2.RandomAffine(settings.rotate, **linear), v2.RandomAffine(0, **moves, **linear)]
        parts.append(v2.RandomChoice([*ways, v2.RandomVerticalFlip(1), v2.Identity()], [*chances, 1 - sum(chances)]))
        return v2.Compose(parts)
    if settings.flip:
        parts.append(v2.RandomVerticalFlip(settings.flip))  # torchvision's vertical axis is a tensor's first
    if settings.rotate or settings.shift or settings.scale != (1.0, 1.0):
        parts.append(v2.RandomAffine(settings.rotate, **moves, **linear))
    if settings.noise:
        parts.append(v2.GaussianNoise(0.0, settings.noise, clip=False))
    return v2.Compose(parts) if parts else v2.Identity()


def classic(images: Tensor, labels: Tensor, n_classes: int, settings: Classic, generator: Generator) -> Batch:
    """Change a batch of slices at random.

    Arguments and result as of `augmentation.augment`: images (B, C, H, W) float32, labels (B, H, W) uint8. The points
    are those of the unchanged slices.

    Raises:
        ValueError: volumes, which torchvision does not transform.
    """
    from torchvision import tv_tensors

    if images.ndim != 4:
        raise ValueError(f"images have shape {tuple(images.shape)}; torchvision's transforms take slices (B, C, H, W)")
    change = transform(settings)
    changed = []
    with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's global generator
        torch.manual_seed(generator.initial_seed())
        for image, label in zip(images, labels, strict=True):
            changed.append(change(tv_tensors.Image(image), tv_tensors.Mask(label)))
    moved = torch.stack([torch.Tensor(image) for image, _ in changed])
    targets = torch.stack([label.as_subclass(Tensor) for _, label in changed])
    points = centred_points(images.shape[2:]).movedim(-1, 0).expand(len(images), *[-1] * 3)
    shares = one_hot(targets.long(), n_classes).movedim(-1, 1).float()
    return Batch(moved, shares, points.to(images.device))
