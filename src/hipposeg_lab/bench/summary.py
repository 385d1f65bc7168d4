"""Summary of all cells: ratios of speed and memory, and the race against the best peer."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hipposeg.experiments.registry import FLAGSHIP, MODELS
from hipposeg.files import read_json, write_json
from hipposeg.stats import paired

NAME = "summary.json"
RATIO = "train_s_per_volume"  # what kinds of CPU are compared by
SPEEDS = (RATIO, "predict_s_per_volume", "peak_mb", "step_gflop", "volumes_per_step")
# What is measured in float32 on every kind of CPU: name in `kinds` -> the cell's system.
IN_FP32 = {"ours": "ours-fp32", "ours-contiguous": "ours-contiguous", "nnunet": "nnunet", "dynunet": "dynunet"}
PEERS = ("nnunet-shortened", "nnunet-released", "dynunet-shortened", "dynunet-released")
# Training times may be exceeded by this fraction; beyond it, ours had more time.
TOLERANCE = 0.02
# A machine is not idle if others use more than this fraction.
IDLE, LOOKS = 0.1, ("busy_before", "busy_during")


def read(root: Path) -> dict[str, Any]:
    """Read summary.json below an output root, its races in ascending order of minutes; empty without a benchmark."""
    path = root / "artifacts" / "bench" / NAME
    if not path.is_file():
        return {}
    found = read_json(path)  # keys are in alphabetical order
    races = {part: found[part] for part in ("race", "claims") if part in found}
    return found | {part: {key: rows[key] for key in sorted(rows, key=float)} for part, rows in races.items()}


def cells(folder: Path) -> dict[str, dict[str, Any]]:
    """Cell name -> content of its file, for every finished cell in the folder."""
    found = {path.stem: read_json(path) for path in sorted(folder.glob("[!.]*.json")) if path.name != NAME}
    return {name: cell for name, cell in found.items() if "key" in cell}


def write(folder: Path) -> dict[str, Any]:
    """Write summary.json beside the cells and return it.

    `kinds` lists the speeds on each kind of CPU: that of the whole benchmark, then those of the short part, which lie
    in folders below.
    """
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    summary = summarise(cells(folder)) | {"kinds": [kind(found) for found in map(cells, places) if found]}
    write_json(folder / NAME, summary)
    return summary


def standard_minutes(summary: dict[str, Any]) -> dict[str, float]:
    """Model -> minutes of its standard schedule, measured on an idle machine."""
    found = {model: cost["schedule_minutes"].get("standard") for model, cost in summary.get("models", {}).items()}
    return {model: minutes for model, minutes in found.items() if minutes is not None}


def idle_minutes(summary: dict[str, Any]) -> dict[str, float]:
    """`standard_minutes`, and for each ensemble the minutes of all its members."""
    found = standard_minutes(summary)
    ensembles = {name: model.members for name, model in MODELS.items() if model.members}
    whole = {name: members for name, members in ensembles.items() if set(members) <= set(found)}
    return found | {name: sum(found[member] for member in members) for name, members in whole.items()}


def summarise(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Machine, models' costs, throughput, race and claims, from the finished cells.

    `settings` lists each machine, thread count, precision and set of versions once: with more than one, the numbers
    should not be compared. `models` and `predict_s` (a scan, by the command) leave out disturbed cells. `busy` is the
    largest fraction of the processors that other programs used just before a cell or during it.
    """
    settings: list[Any] = []
    for cell in found.values():
        settings += [] if cell["setting"] in settings else [cell["setting"]]
    timed = [cell for cell in found.values() if cell["kind"] == "models" and not disturbed(cell)]
    looks = [cell.get(when) for cell in found.values() for when in LOOKS]
    scan, table = found.get("predict"), race(found)
    return {
        "settings": settings,
        "busy": max((share for share in looks if share is not None), default=None),
        "models": {model: cost for cell in timed for model, cost in cell["models"].items()},
        **({"predict_s": scan["median_s"]} if scan and not disturbed(scan) else {}),
        "throughput": throughput(found),
        "race": {minutes: {name: _kept(row, ("dice", "train_s", "steps")) for name, row in rows.items()}
                 for minutes, rows in table.items()},
        "claims": {minutes: made for minutes, rows in table.items() if (made := claim(rows))},
    }  # fmt: skip


def _kept(row: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: row[key] for key in keys if key in row}


def in_brief(setting: dict[str, Any]) -> str:
    """A machine in words, such as "Intel Xeon, bfloat16": its processor and default precision."""
    name = " ".join(re.sub(r"\((R|TM)\)|\bProcessor\b|@.*", " ", setting["machine"]).split())
    return f"{name}, {'bfloat16' if setting.get('precision') == 'bf16' else 'float32'}"


def kind(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Speeds of one kind of CPU, from its cells; None if not measured.

    Returns:
        cpu, in words; precision (its default); threads; first_s and further_s, seconds of the predictor's command;
        schedule_minutes, precision -> training time of the flagship in minutes; systems, name -> step_s, share_of_peak
        and times_ours (ratio of the time to train on a volume), in float32.
    """
    setting, peak = next(iter(found.values()))["setting"], found.get("peak", {}).get("fp32_gflops")
    predicted = found.get("quick.predict") or found.get("predict", {})
    measured = {name: found.get(f"quick.{one}") or found.get(f"throughput.{one}") for name, one in IN_FP32.items()}
    measured = {name: cell for name, cell in measured.items() if cell}
    ours, systems = measured.get("ours", {}), {}
    for name, cell in measured.items():
        systems[name] = {"step_s": cell["step_s"], "share_of_peak": cell["gflops"] / peak if peak else None}
        if ours:
            systems[name]["times_ours"] = {RATIO: cell[RATIO] / ours[RATIO]}
    minutes = {"fp32": ours["schedule_minutes"]} if ours.get("schedule_minutes") else {}
    costs = summarise(found)["models"].get(FLAGSHIP, {}).get("schedule_minutes", {})
    minutes |= {setting["precision"]: costs["standard"]} if "standard" in costs else {}
    return {
        "cpu": in_brief(setting), **{name: setting.get(name) for name in ("precision", "threads")},
        "first_s": predicted.get("median_s"), "further_s": predicted.get("further_s"),
        "schedule_minutes": minutes, "systems": systems,
    }  # fmt: skip


def disturbed(cell: dict[str, Any]) -> bool:
    """Whether other programs used the machine before or during a cell, which makes its times useless."""
    return any((cell.get(when) or 0) > IDLE for when in LOOKS)


def throughput(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """System -> its SPEEDS, and its fraction of the measured bf16 peak."""
    peak = found.get("peak", {}).get("bf16_gflops")
    systems = {cell["system"]: cell for cell in found.values() if cell["kind"] == "throughput"}
    return {
        name: _kept(cell, SPEEDS) | {"share_of_bf16_peak": cell["gflops"] / peak if peak else None}
        for name, cell in systems.items()
    }


def race(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Training time in minutes (text, ascending) -> system -> its result, and whether the machine was idle."""
    table: dict[str, dict[str, Any]] = {}
    for cell in found.values():
        for look in cell["looks"] if cell["kind"] == "race" else ():
            row = {**look, "idle": not disturbed(cell), "setting": cell["setting"]}
            table.setdefault(f"{look['minutes']:g}", {})[cell["system"]] = row
    return {minutes: table[minutes] for minutes in sorted(table, key=float)}


def claim(rows: dict[str, Any]) -> dict[str, Any] | None:
    """Ours against the peer with the highest mean Dice after the same training time.

    Returns:
        difference: ours minus the peer's, mean over subjects, with its interval; one seed each. idle: nothing else ran
        during any of them. ahead: the whole interval is above 0, ours kept to the training time, and the machine was
        idle. None unless ours and all PEERS were measured on one machine with the same versions.
    """
    settings = [row["setting"] for row in rows.values()]
    if not {"ours", *PEERS} <= set(rows) or any(one != settings[0] for one in settings):
        return None
    stronger = max(PEERS, key=lambda name: rows[name]["dice"]["mean"]["value"])
    ours, peer = rows["ours"], rows[stronger]
    cases = sorted(ours["cases"], key=int)
    if cases != sorted(peer["cases"], key=int):
        raise ValueError(
            f"ours and {stronger} have different test cases; remove their files and run `make bench` again"
        )
    a, b = (np.array([row["cases"][case]["mean"] for case in cases], dtype=float) for row in (ours, peer))
    found = paired(a, b, [ours["subjects"][case] for case in cases])
    within = ours["train_s"] <= 60 * ours["minutes"] * (1 + TOLERANCE)
    idle = all(row["idle"] for row in rows.values())
    return {
        "stronger": stronger, "difference": found.difference, "low": found.low, "high": found.high,
        "ahead": found.low > 0 and within and idle, "within_budget": within, "idle": idle,
    }  # fmt: skip


def in_words(summary: dict[str, Any]) -> str:
    """The claims as lines of text, after reasons against them."""
    lines = []
    if (summary["busy"] or 0) > IDLE:
        lines.append(
            f"Other programs used up to {summary['busy']:.0%} of the processors during a cell, so its times support no "
            "claim. Stop them, remove the cells' files and run `make bench` again."
        )
    if len(summary["settings"]) > 1:
        lines.append("The cells are of several machines or versions; `make bench` measures the outdated ones again.")
    for minutes, made in summary["claims"].items():
        side = "better than" if made["ahead"] else "not better than"
        reach = f"{made['difference']:+.4f} Dice, 95 % interval {made['low']:+.4f} to {made['high']:+.4f}"
        late = "" if made["within_budget"] else "; ours trained for longer"
        late += "" if made["idle"] else "; the machine was not idle"
        lines.append(f"{minutes} minutes: ours {side} {made['stronger']} ({reach}, one seed{late})")
    if not summary["claims"]:
        lines.append("No training time has results of ours and all peers yet.")
    return "\n".join(lines)
