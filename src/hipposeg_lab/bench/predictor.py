"""Time of the predictor for one scan: the whole command, from the start of Python to the picture."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hipposeg.files import sha256_file
from hipposeg.predict import card

RUNS = 5


def configuration() -> dict[str, Any]:
    """What is measured, for the cell's key. The card names the networks."""
    return {"runs": RUNS, "card": sha256_file(card.PACKAGED / card.NAME)}


def measure(images: Sequence[Path], runs: int = RUNS) -> dict[str, Any]:
    """Seconds of each of `runs` commands on the images, and their median; a first one is not counted.

    Raises subprocess.CalledProcessError if the predictor refuses an image.
    """
    seconds = []
    for _ in range(1 + runs):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "hipposeg.cli", "predict", *map(str, images), "-o", folder]
            started = time.perf_counter()
            subprocess.run(command, check=True)
            seconds.append(time.perf_counter() - started)
    return {"seconds": seconds[1:], "median_s": statistics.median(seconds[1:])}


def measure_further(images: Sequence[Path], runs: int) -> dict[str, Any]:
    """As `measure` for the first image alone, and `further_s`: seconds for each further image."""
    first, all_of_them = measure(images[:1], runs), measure(images, runs)
    return first | {"further_s": (all_of_them["median_s"] - first["median_s"]) / (len(images) - 1)}
