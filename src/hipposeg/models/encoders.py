"""U-Nets with encoders from segmentation-models-pytorch (Iakubovskii 2019), for slices of about 50 voxels a side.

These encoders halve the resolution in their first layer and have no skip at full resolution. On photographs that costs
little; on a structure ten voxels thick it costs the border. So a light branch at full resolution joins the decoder.
"""

import os
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from hipposeg.files import sha256_bytes
from hipposeg.models.unet import Block


def imagenet_weights(encoder: str, fetch: bool = True) -> Path | None:
    """File with the ImageNet weights of smp's encoder "tu-<name>", from the local cache or the hub; None without one.

    The hub is contacted if `fetch`, unless HIPPOSEG_OFFLINE=1.
    """
    import timm
    from huggingface_hub import constants, hf_hub_download

    published = timm.models.get_pretrained_cfg(encoder.removeprefix("tu-"))
    offline = not fetch or os.environ.get("HIPPOSEG_OFFLINE") == "1" or not _has_network(constants.ENDPOINT)
    try:
        return Path(hf_hub_download(published.hf_hub_id, "model.safetensors", local_files_only=offline, etag_timeout=5))
    except Exception:  # the hub's client lets through whatever its HTTP library raises
        return None


def imagenet_digest(encoder: str) -> str:
    """SHA-256 of an encoder's ImageNet weights.

    Raises FileNotFoundError if they are not available, and ValueError if the hub's cache, which names a file by its
    SHA-256, holds a damaged one.
    """
    path = imagenet_weights(encoder)
    if path is None:
        raise FileNotFoundError(
            f"no ImageNet weights of {encoder}, neither in the local cache nor on the hub; make the hub reachable, or "
            "train the model of the same name without `+imagenet`, which starts from random weights"
        )
    digest, name = sha256_bytes(path.read_bytes()), path.resolve().name
    if re.fullmatch("[0-9a-f]{64}", name) and name != digest:
        raise ValueError(
            f"{path.resolve()}: found a damaged file, expected SHA-256 {name}. Delete it; it is fetched again"
        )
    return digest


def _has_network(address: str) -> bool:
    """Whether a server's name resolves; otherwise the hub's client would retry for half a minute."""
    try:
        socket.getaddrinfo(urlsplit(address).hostname, None)
    except OSError:
        return False
    return True


class EncoderUNet(nn.Module):
    """smp's U-Net with a full-resolution branch that joins its last decoder stage.

    Args:
        encoder: smp's name of a timm encoder, such as "tu-tf_mobilenetv3_small_100".
        in_channels, n_classes: as of `UNet`.
        weights: file with the encoder's weights (`imagenet_weights`), or None for random ones.
        decoder: widths of the decoder's stages; their number is the encoder's depth.
        attention: in every decoder stage, smp's "scse" (Roy et al. 2018, arXiv:1803.02579), timm's "cbam" (Woo et al.
            2018, arXiv:1807.06521), or None.

    Input (B, in_channels, H, W), output (B, n_classes, H, W) logits. H and W must be divisible by `divisor`.
    """

    def __init__(
        self,
        encoder: str,
        in_channels: int,
        n_classes: int,
        weights: Path | None = None,
        decoder: tuple[int, ...] = (128, 64, 32, 16, 16),
        attention: str | None = None,
    ) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp
        from timm.layers.cbam import CbamModule

        self.divisor = 2 ** len(decoder)
        width = decoder[-1]
        self.unet = smp.Unet(
            encoder,
            encoder_depth=len(decoder),
            encoder_weights=True if weights else None,
            decoder_channels=decoder,
            decoder_attention_type="scse" if attention == "scse" else None,
            in_channels=in_channels,
            classes=width,
            **({"pretrained_cfg_overlay": {"file": str(weights)}} if weights else {}),
        )
        model = self.unet.encoder.model
        stages, _, last = model.feature_info.module_name()[-1].partition(".")
        setattr(model, stages, getattr(model, stages)[: int(last) + 1])  # without the layers behind the last used stage
        if attention == "cbam":
            for block in self.unet.decoder.blocks:
                block.attention1 = CbamModule(block.conv1[0].in_channels)
                block.attention2 = CbamModule(block.conv2[0].out_channels)
        if attention:  # the last stage has no skip, and smp never runs the layer that it made to weigh it
            self.unet.decoder.blocks[-1].attention1 = nn.Identity()
        self.full_resolution = Block(2, in_channels, width)
        self.merge = Block(2, 2 * width, width)
        self.head = nn.Conv2d(width, n_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, n_classes, H, W)."""
        both = torch.cat([self.unet(x), self.full_resolution(x)], dim=1)  # (B, 2 * width, H, W)
        return self.head(self.merge(both))
