"""Where things are: the project's root, and one workspace per data set and profile."""

import os
from dataclasses import dataclass
from pathlib import Path

from hipposeg.files import sha256_bytes

PROFILES = ("smoke", "standard", "full")
DATASETS = ("msd", "phantom")

# The repository's address is not fixed yet; the notebooks' Colab badges and install cells take it from here.
REPOSITORY = "hipposeg/hipposeg"


def project_root() -> Path:
    """The folder that holds `pyproject.toml` and `notebooks/`, searched upwards from the working directory.

    An installed package without a checkout (Colab) works in the current directory.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir():
            return folder
    return here


def output_root() -> Path:
    """Where artifacts and `.work` go: HIPPOSEG_OUT if set (used by `make verify`), else the project's root."""
    return Path(os.environ.get("HIPPOSEG_OUT") or project_root()).resolve()


@dataclass(frozen=True)
class Workspace:
    """Every path that depends on the data set and the profile. Data set and profile are part of each of them."""

    root: Path
    dataset: str
    profile: str

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"profile is {self.profile!r}; choose one of {', '.join(PROFILES)}")
        if self.dataset not in DATASETS:
            raise ValueError(f"dataset is {self.dataset!r}; choose one of {', '.join(DATASETS)}")

    @property
    def name(self) -> str:
        """`<dataset>-<profile>`."""
        return f"{self.dataset}-{self.profile}"

    @property
    def full(self) -> "Workspace":
        """The workspace of the declared series of the same data."""
        return Workspace(self.root, self.dataset, "full")

    @property
    def is_phantom(self) -> bool:
        """True if nothing here comes from patients."""
        return self.dataset == "phantom"

    @property
    def artifacts(self) -> Path:
        """What is committed and compared."""
        return self.root / "artifacts" / self.name

    @property
    def figures(self) -> Path:
        """Figures and their captions."""
        return self.artifacts / "figures"

    @property
    def work(self) -> Path:
        """Ignored by git: stamps, checkpoints, caches."""
        return self.root / ".work" / self.name

    @property
    def folds(self) -> Path:
        """The folds file; the real data's stands at the top of artifacts."""
        return (self.artifacts if self.is_phantom else self.root / "artifacts") / "folds.json"

    @property
    def page(self) -> Path:
        """The case study; the top-level page is only ever built from the real data."""
        return (self.root if self.name == "msd-standard" else self.artifacts) / "project.html"


def source_hash() -> str:
    """SHA-256 over src, notebook sources and the lock file: stands in compared files in place of a commit."""
    root = project_root()
    paths = sorted([*root.glob("src/**/*"), *root.glob("notebooks/*.py"), root / "requirements.lock"])
    kept = [p for p in paths if p.is_file() and "__pycache__" not in p.parts and ".egg-info" not in str(p)]
    return sha256_bytes(*(p.relative_to(root).as_posix().encode() + b"\0" + p.read_bytes() + b"\0" for p in kept))
