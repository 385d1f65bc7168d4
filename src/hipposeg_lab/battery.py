"""What can break, tried: damaged caches, tables and scans, a system that refuses, and kills. `make battery` runs it.

A trial damages one thing at random and lets the program use it. It ends in one of five ways:

- clear: an error or a warning names the file;
- harmless: the result is that of the undamaged file;
- accepted: another result, from a kind of file that has no checksum, such as a header that was written anew;
- silent: another result without a word;
- traceback: an error that the commands do not turn into a sentence.

A seed gives the same damage again. Everything happens in a temporary folder, on a phantom.
"""

import gzip
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from hipposeg import files
from hipposeg.data import cohort as cohorts
from hipposeg.data import folds as folding
from hipposeg.data import n4, phantom
from hipposeg.data.locate import FOLDER, Source
from hipposeg.data.read import read_case
from hipposeg.data.spec import PHANTOM_SPEC
from hipposeg.experiments import run as runs
from hipposeg.experiments import weights
from hipposeg.experiments.registry import RunSpec
from hipposeg.predict import scan
from hipposeg.reproduce import compare
from hipposeg.results import load, store
from hipposeg.training.loop import Training
from hipposeg.workspace import Workspace

OUTCOMES = CLEAR, HARMLESS, ACCEPTED, SILENT, TRACEBACK = ("clear", "harmless", "accepted", "silent", "traceback")
COLUMNS = ("kind", "trials", *OUTCOMES)
TABLE = "studies/battery.csv"
RUN = RunSpec("unet2d", schedule="smoke", hardware="fp32")
# Impossible values of scores.csv.gz by column.
IMPOSSIBLE = {
    "dice": ("1.5", "-0.1", "inf", "x"), "nsd1": ("1.01", "-1"), "hd95": ("-0.5", "inf"), "volume_true": ("-1", "?"),
    "subject": ("0", "999", ""), "case": ("0", "-3", "one"), "label": ("", "tail"), "run": ("", "another"),
}  # fmt: skip
# Bytes of a NIfTI-1 header that fuzzing writes anew: sides, type, voxel sizes, offset, codes, orientation.
HEADER = (range(40, 56), range(70, 74), range(76, 108), range(108, 124), range(252, 328))

Use = Callable[[], bytes | None]  # what the program makes of a file; None if it counts as missing


@dataclass(frozen=True)
class Place:
    """A phantom with one finished run, in a temporary folder."""

    folder: Path
    ws: Workspace
    cohort: cohorts.Cohort
    folds: runs.Folds

    @property
    def run(self) -> Path:
        """The run's folder in the cache."""
        return runs.folder_of(RUN, self.ws)


def place(folder: Path) -> Place:
    """Make the phantom and train the run."""
    data, ws = folder / "data" / FOLDER, Workspace(folder, "phantom", "smoke")
    phantom.generate(data, PHANTOM_SPEC, n_subjects=6, seed=4)
    people = cohorts.load(Source("phantom", data, PHANTOM_SPEC))
    made = Place(folder, ws, people, folding.read_or_write(ws.folds, people))
    runs.train(RUN, made.cohort, made.folds, ws)
    n4.n4_cohort(one_case(made), n4.N4Params(), folder / "n4", jobs=1)
    return made


def one_case(at: Place) -> cohorts.Cohort:
    """The cohort with its first case alone."""
    number = at.cohort.numbers[0]
    return cohorts.Cohort(**vars(at.cohort) | {"cases": {number: at.cohort.cases[number]}})


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


@contextmanager
def listening() -> Iterator[list[str]]:
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


def outcome(path: Path, use: Use, whole: bytes, otherwise: str = SILENT) -> str:
    """Let the program use a damaged file; whole: what it makes of the undamaged one."""
    with listening() as said:
        try:
            found = use()
        except (ValueError, OSError) as error:  # the commands print these as a sentence
            return CLEAR if any(path.name in text for text in (str(error), *said)) else TRACEBACK
        except Exception:
            return TRACEBACK
    named = any(path.name in text for text in said)
    if found is None:
        return CLEAR if named else HARMLESS if not path.exists() else SILENT
    return HARMLESS if found == whole else otherwise


def trials(
    path: Path, use: Use, count: int, rng: np.random.Generator, change: Callable = damaged, otherwise: str = SILENT
) -> Counter:
    """Damage a file again and again; it is whole again at the end."""
    content, expected, found = path.read_bytes(), use(), Counter()
    for _ in range(count):
        path.write_bytes(change(content, rng))
        found[outcome(path, use, expected, otherwise)] += 1
        path.write_bytes(content)
    return found


def caches(at: Place, count: int, rng: np.random.Generator) -> Iterator[tuple[str, Counter]]:
    """Checkpoint, N4's cache, and every file of a finished run, which is also a member of ensembles or a teacher."""
    key = files.sha256_bytes(b"key")
    machine = runs.machine_for(RUN)

    def training() -> Training:
        return Training(weights.initial(RUN, PHANTOM_SPEC), RUN.definition.training(RUN.schedule), machine, 0)

    saved, path = training(), at.folder / "checkpoint.pt"
    saved.history = [{"epoch": 1, "loss": 0.5}]
    saved.save(path, key)

    def resumed() -> bytes | None:
        again = training()
        again.resume(path, key)
        state = [*again.model.state_dict().values(), *again.average.state_dict().values()]
        return b"".join(one.cpu().numpy().tobytes() for one in state) if again.history else None

    yield "checkpoint", trials(path, resumed, count, rng)
    (path,) = (at.folder / "n4").iterdir()
    case = next(iter(one_case(at).cases.values()))

    def corrected() -> bytes | None:
        found = n4._cached(case, n4.N4Params(), at.folder / "n4")
        return None if found is None else found.tobytes()

    yield "N4's cache", trials(path, corrected, count, rng)
    names = sorted(one.name for one in at.run.iterdir() if one.name != "checkpoint.pt")

    def believed() -> bytes | None:
        if not runs.is_cached(RUN, runs.key_of(RUN, at.cohort, at.folds), machine, at.ws):
            return None
        return b"".join((at.run / name).read_bytes() for name in names)

    found = Counter()
    for name in names:
        found += trials(at.run / name, believed, -(-count // len(names)), rng)
    yield "finished run", found
    path = at.run / runs.WEIGHTS

    def member() -> bytes:
        state = weights.finished(RUN, PHANTOM_SPEC, at.run.parent).state_dict()
        return b"".join(one.numpy().tobytes() for one in state.values())

    yield "weights of a member or teacher", trials(path, member, count, rng)


def tables(at: Place, count: int, rng: np.random.Generator) -> Iterator[tuple[str, Counter]]:
    """The tables of results: damaged bytes, and values that cannot be."""

    def read() -> bytes:
        load._joined.cache_clear()
        run = load.get(at.ws, RUN.name)
        masks = b"".join(mask.tobytes() for mask in run.masks.values())
        return load.load(at.ws).to_csv().encode() + repr(run.history).encode() + masks

    found = Counter()
    paths = [at.ws.artifacts / name for name in (store.SCORES, store.HISTORIES)]
    packed = [*paths, store.masks_file(at.ws.artifacts, RUN.name)]
    for path in packed:
        found += trials(path, read, -(-count // len(packed)), rng)
    yield "tables and masks, damaged", found
    yield "scores, impossible values", trials(packed[0], read, count, rng, impossible)


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


def scans(at: Place, count: int, rng: np.random.Generator) -> Iterator[tuple[str, Counter]]:
    """Scans and training cases: damaged bytes in formats with and without a checksum, and headers written anew."""
    image = np.random.default_rng(0).normal(100, 30, (30, 34, 28)).astype(np.float32)
    nifti = nibabel.Nifti1Image(image, np.eye(4)).to_bytes()
    nibabel.save(nibabel.MGHImage(image, np.eye(4)), at.folder / "a.mgz")
    (at.folder / "a.nii.gz").write_bytes(gzip.compress(nifti, mtime=0))
    (at.folder / "a.nii").write_bytes(nifti)
    for kind in ("nrrd", "mha"):
        import SimpleITK as sitk  # noqa: N813

        sitk.WriteImage(sitk.GetImageFromArray(image.T), str(at.folder / f"a.{kind}"), True)

    def reader(path: Path) -> Use:
        def read() -> bytes:
            found = scan.read(path)
            return found.image.tobytes() + found.affine.tobytes() + repr(found.notes).encode()

        return read

    for kind, names, otherwise in (
        ("scans with a checksum", ("a.nii.gz", "a.mgz"), SILENT),
        ("scans without a checksum of the header", ("a.nii", "a.nrrd", "a.mha"), ACCEPTED),
    ):
        found = Counter()
        for name in names:
            path = at.folder / name
            found += trials(path, reader(path), -(-count // len(names)), rng, damaged, otherwise)
        yield kind, found
    path = at.folder / "a.nii.gz"
    yield "scans, header written anew", trials(path, reader(path), count, rng, fuzzed, ACCEPTED)
    number = at.cohort.numbers[0]
    path = at.cohort.folder / "imagesTr" / PHANTOM_SPEC.file_name(number)

    def case() -> bytes:
        return read_case(at.cohort.folder, PHANTOM_SPEC, number).sha256.encode()

    yield "training cases, damaged", trials(path, case, count, rng)
    yield "training cases, header written anew", trials(path, case, count, rng, fuzzed, ACCEPTED)


def fuzzed(content: bytes, rng: np.random.Generator) -> bytes:
    """A packed NIfTI-1 file with one part of its header replaced by random bytes, and a valid checksum."""
    whole = bytearray(gzip.decompress(content))
    part = HEADER[int(rng.integers(len(HEADER)))]
    start = int(rng.integers(part.start, part.stop - 1))
    stop = min(part.stop, start + int(rng.choice([1, 2, 4, 8])))
    whole[start:stop] = rng.bytes(stop - start)
    return gzip.compress(bytes(whole), 1, mtime=0)


def refusals(folder: Path) -> Iterator[tuple[str, Counter]]:
    """Commands in a system that refuses: each must end with a sentence and status 1."""
    file, made, found = folder / "file", folder / "made", Counter()
    file.write_text("mine")
    environment = _environment(folder)

    def command(words: str, limit: str = "", **settings: object) -> subprocess.CompletedProcess[str]:
        line = f"{limit} exec '{sys.executable}' -m hipposeg.cli {words}"
        more = {f"HIPPOSEG_{name}": str(value) for name, value in settings.items()}
        return subprocess.run(["bash", "-c", line], env=environment | more, capture_output=True, text=True, check=False)

    command("data --profile smoke", OUT=made)  # tables of another phantom would be removed with it
    for name, content in (("folds.json", b"{"), ("runs.csv", b"\x1f\x8b\x08damaged")):
        shutil.copytree(made, folder / name)
        files.write_bytes(Workspace(folder / name, "phantom", "smoke").artifacts / name, content)
    small = f"train {RUN.model} --schedule {RUN.schedule}"
    for words, limit, settings in (
        ("data --profile smoke", "", {"OUT": file}),
        ("data --profile smoke", "", {"OUT": file / "below"}),
        ("data --profile smoke", "ulimit -f 4;", {"OUT": folder / "full"}),
        ("data", "", {"DATA": file}),
        (small, "ulimit -f 4;", {"OUT": made}),
        (small, "", {"OUT": made, "THREADS": 0}),
        (small, "", {"OUT": folder / "folds.json"}),
        (small, "", {"OUT": folder / "runs.csv"}),
        ("execute 99 --profile smoke", "", {"OUT": made}),
        ("predict none.nii -o /dev/null/out", "", {"OUT": made}),
    ):
        done = command(words, limit, **settings)
        said = done.returncode == 1 and "hipposeg: " in done.stderr and "Traceback" not in done.stderr
        found[CLEAR if said else TRACEBACK if "Traceback" in done.stderr else SILENT] += 1
    yield "a system that refuses", found


def kills(folder: Path, count: int, rng: np.random.Generator) -> Iterator[tuple[str, Counter]]:
    """Kill a training `count` times at random moments, each time going on from what is left; at its end, same bytes."""
    command = [sys.executable, "-m", "hipposeg.cli", "train", RUN.model, "--schedule", RUN.schedule]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def environment(name: str) -> dict[str, str]:
        return _environment(folder) | {"HIPPOSEG_OUT": str(folder / name)}

    subprocess.run(command, env=environment("whole"), check=True, **quiet)  # makes the phantom, too
    started = time.perf_counter()
    subprocess.run([*command, "--retrain"], env=environment("whole"), check=True, **quiet)
    lasts, found, killed, chain = time.perf_counter() - started, Counter(), 0, 0
    while killed < count:
        chain += 1
        name, alive, since = f"killed{chain}", True, 0
        while alive and killed < count:
            process = subprocess.Popen(command, env=environment(name), **quiet)
            try:
                process.wait(float(rng.uniform(0, 1.2 * lasts)))
                alive = False
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed, since = killed + 1, since + 1
        subprocess.run(command, env=environment(name), check=True, **quiet)
        same = [folder / one / ".work" / "phantom" / "artifacts" for one in ("whole", name)]
        found[HARMLESS if not compare(*same)[0] else SILENT] += since
    yield "kills of a training", found


def _environment(folder: Path) -> dict[str, str]:
    settings = {"HIPPOSEG_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HIPPOSEG_OUT": str(folder / "out")}
    return {name: value for name, value in os.environ.items() if not name.startswith("HIPPOSEG_")} | settings


def run(path: Path, seed: int, count: int, killed: int, say: Callable[[str], None] = print) -> int:
    """Run the battery and write its table; returns 1 if a trial was silent or ended in a traceback.

    count: trials of each kind. killed: kills of a training.
    """
    rng, rows = np.random.default_rng(seed), []
    with tempfile.TemporaryDirectory() as name:
        at = place(Path(name))
        parts = (caches(at, count, rng), tables(at, count, rng), scans(at, count, rng))
        parts += (refusals(at.folder / "system"), kills(at.folder / "kills", killed, rng))
        for folder in ("system", "kills"):
            (at.folder / folder).mkdir()
        for kind, found in (one for part in parts for one in part):
            rows.append({"kind": kind, "trials": found.total(), **{name: found[name] for name in OUTCOMES}})
            say(f"{kind}: {', '.join(f'{found[name]} {name}' for name in OUTCOMES if found[name])}")
    files.write_csv(path, COLUMNS, rows)
    bad = sum(row[name] for row in rows for name in (SILENT, TRACEBACK))
    say(f"{sum(row['trials'] for row in rows)} trials, {bad} silent or with a traceback. The table is {path}")
    return 1 if bad else 0
