"""Pictures are drawn by another process, and by this one where that process cannot."""

import subprocess

import pytest

from nightune.tasks.reporting.night import drawn_beside as module
from nightune.tasks.reporting.night.drawn_beside import drawn_beside
from nightune.tasks.reporting.night.stills import Still

SPEC = {
    "data": {"values": [{"a": 1}, {"a": 2}]},
    "mark": "point",
    "encoding": {"x": {"field": "a", "type": "quantitative"}},
}


def test_the_process_draws_what_this_one_draws_until_a_figure_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Still(SPEC).png
    drawn_here: list[Still] = []
    usual = Still.png.func

    def here(still: Still) -> bytes:
        drawn_here.append(still)
        return usual(still)

    monkeypatch.setattr(module.Still, "png", property(here))
    with drawn_beside() as begin:
        assert begin(Still(SPEC))() == own
        assert not drawn_here
        pictures = begin(Still({"mark": "nonsense"})), begin(Still(SPEC))
        with pytest.raises(ValueError, match="Vega-Lite"):
            pictures[0]()
        assert pictures[1]() == own
    assert len(drawn_here) == 2


def test_one_processor_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "processor_count", lambda: 1)
    monkeypatch.setattr(subprocess, "Popen", None)
    with drawn_beside() as begin:
        assert begin(Still(SPEC))().startswith(b"\x89PNG")


def test_pictures_are_drawn_here_where_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(module, "processor_count", lambda: 2)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with drawn_beside() as begin:
        assert begin(Still(SPEC))().startswith(b"\x89PNG")
