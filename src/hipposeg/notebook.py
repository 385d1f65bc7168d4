"""A notebook's session: data, results, saved figures with captions, and facts as JSON."""

import base64
import os
import textwrap
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display
from matplotlib.figure import Figure
from torch import nn

from hipposeg import files
from hipposeg.data import cohort as cohorts
from hipposeg.data import folds as folding
from hipposeg.data import locate
from hipposeg.experiments import plan, weights
from hipposeg.experiments import run as runs
from hipposeg.experiments.registry import MODELS, RunSpec
from hipposeg.results import load, store, tables
from hipposeg.results.load import ResultsError, Run
from hipposeg.viz.style import preview, save_figure, use_style
from hipposeg.workspace import Workspace, project_root


def headless() -> bool:
    """Whether papermill runs the notebook."""
    return os.environ.get("HIPPOSEG_HEADLESS") == "1"


@dataclass
class Session:
    """One notebook's session. Create it with `start`, end it with `finish`."""

    name: str
    ws: Workspace
    cohort: cohorts.Cohort
    folds: dict[str, list[folding.Fold]]
    _figures: list[dict[str, str]] = field(default_factory=list)
    _facts: dict[str, Any] = field(default_factory=dict)
    _unconfirmed: int = 0

    @property
    def number(self) -> str:
        """ "01" of "01_exploration"."""
        return self.name.split("_")[0]

    @property
    def spec(self) -> Any:
        """The data set's description."""
        return self.cohort.spec

    def run(self, model: str, folds: str = "grouped", fold: int = 0, seed: int = 0, schedule: str = "standard") -> Run:
        """Return a finished run, training it if needed.

        The runs of the main sections are trained on this machine (or taken from its cache), so that a change shows;
        any other run is taken from the tables if they hold it. The profile `stored` trains nothing and raises
        ResultsError if the tables do not hold the run; `smoke` takes every model's two-epoch schedule.
        """
        schedule = "smoke" if self.ws.profile == "smoke" else schedule
        run = RunSpec(model, folds, fold, seed, schedule)
        if self.ws.profile == "stored":
            found = load.get(self.ws, run.name)
            if found is None:
                raise ResultsError(f"the tables do not hold {run.name}; choose the profile standard, which trains it")
            return found
        if self.ws.profile != "full" and run in plan.standard(self.ws.profile):
            return runs.train(runs.native(run), self.cohort, self.folds, self.ws)
        return runs.obtain(run, self.cohort, self.folds, self.ws)

    @cached_property
    def every_run(self) -> pd.DataFrame:
        """All finished runs (`results.load`), checked; runs trained here take the place of those they repeat."""
        frame = load.load(self.ws)
        load.check(frame, self.spec, self.folds)
        return load.with_stand_ins(frame, runs.stand_ins(self.ws))

    @cached_property
    def results(self) -> pd.DataFrame:
        """The runs to compare: each planned run once, without its twin in another precision or on another device."""
        return load.without_twins(self.every_run)

    def planned(self, chapter: str = "") -> pd.DataFrame:
        """The rows of a chapter's finished planned runs, by default of this one; prints how many there are."""
        number = chapter or self.number
        found, declared = plan.of_notebook(self.results, number), plan.declared(number)
        count = plan.finished(self.every_run, declared)["run"].nunique()
        self.facts(series_declared=len(declared), series_found=count)
        networks = found[[not MODELS[model].members for model in found["model"]]]
        where = f" (networks trained on {tables.machines(networks)})" if len(networks) else ""
        rest = f"; `hipposeg train --plan {number}` trains the others" if count < len(declared) else ""
        self.say(f"**{count} of {len(declared)} planned runs are finished**{where}{rest}.")
        return found

    def network(self, run: Run) -> nn.Module | None:
        """A run's network with the scored weights, in evaluation mode.

        If they are not on this machine, the same configuration trained again elsewhere (`hipposeg-lab study networks`
        keeps a few for pictures), which is said; None without that, too.
        """
        spec = RunSpec(*(run.config[name] for name in ("model", "folds", "fold", "seed", "schedule")))
        path, digest = self.ws.work / "runs" / run.name / runs.WEIGHTS, run.config["weights_sha256"]
        if not path.is_file() or files.sha256_file(path) != digest:
            kept = self.ws.artifacts / "weights" / "weights.json"
            one = files.read_json(kept).get(spec.name) if kept.is_file() else None
            if one is None:
                return None
            path = kept.with_name(f"{spec.name}.safetensors")
            if files.sha256_file(path) != one["sha256"]:
                raise ResultsError(f"{path} is not the file that {kept.name} lists; restore both with git")
            self.say(f"""The network shown is of the same configuration, trained again ({one["processor"]},
{one["precision"]}); its mean Dice is {one["dice"]:.3f}.""")
        return weights.load(path, spec, self.spec, runs.machine_for(runs.native(spec)))

    def say(self, text: str) -> None:
        """Show Markdown that holds values just computed."""
        display(Markdown(textwrap.dedent(text)))

    def claim(self, condition: bool, sentence: str) -> None:
        """Show a finding in definite words, if its condition holds; the phantom's results are not checked.

        Runs that this machine trained again differ from the published ones by rounding, as another seed would, and may
        turn a close comparison. Then the finding is shown as not confirmed here.

        Raises:
            AssertionError: the published results contradict the sentence, so the text must be rewritten.
        """
        if self.ws.is_phantom:
            self.say("*On the phantom, findings about real data are neither checked nor shown.*")
            return
        if condition:
            self.say(sentence)
            return
        changed = store.changed_here(self.ws)
        if not changed:
            raise AssertionError(f"the results contradict this finding; rewrite it: {sentence}")
        self._unconfirmed += 1
        self.say(f"""**Not confirmed here.** The published results support the following finding. In the tables of this
folder, some runs were trained again and score differently ({", ".join(changed)}); with them it does not hold.""")
        self.say(f"> {textwrap.dedent(sentence)}")

    def facts(self, **values: Any) -> None:
        """Record numbers for the page and the README; `finish` writes them to facts/<notebook>.json."""
        self._facts.update(values)

    def save(self, fig: Figure, slug: str, key: str = "", **values: Any) -> None:
        """Show a figure with its caption, and save it as figures/<NN>_<slug>.<svg|png> when the notebook finishes.

        Args:
            fig: the figure.
            slug: its name.
            key: the name of its texts in notebooks/captions.toml, if they serve several figures.
            values: what the texts name in braces.

        Raises:
            KeyError: captions.toml lacks the figure, or the call lacks a value.
        """
        texts = self._captions[f"{self.number}_{key or slug}"]
        caption, alt = (texts[name].format_map(values) for name in ("caption", "alt"))
        name = f"{self.number}_{slug}.{texts.get('kind', 'svg')}"
        save_figure(fig, self.ws.work / "figures" / name, self.ws.is_phantom)
        self._figures.append({"file": name, "caption": caption, "alt": alt})
        # Not `Image(alt=...)`, which Colab's IPython does not know.
        shown = {"image/png": base64.b64encode(preview(fig)).decode(), "text/plain": alt}
        display(shown, metadata={"image/png": {"alt": alt}}, raw=True)
        display(Markdown(f"*{caption}*"))
        plt.close(fig)

    @cached_property
    def _captions(self) -> dict[str, dict[str, str]]:
        return tomllib.loads((project_root() / "notebooks" / "captions.toml").read_text(encoding="utf-8"))

    def finish(self, *promised: Path) -> None:
        """Move figures, their index and the facts into artifacts, where a failed notebook has left nothing.

        Raises FileNotFoundError if a promised file is missing.
        """
        for figure in self._figures:
            drawn = self.ws.work / "figures" / figure["file"]
            files.write_bytes(self.ws.figures / figure["file"], drawn.read_bytes())
        files.write_json(self.ws.artifacts / "facts" / f"{self.name}.json", self._facts)
        files.write_json(self.ws.figures / f"{self.name}.json", self._figures)
        missing = [str(path) for path in promised if not path.exists()]
        if missing:
            raise FileNotFoundError(f"{self.name} promised to write, and did not: {', '.join(missing)}")
        print(f"{self.name}: {len(self._figures)} figures, {len(self._facts)} facts written")
        if self._unconfirmed:
            print(f"{self.name}: not confirmed by runs trained here: {self._unconfirmed} findings, see the notebook")


PHANTOM_BANNER = """<div style="border:4px solid #D55E00;padding:12px;font-size:120%;color:#D55E00;background:#fff">
<b>PHANTOM DATA. Nothing here comes from patients.</b> Every number and figure below describes synthetic shapes. For the
real data set HIPPOSEG_DATA to the folder Task04_Hippocampus and choose the profile standard.</div>"""


def start(name: str, profile: str) -> Session:
    """Find the data, load it with all reading checks, read or write the folds, and print what was found.

    Without the real data the phantom is used, always with the profile smoke.
    """
    use_style()
    source = locate.locate(profile)
    ws = Workspace.here(source.dataset, profile)
    cohort = cohorts.load(source)
    folds = folding.read_or_write(ws.folds, cohort)
    if ws.is_phantom:
        display(Markdown(PHANTOM_BANNER))
    subjects = len({case.subject for case in cohort.cases.values()})
    print(f"{cohort.spec.title}: {len(cohort.cases)} volumes, {subjects} subjects; profile {ws.profile}")
    for warning in cohort.warnings:
        print(f"WARNING: {warning}")
    return Session(name, ws, cohort, folds)
