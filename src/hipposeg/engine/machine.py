"""What a run computes on. Device, precision and threads belong to the run: they change its bytes."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from hipposeg import timings


@dataclass(frozen=True)
class Machine:
    """Device ("cpu", "cuda" or "mps"), precision ("bf16" or "fp32") and number of CPU threads."""

    device: str
    precision: str
    threads: int

    def autocast(self) -> AbstractContextManager:
        """The autocast context of this precision."""
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def prepare(self) -> None:
        """Fix the thread count and ask torch for deterministic kernels."""
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.set_num_threads(self.threads)
        # What `use_deterministic_algorithms` does, without importing the compiler, which takes longer than a network.
        torch.set_deterministic_debug_mode("warn" if self.device == "mps" else "error")
        # It would also fill every new tensor before it is written to: up to a tenth of a step, for the same bytes.
        torch.utils.deterministic.fill_uninitialized_memory = False
        # On a CPU, whose switch it is as well, torch's fused attention is slow for the short sequences of a small CLIP:
        # a training step of HippoCLIP takes two thirds of its time without it.
        torch.backends.cuda.enable_flash_sdp(False)


def this_machine() -> Machine:
    """Choose device and precision by what the machine has.

    bfloat16 where it pays: a GPU that supports it, or a CPU with AVX-512 BF16 or AMX. Elsewhere bfloat16 on a CPU is
    emulated and slower than float32. HIPPOSEG_THREADS sets the threads; by default all cores that this process may
    use, at most 8 (small networks gain nothing from more).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = int(os.environ.get("HIPPOSEG_THREADS") or min(cores, 8))
    if torch.cuda.is_available():
        return Machine("cuda", "bf16" if torch.cuda.is_bf16_supported() else "fp32", threads)
    if torch.backends.mps.is_available():
        return Machine("mps", "fp32", threads)
    fast_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return Machine("cpu", "bf16" if fast_bf16 else "fp32", threads)


def processor_name() -> str:
    """The CPU's or GPU's name, for provenance."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return timings.processor_name()
