"""What every notebook starts with: the cohort, a banner, saved figures with captions, facts as JSON."""

import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from IPython.display import Image, Markdown, display
from matplotlib.figure import Figure

from hipposeg import files
from hipposeg.data import cohort as cohorts
from hipposeg.data import folds as folding
from hipposeg.data import locate
from hipposeg.experiments import RunResult, RunSpec, plan, train_or_load
from hipposeg.results import compare
from hipposeg.viz.style import preview, save_figure, use_style
from hipposeg.workspace import Workspace, output_root


def headless() -> bool:
    """True where papermill runs the notebook, False where a person does."""
    return os.environ.get("HIPPOSEG_HEADLESS") == "1"


@dataclass
class Session:
    """One notebook's run. Create it with `start`, end it with `finish`."""

    name: str
    ws: Workspace
    cohort: cohorts.Cohort
    folds: dict[str, list[dict[str, list[int]]]]
    _figures: list[dict[str, str]] = field(default_factory=list)
    _facts: dict[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> str:
        """ "01" of "01_exploration"."""
        return self.name.split("_")[0]

    @property
    def drawn(self) -> Path:
        """Where figures wait until the notebook has run to its end."""
        return self.ws.work / "figures"

    @property
    def spec(self) -> Any:
        """The data set's description."""
        return self.cohort.spec

    def run(
        self, arm: str, folds: str = "grouped", fold: int = 0, seed: int = 0, budget: str = "standard"
    ) -> RunResult:
        """Train an arm, or load it if it is there; the smoke profile always takes the arm's smoke recipe."""
        budget = "smoke" if self.ws.profile == "smoke" else budget
        return train_or_load(RunSpec(arm, folds, fold, seed, budget), self.cohort, self.folds, self.ws)

    def series(self) -> list[RunResult]:
        """The notebook's declared series as far as it is there; says how far. Under `full` the rest is trained."""
        declared = plan.declared(self.number)
        for one in declared if self.ws.profile == "full" else ():
            self.run(one.arm, one.folds, one.fold, one.seed, one.budget)
        found = plan.committed(self.ws, self.number, self.spec)
        there = sum(one.run in declared for one in found)
        self.facts(series_declared=len(declared), series_found=there)
        where = f" (networks trained on {compare.machines(found)})" if found else ""
        rest = f"; `hipposeg series {self.number}` trains the others, several side by side"
        rest = where + (rest if there < len(declared) else "")
        self.say(f"**{there} of {len(declared)} runs of the series are there**{rest}.")
        return found

    def say(self, text: str) -> None:
        """Show markdown that holds values just computed."""
        display(Markdown(textwrap.dedent(text)))

    def facts(self, **values: Any) -> None:
        """Record numbers for the page and the README; written by `finish` to facts/<notebook>.json."""
        self._facts.update(values)

    def save(self, fig: Figure, slug: str, caption: str, alt: str, kind: str = "svg") -> None:
        """Draw a figure that `finish` puts into figures/<NN>_<slug>.<svg|png>; caption and alt text travel to the page.

        Use svg for charts and png for images of tissue. The figure is also shown in the notebook.
        """
        name = f"{self.number}_{slug}.{kind}"
        save_figure(fig, self.drawn / name, self.ws.is_phantom)
        self._figures.append({"file": name, "caption": caption, "alt": alt})
        display(Image(preview(fig), alt=alt))
        display(Markdown(f"*{caption}*"))
        import matplotlib.pyplot as plt

        plt.close(fig)

    def finish(self, *promised: Path) -> None:
        """Put figures, their index and the facts into artifacts; fail if something that the header promises is missing.

        Nothing of this notebook is in artifacts before, so that one that fails half-way leaves nothing half-done.
        """
        for figure in self._figures:
            files.write_bytes(self.ws.figures / figure["file"], (self.drawn / figure["file"]).read_bytes())
        files.write_json(self.ws.artifacts / "facts" / f"{self.name}.json", self._facts)
        files.write_json(self.ws.figures / f"{self.name}.json", self._figures)
        wanted = [self.ws.figures / figure["file"] for figure in self._figures]
        missing = [str(path) for path in [*wanted, *promised] if not path.exists()]
        if missing:
            raise FileNotFoundError(f"{self.name} promised to write, and did not: {', '.join(missing)}")
        print(f"{self.name}: {len(self._figures)} figures, {len(self._facts)} facts written")


PHANTOM_BANNER = """<div style="border:4px solid #D55E00;padding:12px;font-size:120%;color:#D55E00;background:#fff">
<b>PHANTOM DATA. Nothing here comes from patients.</b> Every number and figure below describes synthetic shapes. For the
real data set HIPPOSEG_DATA to the folder Task04_Hippocampus and choose the profile standard.</div>"""


def start(name: str, profile: str) -> Session:
    """Find the data, load it with all reading checks, read or write the folds, and show what this run works on."""
    use_style()
    source = locate.locate(profile)
    ws = Workspace(output_root(), source.dataset, profile)
    cohort = cohorts.load(source)
    folds = folding.read_or_write(ws.folds, cohort)
    if ws.is_phantom:
        display(Markdown(PHANTOM_BANNER))
    people = len({case.subject for case in cohort.cases.values()})
    print(f"{cohort.spec.title}: {len(cohort.cases)} volumes, {people} people; profile {profile}")
    for warning in cohort.warnings:
        print(f"WARNING: {warning}")
    return Session(name, ws, cohort, folds)
