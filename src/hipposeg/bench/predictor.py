"""How long the predictor takes for one scan: the whole command, from the start of Python to the picture."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hipposeg.config import Workspace, project_root
from hipposeg.files import sha256_file
from hipposeg.studies import card

RUNS = 5


def recipe() -> dict[str, Any]:
    """What is measured; part of the cell's key. The card names the networks."""
    return {"runs": RUNS, "card": sha256_file(card.path_of(Workspace(project_root(), "msd", "full")))}


def measure(image: Path) -> dict[str, Any]:
    """Seconds of each of RUNS commands on one image, and their median; one more before warms up the disk.

    Raises subprocess.CalledProcessError if the predictor refuses the image.
    """
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hipposeg.cli", "predict", str(image), "-o", folder]
        for _ in range(1 + RUNS):
            started = time.perf_counter()
            subprocess.run(command, check=True)
            seconds.append(time.perf_counter() - started)
    return {"seconds": seconds[1:], "median_s": statistics.median(seconds[1:])}
