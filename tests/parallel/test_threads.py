"""Evaluation in threads: in order, at once, and with the numbers of one after the other."""

import threading
from contextlib import nullcontext

import pytest
import torch
from networks import toy_cyclegan
from toytask import QUICK

from ganprune.evolution import coevolve
from ganprune.parallel.threads import Threads
from ganprune.parallel.workers import spread
from ganprune.pipeline.search import prepare
from ganprune.pipeline.task import Task
from ganprune.settings.evolve import make_settings


class Foreign(torch.nn.Module):
    """Might do anything."""

    def forward(self, x):
        return x


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def search(images, **options):
    settings = make_settings("quick", **{**QUICK, "target_ratio": 2.0, **options})
    return prepare(Task(toy_cyclegan(), images, None, None), settings, lambda *stage: None)


def test_results_come_in_order_from_threads_that_have_one_each(two_threads):
    meeting = threading.Barrier(2, timeout=60)  # that two calls have to reach at once

    def call(number):
        meeting.wait()
        return number, torch.get_num_threads()

    with Threads(2) as pool:
        assert list(pool.map(call, range(6))) == [(number, 1) for number in range(6)]
    assert torch.get_num_threads() == 2


def test_calls_that_nobody_waits_for_any_more_are_not_made():
    made, go = [], threading.Event()

    def call(number):
        made.append(number)
        return number == 0 or go.wait(60)

    with Threads(1) as pool:
        results = pool.map(call, range(5))
        next(results)
        results.close()
        go.set()
    assert made in ([0], [0, 1])


@pytest.mark.parametrize("options", [{}, {"tune_steps": 1, "tune_batch": 2}], ids=["plain", "tuned"])
def test_a_search_in_threads_is_the_one_without(images, two_threads, options):
    found = []
    for at_once in (False, True):
        one, scores = search(images, **options), []
        assert all(fitness.shareable for fitness in one.fitness.values())
        note = lambda side, individual, scores=scores: scores.append(  # noqa: E731
            (side, tuple(individual), individual.terms)
        )
        with spread(one.fitness, one.toolboxes) if at_once else nullcontext():
            assert at_once == (one.toolboxes["A2B"].map.func is not map)
            coevolve(one.toolboxes, generations=2, seed=5, on_evaluation=note)
        assert one.toolboxes["A2B"].map.func is map
        found.append(sorted(map(repr, scores)))
    assert found[0] == found[1]


def test_a_network_whose_code_is_not_known_is_scored_by_itself(images, two_threads):
    cyclegan = toy_cyclegan()
    cyclegan["A2B"].discriminator.model.append(Foreign())
    one = prepare(Task(cyclegan, images, None, None), make_settings("quick", **QUICK), lambda *stage: None)
    assert not any(fitness.shareable for fitness in one.fitness.values())
    with spread(one.fitness, one.toolboxes):
        assert one.toolboxes["A2B"].map.func is map
