"""Findings of notebooks: shown, refused, or marked where runs that were trained again contradict them."""

import pytest

from hipposeg.notebook import Session
from hipposeg.workspace import Workspace


@pytest.fixture
def shown(monkeypatch):
    """What a session displays."""
    texts = []
    monkeypatch.setattr(Session, "say", lambda _, text: texts.append(text))
    return texts


def reproduced(ws, difference):
    ws.artifacts.mkdir(parents=True)
    (ws.artifacts / "reproduced.csv").write_text(
        f"run,dice_here,dice_before,difference\na.b,0.8,,\nu.v,0.9,,{difference}\n"
    )


def test_a_finding_that_the_published_results_contradict_stops_the_notebook(tmp_path, shown):
    session = Session("03_x", Workspace(tmp_path, "msd", "stored"), None, {})
    session.claim(True, "3D is better.")
    with pytest.raises(AssertionError, match="contradict this finding; rewrite it: 3D is better"):
        session.claim(False, "3D is better.")
    reproduced(session.ws, 0)  # the same bytes: nothing that could explain it
    with pytest.raises(AssertionError, match="contradict"):
        session.claim(False, "3D is better.")
    assert shown == ["3D is better."]


def test_runs_trained_here_may_contradict_a_finding_and_then_it_is_marked(tmp_path, shown, capsys):
    session = Session("03_x", Workspace(tmp_path, "msd", "standard"), None, {})
    reproduced(session.ws, -0.002)
    session.claim(True, "2D is worse.")
    session.claim(False, "3D is better.")
    assert shown[0] == "2D is worse." and shown[2] == "> 3D is better."
    assert "Not confirmed here" in shown[1] and "u.v" in shown[1] and "a.b" not in shown[1]
    session.finish()
    assert "not confirmed by runs trained here: 1 findings" in capsys.readouterr().out
