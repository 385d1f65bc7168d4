"""The one way in which a number becomes text, for the page and for the README."""

import math
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

MISSING = "n/a"
MINUS = "\N{MINUS SIGN}"
THIN = "\N{NARROW NO-BREAK SPACE}"

# Steps of nnU-Net's default schedule: 1000 epochs of 250.
NNUNET_STEPS = 250_000

# kind -> (factor, decimals, text after the number, sign always shown)
KINDS: dict[str, tuple[float, int, str, bool]] = {
    "score": (1, 3, "", False),  # Dice, IoU, NSD
    "score2": (1, 2, "", False),  # where a source gives two decimals
    "difference": (1, 3, "", True),  # of two scores
    "mm": (1, 2, "", False),
    "voxels": (1, 1, "", False),
    "mm3": (1, 0, "", False),
    "bias": (1, 0, "", True),  # signed mm3
    "count": (1, 0, "", False),
    "millions": (1e-6, 2, THIN + "M", False),
    "gflops": (1, 2, "", False),
    "minutes": (1 / 60, 1, "", False),  # from seconds
    "schedule": (1, 1, "", False),  # minutes, from minutes
    "seconds": (1, 2, "", False),
    "times": (1, 1, "", False),  # a ratio
    "p": (1, 3, "", False),  # of a test
    "nnunet_days": (NNUNET_STEPS / 86400, 0, "", False),  # from seconds a step
    "percent": (100, 1, THIN + "%", False),
    "correlation": (1, 2, "", False),
}
# Kinds that are never exactly 0.
POSITIVE = ("minutes", "schedule", "seconds", "times", "p")


def rounded(value: float, decimals: int) -> Decimal:
    """Round the decimal number that was written (not its nearest binary one), halves to even."""
    return Decimal(repr(value)).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)


def written(value: Decimal) -> str:
    """Digits with a minus, and thin spaces between thousands from five digits on: `10 000`, but `1715`."""
    digits = f"{abs(value):,f}" if abs(value) >= 10_000 else f"{abs(value):f}"
    return (MINUS if value < 0 else "") + digits.replace(",", THIN)


def show(value: Any, kind: str = "auto") -> str:
    """Text of a number.

    kind is one of KINDS, or "auto" for numbers of no one kind: integers stay whole, other numbers keep four significant
    digits. None and NaN give "n/a"; text is returned as it is. Raises KeyError on an unknown kind.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if kind == "auto":
        return automatic(value)
    factor, decimals, after, signed = KINDS[kind]
    found = rounded(value * factor if factor != 1 else value, decimals)
    if kind in POSITIVE and not found:
        return f"under {Decimal(1).scaleb(-decimals)}"
    return ("+" if signed and found > 0 else "") + written(found) + after


def automatic(value: float) -> str:
    """Four significant digits, integers whole, no exponent within a million and a ten-thousandth."""
    if isinstance(value, int) or float(value).is_integer():
        return written(Decimal(int(value)))
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3g}".replace("-", MINUS)
    decimals = min(6, max(0, 3 - math.floor(math.log10(abs(value)))))
    text = written(rounded(float(value), decimals))
    return text.rstrip("0").rstrip(".") if decimals else text


def interval(low: Any, high: Any, kind: str) -> str:
    """`0.878 to 0.889`; words rather than a dash, because a dash beside signed numbers is read as a minus."""
    if show(low, kind) == MISSING or show(high, kind) == MISSING:
        return MISSING
    return f"{show(low, kind)} to {show(high, kind)}"
