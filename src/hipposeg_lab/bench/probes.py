"""What is measured of any system: the machine's peak, steps, predictions, the command, memory, other load."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hipposeg.files import sha256_file
from hipposeg.predict import card

# Sizes of the matrix products, and seconds for each.
PEAK = {"sizes": (512, 1024, 2048, 4096), "seconds": 1.0}
# Commands whose median is the predictor's time.
RUNS = 5


def matmul_gflops(size: int, dtype: torch.dtype, seconds: float) -> float:
    """Billions of operations a second of a square product of this size, over at least `seconds` after one warm-up."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, size, generator=generator).to(dtype) for _ in range(2))
    out = a @ b
    count, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds or not count:
        torch.mm(a, b, out=out)
        count += 1
    return count * 2 * size**3 / spent / 1e9


@torch.inference_mode()
def peak(precisions: Sequence[str], sizes: Sequence[int], seconds: float) -> dict[str, float]:
    """The machine's measured peak in each precision, in GFLOP/s: the best of several sizes."""
    dtypes = {name: {"bf16": torch.bfloat16, "fp32": torch.float32}[name] for name in precisions}
    return {f"{name}_gflops": max(matmul_gflops(size, dtype, seconds) for size in sizes)
            for name, dtype in dtypes.items()}  # fmt: skip


def predictor_configuration() -> dict[str, Any]:
    """What `command_seconds` measures, for the cell's key. The card names the networks."""
    return {"runs": RUNS, "card": sha256_file(card.PACKAGED / card.NAME)}


def command_seconds(images: Sequence[Path], runs: int = RUNS) -> dict[str, Any]:
    """Seconds of `hipposeg predict` on the images, from the start of Python to the picture, and their median.

    A first command is not counted. Raises subprocess.CalledProcessError if the predictor refuses an image.
    """
    seconds = []
    for _ in range(1 + runs):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "hipposeg.cli", "predict", *map(str, images), "-o", folder]
            started = time.perf_counter()
            subprocess.run(command, check=True)
            seconds.append(time.perf_counter() - started)
    return {"seconds": seconds[1:], "median_s": statistics.median(seconds[1:])}


def further_seconds(images: Sequence[Path], runs: int) -> dict[str, Any]:
    """As `command_seconds` for the first image alone, and `further_s`: seconds for each further image."""
    first, all_of_them = command_seconds(images[:1], runs), command_seconds(images, runs)
    return first | {"further_s": (all_of_them["median_s"] - first["median_s"]) / (len(images) - 1)}


def step_seconds(system: Any, seconds: float = 60.0, least: int = 5, warm_up: int = 2) -> list[float]:
    """Seconds of each training step, during about `seconds` and at least `least` steps after a warm-up."""
    for _ in range(warm_up):
        system.step()
    found: list[float] = []
    while len(found) < least or sum(found) < seconds:
        started = time.perf_counter()
        system.step()
        found.append(time.perf_counter() - started)
    return found


def predict_seconds(system: Any, images: Sequence[Any]) -> float:
    """Median seconds from an image in memory to its mask, after one volume to warm up."""
    seconds = []
    for image in (images[0], *images):
        started = time.perf_counter()
        system.predict(image)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def peak_memory() -> dict[str, float]:
    """Largest resident memory of this process so far, in MB, without a peer's loader processes."""
    import resource  # not on Windows

    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024  # bytes on macOS, kibibytes on Linux
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}


def usage() -> tuple[float, float, float] | None:
    """Seconds of all processors so far: total, busy, of this process and its ended children; None without /proc."""
    path = Path("/proc/stat")
    if not path.is_file():
        return None
    ticks = [int(word) for word in path.read_text().splitlines()[0].split()[1:9]]
    second = os.sysconf("SC_CLK_TCK")
    return sum(ticks) / second, (sum(ticks) - ticks[3] - ticks[4]) / second, sum(os.times()[:4])


def others_share(before: tuple[float, ...] | None, after: tuple[float, ...] | None) -> float | None:
    """Fraction of the processors' time between two `usage` that other programs used."""
    if before is None or after is None:
        return None
    total, busy, own = (b - a for a, b in zip(before, after, strict=True))
    return round(max(0.0, busy - own) / total, 3) if total else None
