"""N4 bias field correction for crops of some 35 x 50 x 36 mm instead of whole heads.

A scanner's coils brighten one part of a head more than another. N4 estimates that slow field from the image (Tustison
et al. 2010, doi:10.1109/TMI.2010.2046908) and divides it out. A small crop cannot separate a slow field from a slow
change of tissue, so all parameters lean towards correcting too little. SimpleITK does the work.
"""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from hipposeg.data.cohort import Cohort
from hipposeg.data.read import Case
from hipposeg.files import read_cached, sha256_bytes, to_json, write_cached

# Raised by hand when the same parameters would give other voxels; older caches are then not read.
VERSION = 1


@dataclass(frozen=True)
class N4Params:
    """Settings of N4, with the reason for each default.

    Attributes:
        mask_percentile: voxels at or below this percentile are left out: mostly fluid, whose logarithm is noise. Otsu's
            threshold, usual for heads, would select white matter in a crop without air.
        shrink: the field is estimated on every n-th voxel along each axis (at least 8 are kept) and evaluated on all.
        spline_mm: aimed size of a spline element on the first level; 50 mm gives one cubic polynomial per axis.
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
    """Estimate the field of one channel: float32 factors (X, Y, Z) with geometric mean 1 over the mask.

    Raises:
        ValueError: negative intensities or an empty mask.
    """
    import SimpleITK as sitk  # noqa: N813

    # Sums over several threads round differently from run to run.
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    mask = estimation_mask(image, params)
    if not image.min() >= 0 or mask.sum() < 64:
        raise ValueError(f"N4 takes logarithms: found a minimum of {image.min():g}, {mask.sum()} voxels in the mask; "
                         "expected stored intensities >= 0, most of them positive, before any z-scoring")  # fmt: skip
    # SimpleITK's arrays run (Z, Y, X).
    scan = sitk.GetImageFromArray(np.ascontiguousarray(image.T, dtype=np.float32))
    where = sitk.GetImageFromArray(np.ascontiguousarray(mask.T, dtype=np.uint8))
    for volume in (scan, where):
        volume.SetSpacing([float(mm) for mm in spacing])
    elements = np.maximum(1, np.rint(np.multiply(image.shape, spacing) / params.spline_mm)).astype(int)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([params.iterations] * params.levels)
    n4.SetConvergenceThreshold(params.tolerance)
    n4.SetBiasFieldFullWidthAtHalfMaximum(params.fwhm)
    # A cubic spline of n elements has n + 3 control points.
    n4.SetNumberOfControlPoints([int(n) + 3 for n in elements])
    shrink = [int(max(1, min(params.shrink, n // 8))) for n in image.shape]
    n4.Execute(sitk.Shrink(scan, shrink), sitk.Shrink(where, shrink))
    log_field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(scan)).T.astype(np.float64)
    return np.ascontiguousarray(np.exp(log_field - log_field[mask].mean()), dtype=np.float32)


def n4(image: np.ndarray, spacing: tuple[float, float, float], params: N4Params | None = None) -> np.ndarray:
    """Correct each channel of an image (C, X, Y, Z). Returns float32 of the same shape; see `bias_field`."""
    return np.stack([channel / bias_field(channel, spacing, params or N4Params()) for channel in image])


def cache_path(case: Case, params: N4Params, cache_dir: Path) -> Path:
    """Where a corrected case is cached: the name has a hash of contents, parameters and SimpleITK's version."""
    what = {"version": VERSION, "simpleitk": version("SimpleITK"), "params": asdict(params), "case": case.sha256}
    return cache_dir / f"{case.name}-{sha256_bytes(to_json(what).encode())[:24]}.n4"


def n4_cohort(cohort: Cohort, params: N4Params, cache_dir: Path, jobs: int | None = None) -> dict[int, np.ndarray]:
    """Correct every case: case number -> float32 (C, X, Y, Z), in the cohort's order.

    Cached cases are read; the rest is computed by `jobs` threads (one for each core by default), which SimpleITK lets
    run side by side, and written as it finishes. The bytes do not depend on the number of threads.
    """
    from tqdm import tqdm

    done = {number: _cached(case, params, cache_dir) for number, case in cohort.cases.items()}
    missing = [case for number, case in cohort.cases.items() if done[number] is None]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ThreadPoolExecutor(jobs or cores)
    try:
        found = pool.map(lambda case: n4(case.image, case.spacing, params), missing)
        for case, image in zip(missing, tqdm(found, "N4", len(missing), disable=not missing), strict=True):
            stream = io.BytesIO()
            np.save(stream, image)
            write_cached(cache_path(case, params, cache_dir), stream.getvalue())
            done[case.number] = image
    finally:
        pool.shutdown(cancel_futures=True)
    return done


def _cached(case: Case, params: N4Params, cache_dir: Path) -> np.ndarray | None:
    content = read_cached(cache_path(case, params, cache_dir))
    return None if content is None else np.load(io.BytesIO(content), allow_pickle=False)
