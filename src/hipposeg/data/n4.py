"""N4 bias field correction for crops of some 35 x 50 x 36 mm instead of whole heads.

A scanner's coils brighten one part of a head more than another. N4 estimates that slow field from the image (Tustison
et al. 2010, doi:10.1109/TMI.2010.2046908) and divides it out. A small crop cannot separate a slow field from a slow
change of tissue, so all parameters lean towards correcting too little. SimpleITK does the work.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from hipposeg.data.cohort import Cohort
from hipposeg.data.read import Case
from hipposeg.files import replacing, sha256_bytes, to_json

# Raised by hand when the same parameters would give other voxels; caches made before are then not read.
VERSION = 1
# Starting a process and importing SimpleITK in it costs more than a few volumes do.
SMALLEST_POOL = 8


@dataclass(frozen=True)
class N4Params:
    """Settings of N4, with the reason for each default.

    Attributes:
        mask_percentile: voxels at or below this percentile are left out. They are mostly fluid, whose logarithm is
            noise. Otsu's threshold, usual for heads, fails here: without air in the crop it separates white matter from
            the rest.
        shrink: the field is estimated on every n-th voxel along each axis (at least 8 are kept) and evaluated on all.
        spline_mm: aimed size of a spline element on the first level. 50 mm gives one cubic polynomial per axis, about
            as fine as whole-head settings are at their last level.
        levels: fitting levels; each further one halves the elements, and the field begins to follow anatomy.
        iterations: the most iterations on a level.
        tolerance: change below which a level ends.
        fwhm: width of the Gaussian by which N4 sharpens the histogram, in log intensity.
    """

    mask_percentile: float = 10.0
    shrink: int = 4
    spline_mm: float = 50.0
    levels: int = 1
    iterations: int = 100
    tolerance: float = 1e-5
    fwhm: float = 0.15


def estimation_mask(image: np.ndarray, params: N4Params) -> np.ndarray:
    """Voxels that N4 uses: bool, the shape of `image` (X, Y, Z)."""
    return (image > np.percentile(image, params.mask_percentile)) & (image > 0)


def bias_field(image: np.ndarray, spacing: tuple[float, float, float], params: N4Params) -> np.ndarray:
    """Estimate the multiplicative field of one channel, on one thread.

    Args:
        image: (X, Y, Z), intensities >= 0 as stored (not z-scored).
        spacing: mm.
        params: settings.

    Returns:
        float32 (X, Y, Z), positive, with geometric mean 1 over the mask.

    Raises:
        ValueError: negative intensities or an empty mask.
    """
    import SimpleITK as sitk  # noqa: N813

    if image.ndim != 3:
        raise ValueError(f"image has shape {image.shape}; expected one channel (X, Y, Z)")
    mask = estimation_mask(image, params)
    if not image.min() >= 0 or mask.sum() < 64:
        raise ValueError(f"N4 takes logarithms: found a minimum of {image.min():g}, {mask.sum()} voxels in the mask; "
                         "expected stored intensities >= 0, most of them positive, before any z-scoring")  # fmt: skip
    extent = np.multiply(image.shape, spacing)
    elements = np.maximum(1, np.rint(extent / params.spline_mm)).astype(int)
    shrink = [int(max(1, min(params.shrink, n // 8))) for n in image.shape]
    with _one_thread(sitk):
        # SimpleITK's arrays run (Z, Y, X).
        scan = sitk.GetImageFromArray(np.ascontiguousarray(image.T, dtype=np.float32))
        where = sitk.GetImageFromArray(np.ascontiguousarray(mask.T, dtype=np.uint8))
        for volume in (scan, where):
            volume.SetSpacing([float(mm) for mm in spacing])
        n4 = sitk.N4BiasFieldCorrectionImageFilter()
        n4.SetMaximumNumberOfIterations([params.iterations] * params.levels)
        n4.SetConvergenceThreshold(params.tolerance)
        n4.SetBiasFieldFullWidthAtHalfMaximum(params.fwhm)
        # A cubic spline of n elements has n + 3 control points.
        n4.SetNumberOfControlPoints([int(n) + 3 for n in elements])
        n4.Execute(sitk.Shrink(scan, shrink), sitk.Shrink(where, shrink))
        log_field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(scan)).T.astype(np.float64)
    return np.ascontiguousarray(np.exp(log_field - log_field[mask].mean()), dtype=np.float32)


def n4(image: np.ndarray, spacing: tuple[float, float, float], params: N4Params | None = None) -> np.ndarray:
    """Correct each channel of an image (C, X, Y, Z). Returns float32 of the same shape; see `bias_field`."""
    if image.ndim != 4:
        raise ValueError(f"image has shape {image.shape}; expected (channels, X, Y, Z)")
    params = params or N4Params()
    return np.stack([channel / bias_field(channel, spacing, params) for channel in image]).astype(np.float32)


def cache_path(case: Case, params: N4Params, cache_dir: Path) -> Path:
    """Where a corrected case is cached: the name has a hash of contents, parameters and SimpleITK's version."""
    what = {"version": VERSION, "simpleitk": version("SimpleITK"), "params": asdict(params), "case": case.sha256}
    return cache_dir / f"{case.name}-{sha256_bytes(to_json(what).encode())[:24]}.npy"


def n4_cohort(cohort: Cohort, params: N4Params | None, cache_dir: Path, jobs: int | None = None,
              progress: bool = True) -> dict[int, np.ndarray]:  # fmt: skip
    """Correct every case: case number -> float32 (C, X, Y, Z), in the cohort's order.

    Cached cases are read; the rest is computed on `jobs` processes (all cores by default) and written as it finishes.
    The bytes do not depend on the number of processes.
    """
    params = params or N4Params()
    paths = {number: cache_path(case, params, cache_dir) for number, case in cohort.cases.items()}
    done = {number: _read(path, cohort.cases[number].image.shape) for number, path in paths.items()}
    missing = {number: case for number, case in cohort.cases.items() if done[number] is None}
    for number, corrected in _compute(missing, params, jobs or _cores(), progress):
        with replacing(paths[number]) as temporary:
            np.save(temporary, corrected)
        done[number] = corrected
    return {number: done[number] for number in cohort.cases}


def _compute(cases: dict[int, Case], params: N4Params, jobs: int, progress: bool) -> Iterator[tuple[int, np.ndarray]]:
    from tqdm import tqdm

    bar = tqdm(total=len(cases), desc="N4", unit="volume", disable=not (progress and cases))
    with bar:
        if jobs == 1 or len(cases) < SMALLEST_POOL:
            for number, case in cases.items():
                yield number, n4(case.image, case.spacing, params)
                bar.update()
            return
        # Spawned, not forked: a fork would inherit locks of torch's and ITK's running threads.
        with ProcessPoolExecutor(min(jobs, len(cases)), mp_context=get_context("spawn")) as pool:
            tasks = {pool.submit(n4, case.image, case.spacing, params): number for number, case in cases.items()}
            try:
                for task in as_completed(tasks):
                    yield tasks[task], task.result()
                    bar.update()
            except BaseException:
                # Whatever stops the caller, do not work through the queue first.
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _read(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """A cached volume, or None if it is missing or incomplete."""
    try:
        corrected = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    return corrected if corrected.shape == shape and corrected.dtype == np.float32 else None


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _one_thread(sitk) -> Iterator[None]:
    """Let ITK use a single thread; sums over threads round differently from run to run."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
