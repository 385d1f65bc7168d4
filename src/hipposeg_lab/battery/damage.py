"""Damaged files: caches, tables and scans, each damaged at random and then used."""

import gzip
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import nibabel
import numpy as np

from hipposeg.data import cohort as cohorts
from hipposeg.data import folds as folding
from hipposeg.data import n4, phantom
from hipposeg.data.locate import FOLDER, Source
from hipposeg.data.read import read_case
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.experiments import run as runs
from hipposeg.experiments import weights
from hipposeg.experiments.registry import RunSpec
from hipposeg.files import sha256_bytes
from hipposeg.predict import scan
from hipposeg.results import load, store
from hipposeg.training.loop import Training
from hipposeg.workspace import Workspace

OUTCOMES = CLEAR, HARMLESS, ACCEPTED, SILENT, TRACEBACK = ("clear", "harmless", "accepted", "silent", "traceback")
RUN = RunSpec("unet2d", schedule="smoke", hardware="fp32")
PEOPLE, SEED = 6, 4  # of the phantom
# Impossible values of scores.csv.gz by column.
IMPOSSIBLE = {
    "dice": ("1.5", "-0.1", "inf", "x"), "nsd1": ("1.01", "-1"), "hd95": ("-0.5", "inf"), "volume_true": ("-1", "?"),
    "subject": ("0", "999", ""), "case": ("0", "-3", "one"), "label": ("", "tail"), "run": ("", "another"),
}  # fmt: skip
# Bytes of a NIfTI-1 header that fuzzing writes anew: sides, type, voxel sizes, offset, codes, orientation.
HEADER = (range(40, 56), range(70, 74), range(76, 108), range(108, 124), range(252, 328))

Change = Callable[[bytes, np.random.Generator], bytes]


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file's bytes in one of seven ways."""
    at, size = int(rng.integers(len(content))), int(rng.integers(1, 1 + min(4096, len(content))))
    return (
        b"",
        content[:at],
        content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :],
        content[:at] + bytes(len(content[at : at + size])) + content[at + size :],
        content[:at] + rng.bytes(size) + content[at:],
        content[at:] + content[:at],
        rng.bytes(len(content)),
    )[int(rng.integers(7))]


def impossible(content: bytes, rng: np.random.Generator) -> bytes:
    """Scores with an impossible value, a lost row, or a row twice."""
    first, *rows = gzip.decompress(content).decode().splitlines()
    at, way = int(rng.integers(len(rows))), int(rng.integers(6))
    if way < 4:
        column = str(rng.choice([*IMPOSSIBLE]))
        cells = rows[at].split(",")
        cells[first.split(",").index(column)] = str(rng.choice(IMPOSSIBLE[column]))
        rows[at] = ",".join(cells)
    else:
        rows[at : at + 1] = [] if way == 4 else [rows[at]] * 2
    return gzip.compress("".join(f"{row}\n" for row in (first, *rows)).encode(), mtime=0)


def fuzzed(content: bytes, rng: np.random.Generator) -> bytes:
    """A packed NIfTI-1 file with one part of its header replaced by random bytes, and a valid checksum."""
    whole = bytearray(gzip.decompress(content))
    part = HEADER[int(rng.integers(len(HEADER)))]
    start = int(rng.integers(part.start, part.stop - 1))
    stop = min(part.stop, start + int(rng.choice([1, 2, 4, 8])))
    whole[start:stop] = rng.bytes(stop - start)
    return gzip.compress(bytes(whole), 1, mtime=0)


@dataclass(frozen=True)
class Target:
    """A file that trials damage.

    Attributes:
        path: where it is.
        use: what the program makes of it; None if it counts as missing.
        change: how it is damaged.
        otherwise: what another result counts as.
    """

    path: Path
    use: Callable[[], bytes | None]
    change: Change = damaged
    otherwise: str = SILENT

    @cached_property
    def whole(self) -> tuple[bytes, bytes | None]:
        """The undamaged content, and what the program makes of it."""
        return self.path.read_bytes(), self.use()


def trial(folder: Path, kept: Path, kind: str, rng: np.random.Generator, number: int) -> list[str]:
    """Damage one of the files of a kind, let the program use it, and make it whole again; returns the outcome."""
    among = targets(folder, kept)[kind]
    target = among[number % len(among)]
    content, expected = target.whole
    target.path.write_bytes(target.change(content, rng))
    try:
        return [_outcome(target, expected)]
    finally:
        target.path.write_bytes(content)


def _outcome(target: Target, expected: bytes | None) -> str:
    name = target.path.name
    with _listening() as said:
        try:
            found = target.use()
        except (ValueError, OSError) as error:  # the commands print these as a sentence
            return CLEAR if any(name in text for text in (str(error), *said)) else TRACEBACK
        except Exception:
            return TRACEBACK
    if found is None:
        return CLEAR if any(name in text for text in said) else SILENT
    return HARMLESS if found == expected else target.otherwise


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Collect what the package logs, and print none of it."""
    said: list[str] = []
    handler, logger = logging.Handler(), logging.getLogger("hipposeg")
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.propagate = True
        logger.removeHandler(handler)


@cache
def targets(folder: Path, kept: Path) -> dict[str, list[Target]]:
    """Make a phantom, a finished run and scans below `folder`; returns the files of each kind of KINDS.

    Phantom and run are made once in `kept` and copied.
    """
    made = Workspace(kept / "damaged", "phantom", "smoke")
    data = made.root / "data" / FOLDER
    if not phantom.is_current(data, PHANTOM_SPEC, PEOPLE, SEED):
        phantom.generate(data, PHANTOM_SPEC, PEOPLE, SEED)
    people = cohorts.load(Source("phantom", data, PHANTOM_SPEC))
    folds = folding.read_or_write(made.folds, people)
    runs.train(RUN, people, folds, made)
    ws = Workspace(Path(shutil.copytree(made.root, folder / "damaged")), "phantom", "smoke")
    people = cohorts.load(Source("phantom", ws.root / "data" / FOLDER, PHANTOM_SPEC))
    found = [*_caches(people, folds, ws), *_tables(ws), *_scans(people, ws.root)]
    return dict(zip(KINDS, found, strict=True))


KINDS = (
    "checkpoint", "N4's cache", "cached voxels", "finished run", "weights of a member or teacher",
    "tables and masks, damaged", "scores, impossible values",
    "scans with a checksum", "scans without a checksum of the header", "scans, header written anew",
    "training cases, damaged", "training cases, header written anew",
)  # fmt: skip


def _caches(people: cohorts.Cohort, folds: runs.Folds, ws: Workspace) -> Iterator[list[Target]]:
    key, machine = sha256_bytes(b"key"), runs.machine_for(RUN)

    def training() -> Training:
        return Training(weights.initial(RUN, PHANTOM_SPEC), RUN.definition.training(RUN.schedule), machine, 0)

    saved, checkpoint = training(), ws.root / "checkpoint.pt"
    saved.history = [{"epoch": 1, "loss": 0.5}]
    saved.save(checkpoint, key)

    def resumed() -> bytes | None:
        again = training()
        again.resume(checkpoint, key)
        state = [*again.model.state_dict().values(), *again.average.state_dict().values()]
        return b"".join(one.cpu().numpy().tobytes() for one in state) if again.history else None

    yield [Target(checkpoint, resumed)]
    number, case = next(iter(people.cases.items()))
    n4.n4_cohort(cohorts.Cohort(**vars(people) | {"cases": {number: case}}), n4.N4Params(), ws.root / "n4", jobs=1)

    def corrected() -> bytes | None:
        found = n4._cached(case, n4.N4Params(), ws.root / "n4")
        return None if found is None else found.tobytes()

    yield [Target(next((ws.root / "n4").iterdir()), corrected)]

    def mapped() -> bytes:
        found = cohorts._mapped(case, ws.root / "mapped")
        return found.image.tobytes() + found.label.tobytes()

    mapped()
    yield [Target(path, mapped) for path in sorted((ws.root / "mapped").iterdir())]
    folder = runs.folder_of(RUN, ws)
    paths = sorted(one for one in folder.iterdir() if one.name != "checkpoint.pt")

    def believed() -> bytes | None:
        known = runs.is_cached(RUN, runs.key_of(RUN, people, folds), machine, ws)
        return b"".join(path.read_bytes() for path in paths) if known else None

    yield [Target(path, believed) for path in paths]

    def member() -> bytes:
        state = weights.finished(RUN, PHANTOM_SPEC, folder.parent).state_dict()
        return b"".join(one.numpy().tobytes() for one in state.values())

    yield [Target(folder / runs.WEIGHTS, member)]


def _tables(ws: Workspace) -> Iterator[list[Target]]:
    def read() -> bytes:
        load._joined.cache_clear()
        run = load.get(ws, RUN.name)
        masks = b"".join(mask.tobytes() for mask in run.masks.values())
        return load.load(ws).to_csv().encode() + repr(run.history).encode() + masks

    scores, histories = ws.artifacts / store.SCORES, ws.artifacts / store.HISTORIES
    yield [Target(path, read) for path in (scores, histories, store.masks_file(ws.artifacts, RUN.name))]
    yield [Target(scores, read, impossible)]


def _scans(people: cohorts.Cohort, folder: Path) -> Iterator[list[Target]]:
    import SimpleITK as sitk  # noqa: N813

    image = np.random.default_rng(0).normal(100, 30, (30, 34, 28)).astype(np.float32)
    nifti = nibabel.Nifti1Image(image, np.eye(4)).to_bytes()
    nibabel.save(nibabel.MGHImage(image, np.eye(4)), folder / "a.mgz")
    (folder / "a.nii.gz").write_bytes(gzip.compress(nifti, mtime=0))
    (folder / "a.nii").write_bytes(nifti)
    for kind in ("nrrd", "mha"):
        sitk.WriteImage(sitk.GetImageFromArray(image.T), str(folder / f"a.{kind}"), True)

    def target(name: str, change: Change = damaged, otherwise: str = SILENT) -> Target:
        def read() -> bytes:
            found = scan.read(folder / name)
            return found.image.tobytes() + found.affine.tobytes() + repr(found.notes).encode()

        return Target(folder / name, read, change, otherwise)

    yield [target(name) for name in ("a.nii.gz", "a.mgz")]
    yield [target(name, otherwise=ACCEPTED) for name in ("a.nii", "a.nrrd", "a.mha")]
    yield [target("a.nii.gz", fuzzed, ACCEPTED)]
    number = people.numbers[0]
    path = people.folder / "imagesTr" / PHANTOM_SPEC.file_name(number)

    def case() -> bytes:
        return read_case(people.folder, PHANTOM_SPEC, number).sha256.encode()

    yield [Target(path, case)]
    yield [Target(path, case, fuzzed, ACCEPTED)]
