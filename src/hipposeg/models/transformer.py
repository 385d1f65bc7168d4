"""MONAI's UNETR (Hatamizadeh et al. 2022, arXiv:2103.10504)."""

from torch import Tensor, nn
from torch.nn.functional import pad

from hipposeg.models.unet import margins


class UNETR(nn.Module):
    """MONAI's UNETR for any sides divisible by 8: inputs are padded to its size and logits cut back.

    Args:
        in_channels, n_classes: as of `UNet`.
        size: largest input, each side divisible by 16.

    Input (B, in_channels, X, Y, Z), output (B, n_classes, X, Y, Z) logits. Raises ValueError for a larger input.
    """

    def __init__(self, in_channels: int, n_classes: int, size: tuple[int, int, int] = (48, 64, 48)) -> None:
        super().__init__()
        from monai.networks.nets import unetr

        self.divisor, self.size = 8, size
        self.net = unetr.UNETR(
            in_channels, n_classes, size, feature_size=8, hidden_size=192, mlp_dim=768, num_heads=6,
            norm_name="instance", res_block=True,
        )  # fmt: skip
        for block in self.net.vit.blocks:  # MONAI makes these norms for a second input that UNETR has not
            block.norm_cross_attn = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, X, Y, Z) -> (B, n_classes, X, Y, Z)."""
        sides = x.shape[2:]
        if any(side > most for side, most in zip(sides, self.size, strict=True)):
            raise ValueError(f"input sides {tuple(sides)} exceed {self.size}, which this UNETR was made for")
        room = margins(sides, self.size)
        return pad(self.net(pad(x, room)), [-margin for margin in room])
