"""Paths: the project's root, and one workspace per data set."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from hipposeg.files import sha256_bytes

# How many of the planned runs `make all` trains: none; those of the notebooks' main sections; all.
PROFILES = ("smoke", "stored", "standard", "full")


def project_root() -> Path:
    """The checkout around the working directory, else that of an editable install, else the working directory.

    A checkout is a folder whose pyproject.toml names hipposeg and that holds notebooks/.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if is_project(folder):
            return folder
    return here


def is_project(folder: Path) -> bool:
    """Whether a folder is a checkout of this project."""
    description = folder / "pyproject.toml"
    if not description.is_file() or not (folder / "notebooks").is_dir():
        return False
    text = description.read_text(encoding="utf-8", errors="replace")
    return re.search(r'^\s*name\s*=\s*["\']hipposeg["\']', text, re.MULTILINE) is not None


def output_root() -> Path:
    """Where `artifacts` and `.work` are written: HIPPOSEG_OUT if set, else the project's root.

    Raises ValueError if HIPPOSEG_OUT names a file.
    """
    root = Path(os.environ.get("HIPPOSEG_OUT") or project_root()).expanduser().resolve()
    if root.is_file():
        raise ValueError(f"HIPPOSEG_OUT: found the file {root}, expected a folder. Name another one, or unset it.")
    return root


@dataclass(frozen=True)
class Workspace:
    """Every path that depends on the data set, below `output_root`; the phantom's files stay inside `.work`.

    The profile, one of PROFILES, decides what is trained, never where a file is.
    """

    root: Path
    dataset: str
    profile: str = "standard"

    @classmethod
    def here(cls, dataset: str, profile: str) -> "Workspace":
        """The workspace below `output_root`; the phantom always has the profile smoke."""
        return cls(output_root(), dataset, "smoke" if dataset == "phantom" else profile)

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"profile is {self.profile!r}; choose one of {', '.join(PROFILES)}")

    @property
    def is_phantom(self) -> bool:
        """True for synthetic data."""
        return self.dataset == "phantom"

    @property
    def artifacts(self) -> Path:
        """Committed and compared files."""
        return self.work / "artifacts" if self.is_phantom else self.root / "artifacts"

    @property
    def figures(self) -> Path:
        """Figures, and one index with captions for each notebook."""
        return self.artifacts / "figures"

    @property
    def work(self) -> Path:
        """Checkpoints, caches, stamps and logs; ignored by git."""
        return self.root / ".work" / self.dataset

    @property
    def folds(self) -> Path:
        """The folds file."""
        return self.artifacts / "folds.json"

    @property
    def page(self) -> Path:
        """The case study; only the real data's stands at the top of the project."""
        return (self.artifacts if self.is_phantom else self.root) / "project.html"


def source_hash() -> str:
    """SHA-256 over src, notebook sources and the lock file."""
    root = project_root()
    patterns = ("src/**/*", "notebooks/*.py", "notebooks/*.toml", "requirements.lock")
    paths = sorted(path for pattern in patterns for path in root.glob(pattern))
    kept = [p for p in paths if p.is_file() and "__pycache__" not in p.parts and ".egg-info" not in str(p)]
    return sha256_bytes(*(p.relative_to(root).as_posix().encode() + b"\0" + p.read_bytes() + b"\0" for p in kept))
