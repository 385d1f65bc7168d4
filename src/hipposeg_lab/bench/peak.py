"""The machine's peak: floating-point operations a second of a large matrix product, as measured, not as advertised."""

import time
from collections.abc import Sequence
from typing import Any

import torch

SIZES = (512, 1024, 2048, 4096)
SECONDS = 1.0


def configuration() -> dict[str, Any]:
    """What is measured; part of the cell's key."""
    return {"sizes": SIZES, "seconds": SECONDS}


def matmul_gflops(size: int, dtype: torch.dtype, seconds: float = SECONDS) -> float:
    """Billions of operations a second of a square product of this size, over at least `seconds` after one warm-up."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, size, generator=generator).to(dtype) for _ in range(2))
    out = a @ b
    count, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds or not count:
        torch.mm(a, b, out=out)
        count += 1
    return count * 2 * size**3 / spent / 1e9


DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def measure(
    precisions: Sequence[str] = tuple(DTYPES), sizes: tuple[int, ...] = SIZES, seconds: float = SECONDS
) -> dict[str, Any]:
    """Best of several sizes in each precision, in GFLOP/s, and every size's own."""
    found: dict[str, Any] = {}
    with torch.inference_mode():
        for name in precisions:
            dtype = DTYPES[name]
            by_size = {str(size): matmul_gflops(size, dtype, seconds) for size in sizes}
            found |= {f"{name}_gflops": max(by_size.values()), f"{name}_by_size": by_size}
    return found
