"""The script that says where time goes: what it measures adds up, and powers are those of the curves."""

import importlib.util
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from networks import toy_cyclegan
from toytask import QUICK

from ganprune.pipeline.task import Task
from ganprune.settings.evolve import make_settings

PATH = Path(__file__).parents[2] / "scripts" / "where_time_goes.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("where_time_goes", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["where_time_goes"] = module  # dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules["where_time_goes"]


def spend(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_a_part_is_without_the_parts_inside_it_and_threads_add_up(script):
    watch = script.Stopwatch()

    def work():
        with watch.part("outer"):
            spend(0.05)
            with watch.part("inner"):
                spend(0.1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watch.seconds["outer"] == pytest.approx(0.1, abs=0.03)
    assert watch.seconds["inner"] == pytest.approx(0.2, abs=0.03)


def test_every_part_of_a_run_is_seen_and_no_more_than_all_of_it(script, images):
    settings = make_settings(**{**QUICK, "finetune_steps": 2})
    rows = script.profile_run(Task(toy_cyclegan(), images, None, None), settings, 2, evaluate=False)
    search, finetune = rows[1:]
    assert [row["stage"] for row in rows] == ["preparation", "search", "fine-tune, 2 steps"]
    assert set(script.SEARCH) <= set(search["parts"])
    assert set(script.FINETUNE) - {"teacher"} <= set(finetune["parts"])
    assert all(0 < sum(row["parts"].values()) <= 1.05 * row["cpu"] for row in rows)
    assert torch.autograd.grad.__module__ == "torch.autograd"  # nothing stays patched


def test_the_power_is_that_of_the_curve(script):
    rows = [{"size": x, "ngf": x, "step": 3e-6 * x**4} for x in (64, 128, 256, 512)]
    assert script.power(rows, "size", "step") == pytest.approx(2.0)
    assert script.power(rows, "ngf", "step") == pytest.approx(4.0)
