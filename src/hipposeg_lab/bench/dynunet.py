"""MONAI's DynUNet pipeline for Task04, with MONAI's network, transforms, loss and inferer.

Settings after Project-MONAI/tutorials, modules/dynunet_pipeline (task_params.py, transforms.py, train.py and
commands/task04): 500 epochs of SGD at a constant 0.1, then 50 epochs at 0.001 from those weights, without decay. The
pipeline continues from the epoch with the best validation score, this one from the last, because no test case may
choose an epoch.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from hipposeg.data.cohort import Cohort
from hipposeg.data.folds import Fold
from hipposeg.training.machine import Machine
from hipposeg_lab.bench.system import in_bf16

PATCH, BATCH, CHANNELS = (40, 56, 40), 9, (32, 64, 128, 256)
STRIDES, SUPERVISED = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)), 1
STAGES = ({"epochs": 500, "lr": 0.1, "positive": 2}, {"epochs": 50, "lr": 0.001, "positive": 1})
MOMENTUM, WEIGHT_DECAY, CLIP, WORKERS, SEED = 0.99, 3e-5, 12.0, 4, 0
WINDOW = {"roi_size": PATCH, "sw_batch_size": 4, "overlap": 0.5, "mode": "gaussian"}
MIRRORED = ((2,), (3,), (4,), (2, 3), (2, 4), (3, 4), (2, 3, 4))


def configuration() -> dict[str, Any]:
    """What enters the cell's key."""
    network = {"patch": PATCH, "batch": BATCH, "channels": CHANNELS, "strides": STRIDES, "supervised": SUPERVISED}
    optimiser = {"momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY, "clip": CLIP, "stages": STAGES, "seed": SEED}
    return network | optimiser | {"window": WINDOW, "workers": WORKERS}


def stage_at(share: float) -> int:
    """The stage after this fraction of a shortened schedule: 0, and 1 in the last eleventh."""
    first, second = (stage["epochs"] for stage in STAGES)
    return int(share >= first / (first + second))


class DynUNet:
    """The pipeline in training, a `system`."""

    volumes_per_step = BATCH

    def __init__(self, cohort: Cohort, fold: Fold, machine: Machine, bf16: bool) -> None:
        from monai.inferers import SlidingWindowInferer
        from monai.losses import DiceCELoss
        from monai.networks.nets import DynUNet as Network
        from monai.utils import set_determinism

        torch.set_num_threads(machine.threads)
        set_determinism(SEED)
        torch.use_deterministic_algorithms(False)
        self.cohort, kernels = cohort, [(3, 3, 3)] * len(STRIDES)
        self.network = Network(
            3, len(cohort.spec.channels), cohort.spec.n_classes, kernels, STRIDES, STRIDES[1:], filters=CHANNELS,
            norm_name="instance", deep_supervision=True, deep_supr_num=SUPERVISED,
        )  # fmt: skip
        if bf16:
            in_bf16(self.network)
        self.loss = DiceCELoss(to_onehot_y=True, softmax=True)
        self.window = SlidingWindowInferer(**WINDOW)
        workers = min(WORKERS, machine.threads)
        self.loaders = [_batches(cohort, fold["train"], stage["positive"], workers) for stage in STAGES]
        self._begin(0)

    def _begin(self, stage: int) -> None:
        """Start a stage with a new optimiser, as its command line does."""
        self.stage, weights = stage, self.network.parameters()
        options = {"momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY, "nesterov": True}
        self.optimiser = torch.optim.SGD(weights, STAGES[stage]["lr"], **options)

    def spend(self, share: float) -> None:
        """Start the second stage when it is due."""
        if stage_at(share) != self.stage:
            self._begin(stage_at(share))

    def step(self) -> None:
        """One batch; the deeper output's loss has weight 0.5."""
        batch = next(self.loaders[self.stage])
        self.network.train()
        self.optimiser.zero_grad()
        outputs = self.network(batch["image"]).unbind(1)  # finest first, all (B, K, X, Y, Z)
        sum(0.5**depth * self.loss(output, batch["label"]) for depth, output in enumerate(outputs)).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.optimiser.step()

    def loaded(self, case: int) -> np.ndarray:
        """The image, (C, X, Y, Z)."""
        return self.cohort.cases[case].image

    @torch.inference_mode()
    def predict(self, image: np.ndarray) -> np.ndarray:
        """The mask, uint8 (X, Y, Z): foreground crop, normalisation, sliding window, mean over flips."""
        from monai.transforms import NormalizeIntensity
        from monai.transforms.utils import generate_spatial_bounding_box

        self.network.eval()
        low, high = generate_spatial_bounding_box(image)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        normalised = NormalizeIntensity(nonzero=True, channel_wise=True)(image[(slice(None), *box)].copy())
        inputs = torch.as_tensor(np.asarray(normalised))[None]
        found = self.window(inputs, self.network).softmax(1)
        for axes in MIRRORED:
            found += self.window(inputs.flip(axes), self.network).flip(axes).softmax(1)
        mask = np.zeros(image.shape[1:], dtype=np.uint8)
        mask[box] = found[0].argmax(0).numpy()
        return mask

    def close(self) -> None:
        """End the generators, and with them their loaders' processes."""
        for loader in self.loaders:
            loader.close()


def _batches(cohort: Cohort, cases: list[int], positive: int, workers: int) -> Iterator[dict[str, Any]]:
    """Endless augmented batches; as in the pipeline, deterministic transforms run once, beforehand."""
    from monai.data import CacheDataset, DataLoader

    items = [{"image": cohort.cases[n].image, "label": cohort.cases[n].label[None]} for n in cases]
    data = CacheDataset(items, _transforms(positive), progress=False)
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=workers, drop_last=True)

    def endless() -> Iterator[dict[str, Any]]:
        while True:
            yield from loader

    return endless()


def _transforms(positive: int) -> Any:
    """Its training transforms, after reading."""
    from monai import transforms as t

    both = ["image", "label"]
    interpolated = {"mode": ("trilinear", "nearest"), "align_corners": (True, None)}
    smooth = dict.fromkeys(("sigma_x", "sigma_y", "sigma_z"), (0.5, 1.15))
    return t.Compose([
        t.CropForegroundd(both, source_key="image"),
        t.NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        t.SpatialPadd(both, PATCH),
        t.RandCropByPosNegLabeld(both, "label", PATCH, pos=positive, neg=1, num_samples=1, image_key="image"),
        t.RandZoomd(both, prob=0.15, min_zoom=0.9, max_zoom=1.2, **interpolated),
        t.RandGaussianNoised("image", prob=0.15, std=0.01),
        t.RandGaussianSmoothd("image", prob=0.15, **smooth),
        t.RandScaleIntensityd("image", factors=0.3, prob=0.15),
        *(t.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)),
        t.CastToTyped(both, dtype=(np.float32, np.uint8)),
        t.ToTensord(both),
    ])  # fmt: skip
