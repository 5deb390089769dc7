"""What long work shows, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from ganprune.evolution import Individual, Progress
from ganprune.report.display import Display


def finished_step(generation=0):
    elite = Individual([1, 0, 1])
    elite.fitness.values, elite.terms = (0.25,), {"n": 0.5, "l_disa": 0.0125, "l_cyc": 0.034}
    return Progress("A2B", generation, (elite,), 0.75, elite, 3, 1, 3.5, 1.0, None)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_search_shows_its_figures_its_rate_and_what_is_left(terminal):
    text = io.StringIO()
    display = Display(Console(file=text, force_terminal=terminal, width=150))
    with display.live():
        display.stage("co-evolving", 10)
        for _ in range(4):
            display.evaluation("A2B", Individual([1]))
        display.search(finished_step())
    shown = text.getvalue()
    for part in ("co-evolving", "A2B", "0.2500", "0.5000", "0.0125", "0.0340", "75%", "3.5", "evaluations/s"):
        assert part in shown
    assert "4/10" in shown if terminal else " s left" in shown


@pytest.mark.parametrize("terminal", [False, True])
def test_training_shows_steps_rate_and_losses(terminal):
    text = io.StringIO()
    display = Display(Console(file=text, force_terminal=terminal, width=150))
    with display.live():
        display.stage("fine-tuning", 2)
        for step in (1, 2):
            display.training(step, 2, {"distil_A2B": 0.125})
    shown = text.getvalue()
    for part in ("fine-tuning", "2/2", "steps/s", "0.125"):
        assert part in shown
    assert ("\x1b[" in shown) == terminal


@pytest.mark.parametrize("terminal", [False, True])
def test_images_show_how_many_are_done_and_how_fast(terminal):
    text = io.StringIO()
    display = Display(Console(file=text, force_terminal=terminal, width=150))
    with display.live():
        display.stage("translating 8 images", 8)
        display.images(3, 8)
        display.images(8, 8)
    shown = text.getvalue()
    assert "translating 8 images" in shown and "8/8" in shown and "images/s" in shown
