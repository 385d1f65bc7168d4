"""Hardware of a run: device, precision and threads."""

import ctypes
import os
import platform
import re
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hipposeg.models.unet import LAYOUTS


@dataclass(frozen=True)
class Machine:
    """What a run computes on: device "cpu", "cuda" or "mps", precision "bf16" or "fp32", and number of CPU threads."""

    device: str
    precision: str
    threads: int

    @property
    def kind(self) -> str:
        """The hardware in a run's name: "" for bfloat16 on a CPU, else "fp32", "cuda", "mps.fp32", ..."""
        return ".".join(word for word in (self.device, self.precision) if word not in ("cpu", "bf16"))

    def autocast(self) -> AbstractContextManager:
        """The autocast context of this precision."""
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    @property
    def channels_last(self) -> bool:
        """Whether networks use the channels-last layout, and batches of transformed copies at inference.

        True for float32 on CPUs with AVX2 alone, where oneDNN computes the gradient of a convolution's weights 2 to 2.6
        times as fast in it (measured on an AMD EPYC).
        """
        return (self.device, self.precision) == ("cpu", "fp32") and torch.backends.cpu.get_cpu_capability() == "AVX2"

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to this device, its kernels in the fastest layout; returns the same network."""
        network.to(self.device)
        if self.channels_last:
            for weight in network.parameters():
                if weight.ndim in LAYOUTS:  # `contiguous` would leave kernels alone that read a single channel
                    weight.data = torch.empty_like(weight, memory_format=LAYOUTS[weight.ndim]).copy_(weight.data)
        return network

    def prepare(self) -> None:
        """Fix the thread count and select deterministic kernels."""
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.set_num_threads(self.threads)
        # What `use_deterministic_algorithms` does, without importing the compiler, which takes longer than a network.
        torch.set_deterministic_debug_mode("warn" if self.device == "mps" else "error")
        # Deterministic mode would also fill every new tensor: up to a tenth of a step, for the same bytes.
        torch.utils.deterministic.fill_uninitialized_memory = False
        # Also switches a CPU's fused attention, which is slow for the short sequences of a small CLIP.
        torch.backends.cuda.enable_flash_sdp(False)
        keep_freed_memory()


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors for the next ones: no page faults, 5 to 10 % less time a step."""
    trim_threshold, mmap_threshold, largest = -1, -3, 32 << 20  # mallopt(3); above 32 MiB glibc takes no threshold
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, largest)
        mallopt(trim_threshold, 2**31 - 1)


def this_machine() -> Machine:
    """Device and precision that suit this machine.

    bfloat16 where the hardware computes in it: GPUs that support it, CPUs with AVX-512 BF16 or AMX. HIPPOSEG_THREADS
    sets the threads; the default is all cores of this process, at most 8. Raises ValueError if it is no such number.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    named = os.environ.get("HIPPOSEG_THREADS") or str(min(cores, 8))
    if not re.fullmatch("[0-9]{1,3}", named) or int(named) == 0:
        raise ValueError(f"HIPPOSEG_THREADS: found {named!r}, expected a whole number from 1 to 999, or nothing.")
    threads = int(named)
    if torch.cuda.is_available():
        return Machine("cuda", "bf16" if torch.cuda.is_bf16_supported() else "fp32", threads)
    if torch.backends.mps.is_available():
        return Machine("mps", "fp32", threads)
    fast_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return Machine("cpu", "bf16" if fast_bf16 else "fp32", threads)


def processor_name() -> str:
    """Name of the GPU or CPU."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    if info.is_file() and (match := re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)):
        return match[1].strip()
    return platform.processor() or platform.machine()
