"""U-Nets on encoders from segmentation-models-pytorch (Iakubovskii 2019), for slices of about 50 voxels a side.

Ready-made encoders halve the resolution in their first layer and keep no skip at full resolution. On photographs that
costs little; on a structure that is ten voxels thick it costs the border. So one light block looks at the slice at full
resolution beside the encoder, and joins the decoder's output at the end.
"""

import logging
import os

import torch
from torch import Tensor, nn

from hipposeg.models.unet import Block

log = logging.getLogger(__name__)


def imagenet_weights(encoder: str) -> str | None:
    """ "imagenet" if the encoder's published weights are in the local cache or can be fetched, else None.

    With HIPPOSEG_OFFLINE=1 only the cache is looked at. Says in the log which it was.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from segmentation_models_pytorch.encoders import encoders

    published = encoders[encoder]["pretrained_settings"]["imagenet"]
    offline = os.environ.get("HIPPOSEG_OFFLINE") == "1"
    try:
        hf_hub_download(
            published["repo_id"],
            "model.safetensors",
            revision=published["revision"],
            local_files_only=offline,
            etag_timeout=5,
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        log.warning("no ImageNet weights for %s (%s): training from scratch", encoder, type(error).__name__)
        return None
    return "imagenet"


class EncoderUNet(nn.Module):
    """smp's U-Net, and a full-resolution branch that joins its last decoder stage.

    Args:
        encoder: smp's name of the encoder, such as "timm-mobilenetv3_small_100".
        in_channels, n_classes: as for `UNet`.
        weights: "imagenet" or None.
        decoder: widths of the decoder's stages; their number is the encoder's depth.

    Input (B, in_channels, H, W), output (B, n_classes, H, W) logits; H and W must be divisible by `divisor`
    (smp raises RuntimeError otherwise).
    """

    def __init__(
        self,
        encoder: str,
        in_channels: int,
        n_classes: int,
        weights: str | None = None,
        decoder: tuple[int, ...] = (128, 64, 32, 16, 16),
    ) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp

        self.divisor = 2 ** len(decoder)
        width = decoder[-1]
        self.unet = smp.Unet(
            encoder,
            encoder_depth=len(decoder),
            encoder_weights=weights,
            decoder_channels=decoder,
            in_channels=in_channels,
            classes=width,
        )
        self.full_resolution = Block(2, in_channels, width)
        self.merge = Block(2, 2 * width, width)
        self.head = nn.Conv2d(width, n_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, n_classes, H, W)."""
        both = torch.cat([self.unet(x), self.full_resolution(x)], dim=1)  # (B, 2 * width, H, W)
        return self.head(self.merge(both))
