"""Workers: the same run with any number of them, wherever they are and whatever becomes of them."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from networks import toy_cyclegan
from toytask import QUICK, outcome, toy_run

from ganprune.cli import main
from ganprune.errors import UserError
from ganprune.evolution import Genetic, Individual, coevolve, make_toolbox
from ganprune.evolution.algorithms.nsga2 import NSGA2
from ganprune.fitness import CycleFitness
from ganprune.parallel import payload, workers
from ganprune.parallel.engines import LocalEngine, begin
from ganprune.parallel.workers import Workers, threads_per_worker
from ganprune.pipeline.reporter import Reporter
from ganprune.pipeline.search import prepare
from ganprune.pipeline.task import Task
from ganprune.runs.directory import RunDirectory
from ganprune.settings.evolve import make_settings

SIDES = ("A2B", "B2A")


@pytest.fixture
def search(images):
    """Both sides' fitness with a budget, and tuned a little: everything that a worker may need."""
    settings = make_settings("quick", **{**QUICK, "target_ratio": 2.0, "tune_steps": 1, "tune_batch": 2})
    return prepare(Task(toy_cyclegan(), images, None, None), settings, lambda *stage: None)


@pytest.fixture
def fitness(search):
    return search.fitness


class Thread(Executor):
    """Does calls in this process when their results are asked for, and breaks at given calls."""

    def __init__(self, breaks=()):
        self.breaks, self.calls, self.cancelled = set(breaks), 0, 0

    def submit(self, function, *arguments):
        future = Future()

        def result(timeout=None):
            self.calls += 1
            if self.calls in self.breaks:
                raise BrokenExecutor("it died")
            return function(*arguments)

        future.result = result
        future.cancel = lambda: setattr(self, "cancelled", self.cancelled + 1)
        return future


class FakeEngine:
    losses = (BrokenExecutor,)

    def __init__(self, *executors):
        self.executors, self.stopped = list(executors), []

    def start(self, payload, threads):
        self.payload = payload
        return self.executors.pop(0)

    def stop(self, executor, *, at_once):
        self.stopped.append((executor, at_once))


def double(number):
    return 2 * number


# --- payloads


def test_a_packed_fitness_travels_as_its_hash_and_arrives_whole(fitness):
    individual = Individual(fitness["A2B"].space.full())
    expected = fitness["A2B"](individual)
    packed = payload.pack(fitness)
    call = pickle.dumps((fitness["A2B"], (individual, None)))
    assert len(call) < 2000 < len(packed.data)
    assert pickle.loads(call)[0] is fitness["A2B"]
    payload.release(packed.digest)
    with pytest.raises(UserError, match=r"payload of a worker: got none with content"):
        pickle.loads(call)
    payload.install(packed)
    twin, arguments = pickle.loads(call)
    assert twin is not fitness["A2B"] and twin(*arguments) == expected
    payload.release(packed.digest)


def test_both_sides_share_what_they_share(fitness):
    packed = payload.pack(fitness)
    payload.release(packed.digest)
    payload.install(packed)
    both = payload.at_address(packed.digest, "A2B"), payload.at_address(packed.digest, "B2A")
    payload.release(packed.digest)
    assert both[0].builders["B2A"] is both[1].builders["B2A"] and both[0].cyclegan is both[1].cyclegan
    tuning = both[0].builders["A2B"].images
    count = len(tuning["A"].train)
    tuning["A"].train.paths = [Path("gone")] * count
    assert tuning["A"].train.tensor().shape[0] == count and not len(tuning["A"].test), "workers elsewhere have no files"


def test_nothing_that_was_cached_travels(fitness):
    before = payload.pack(fitness)
    payload.release(before.digest)
    for side in SIDES:
        half = [1, 0] * (len(fitness[side].space) // 2)
        fitness[side](half, half)
    after = payload.pack(fitness)
    payload.release(after.digest)
    assert len(after.data) == len(before.data)


def test_another_content_than_was_sent_is_refused(fitness):
    packed = payload.pack(fitness)
    payload.release(packed.digest)
    damaged = payload.Payload(packed.digest, packed.data[:-1] + b"x")
    with pytest.raises(UserError, match=f"expected content {packed.digest[:12]}. Start the workers again"):
        payload.install(damaged)


def test_a_fitness_that_no_worker_has_says_what_to_use(fitness):
    with pytest.raises(UserError, match=r"CycleFitness: got a call in another process.*ganprune\.parallel\.workers"):
        pickle.dumps(fitness["A2B"])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [Genetic(4), NSGA2(4)])
def test_what_a_toolbox_sends_is_small(fitness, strategy):
    toolbox = make_toolbox(fitness["A2B"].space, fitness["A2B"])
    strategy.register(toolbox)
    with Workers(fitness, FakeEngine(Thread())):
        assert len(pickle.dumps(toolbox.evaluate)) < 1000


# --- the map


def test_results_come_in_order_and_each_when_it_is_asked_for(fitness):
    executor = Thread()
    with Workers(fitness, FakeEngine(executor)) as pool:
        results = pool.map(double, [1, 2, 3])
        assert next(results) == 2 and executor.calls == 1
        assert list(results) == [4, 6]
        assert list(pool.map(pow, [2, 3], [3, 2])) == [8, 9]


def test_what_a_dead_worker_was_doing_is_done_by_another(fitness):
    first, second, third = Thread(breaks=[3]), Thread(breaks=[1]), Thread()
    engine, told = FakeEngine(first, second, third), []
    with Workers(fitness, engine, report=told.append) as pool:
        assert list(pool.map(double, range(5))) == [0, 2, 4, 6, 8]
    assert engine.stopped == [(first, True), (second, True), (third, False)]
    assert told == ["a worker died; what it was doing is done again"] * 2


def test_workers_that_only_die_end_the_run_with_one_message(fitness):
    engine = FakeEngine(*(Thread(breaks=[1]) for _ in range(9)))
    with (
        pytest.raises(UserError, match=r"workers: got 4 deaths without a result.*\(it died\).*lower --workers"),
        Workers(fitness, engine) as pool,
    ):
        list(pool.map(double, [1]))
    assert len(engine.stopped) == 4


def test_a_mistake_of_the_evaluation_is_not_the_workers(fitness):
    with Workers(fitness, FakeEngine(Thread())) as pool, pytest.raises(ZeroDivisionError):
        list(pool.map(divmod, [1], [0]))


def test_what_is_not_wanted_any_more_is_cancelled(fitness):
    executor = Thread()
    with Workers(fitness, FakeEngine(executor)) as pool:
        results = pool.map(double, range(4))
        next(results)
        results.close()
    assert executor.cancelled == 3 and executor.calls == 1


def test_after_the_workers_the_fitness_is_as_before(fitness):
    with Workers(fitness, FakeEngine(Thread())):
        assert fitness["A2B"].address
    assert fitness["A2B"].address is None


def test_threads_are_divided_among_workers(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    assert [threads_per_worker(None, count) for count in (2, 3, 9)] == [2, 1, 1]
    assert threads_per_worker(4, 3) == 4 and threads_per_worker(None, 1) is None


# --- real processes


def alive(pids):
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}") and "Z" not in state_of(pid)]


def state_of(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def serial(checkpoint, image_folder, tmp_path_factory):
    return toy_run(checkpoint, image_folder, tmp_path_factory.mktemp("serial") / "run")


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_give_the_serial_run(
    serial, checkpoint, image_folder, tmp_path, monkeypatch
):
    engines, told, scored = [], [], []

    class Engine(LocalEngine):
        def start(self, payload, threads):
            engines.append(self)
            return super().start(payload, threads)

    def kill(*given):
        scored.append(given)
        if len(scored) == 5:
            engines[-1].processes[0].kill()

    monkeypatch.setattr(workers, "LocalEngine", Engine)
    stage = lambda text, total=None: told.append(text)  # noqa: E731 - as short as it gets
    run = toy_run(checkpoint, image_folder, tmp_path / "run", Reporter(stage, evaluation=kill), workers=2)
    assert len(engines) > 1 and "a worker died; what it was doing is done again" in told
    assert outcome(run) == outcome(serial)
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_stopped_or_killed_search_leaves_no_process_and_resumes_with_workers(
    serial, checkpoint, image_folder, tmp_path
):
    options = {"--data": image_folder, "--checkpoint": checkpoint, "--out": tmp_path / "run", "--size": 16}
    options |= {"--" + key.replace("_", "-"): value for key, value in QUICK.items()}
    options |= {"--device": "cpu", "--threads": 1, "--workers": 2}
    line = [str(part) for pair in options.items() for part in pair]
    evaluations = tmp_path / "run" / "evaluations.jsonl"
    for number, arguments in ((signal.SIGKILL, line), (signal.SIGINT, ["--resume", str(tmp_path / "run")])):
        before = evaluations.read_bytes().count(b"\n") if evaluations.exists() else 0
        command = [sys.executable, "-m", "ganprune.cli", "evolve", *arguments, "--workers", "2"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        wait_until(lambda: evaluations.exists() and evaluations.read_bytes().count(b"\n") > before, 120)  # noqa: B023
        children = children_of(process.pid)
        assert len(children) >= 2
        if number == signal.SIGKILL:
            process.kill()
        else:
            os.killpg(process.pid, number)  # as a terminal does: to the workers too
        error = process.communicate(timeout=120)[1]
        wait_until(lambda: not alive(children))  # noqa: B023
    assert process.returncode == 130 and "Traceback" not in error
    assert error.rstrip().endswith(f"Go on with: ganprune evolve --resume {tmp_path / 'run'}")
    result = CliRunner().invoke(main, ["evolve", "--resume", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert outcome(RunDirectory(tmp_path / "run")) == outcome(serial)


def children_of(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == pid:
                found.append(int(entry))
    return found


def test_a_worker_has_its_threads_and_its_payload(fitness):
    packed = payload.pack(fitness)
    payload.release(packed.digest)
    before = torch.get_num_threads(), threading.active_count()
    given = [packed]
    begin(given, 1)
    assert given == []
    assert payload.at_address(packed.digest, "A2B").side == "A2B" and torch.get_num_threads() == 1
    payload.release(packed.digest)
    torch.set_num_threads(before[0])


# --- a cluster


@pytest.fixture(scope="module")
def cluster():
    """A Dask scheduler with two worker processes on the loopback interface."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        yield cluster


@pytest.mark.slow
def test_a_cluster_of_which_one_worker_is_killed_gives_the_serial_run(
    serial, checkpoint, image_folder, tmp_path, cluster
):
    victim, scored = next(iter(cluster.workers.values())).pid, []

    def kill(*given):
        scored.append(given)
        if len(scored) == 5:
            os.kill(victim, signal.SIGKILL)

    address = cluster.scheduler_address
    run = toy_run(checkpoint, image_folder, tmp_path / "run", Reporter(evaluation=kill), cluster=address)
    assert outcome(run) == outcome(serial)
    assert not alive([victim])


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_refused_before_anything_is_written(
    checkpoint, image_folder, tmp_path, monkeypatch
):
    pytest.importorskip("distributed")
    monkeypatch.setattr("ganprune.parallel.engines.CONNECT_SECONDS", 0.5)
    for address in ("tcp://127.0.0.1:9", "nonsense", "tcp://127.0.0.1"):
        with pytest.raises(UserError, match=rf"--cluster: got {address} .*dask scheduler"):
            toy_run(checkpoint, image_folder, tmp_path / "run", cluster=address)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_other_versions_on_the_cluster_are_refused(checkpoint, image_folder, tmp_path, cluster, monkeypatch):
    monkeypatch.setattr("ganprune.parallel.engines.__version__", "9.9")
    with pytest.raises(UserError, match=r"ganprune on worker tcp://.*: got .*; expected 9\.9, as here"):
        toy_run(checkpoint, image_folder, tmp_path / "run", cluster=cluster.scheduler_address)
    assert not (tmp_path / "run").exists()


def test_without_the_package_distributed_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    from ganprune.parallel.engines import ClusterEngine

    with pytest.raises(UserError, match=r"--cluster: got tcp://x; .*pip install 'ganprune\[cluster\]'"):
        ClusterEngine("tcp://x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "workers: got 0; expected 1 or more. Correct --workers"),
        (["--workers", "two"], "'two' is not a valid integer"),
        (["--workers", "2", "--cluster", "tcp://x"], "--workers: got 2 with --cluster"),
    ],
)
@pytest.mark.parametrize("command", ["evolve", "compare"])
def test_numbers_of_workers_that_cannot_be(tmp_path, monkeypatch, command, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [command, *arguments])
    assert result.exit_code == 2 and message in result.output and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_plain_loop_over_workers(fitness):
    """What docs/cluster.md shows."""
    toolboxes = {}
    for side in SIDES:
        toolboxes[side] = make_toolbox(fitness[side].space, fitness[side])
        Genetic(population=3).register(toolboxes[side])
    alone = coevolve(toolboxes, generations=1)
    with Workers(fitness, FakeEngine(Thread())) as pool:
        for toolbox in toolboxes.values():
            toolbox.register("map", pool.map)
        assert coevolve(toolboxes, generations=1) == alone


def test_fitness_is_portable():
    assert issubclass(CycleFitness, payload.Portable)


@pytest.mark.slow
def test_compare_uses_workers_too(checkpoint, image_folder, tmp_path):
    small = "--population 3 --validation-images 1 --calibration-images 4 --precision float32"
    line = ["compare", "ga", "random", "--data", image_folder, "--checkpoint", checkpoint, "--size", 16, "--threads", 1]
    line += ["--common", small, "--max-evaluations", 6, "--seeds", 1, "--device", "cpu"]
    tables, before = [], set(multiprocessing.active_children())  # other tests' clusters may still be there
    for name, more in (("one", []), ("two", ["--workers", 2])):
        result = CliRunner().invoke(main, [*map(str, line), "--out", str(tmp_path / name), *map(str, more)])
        assert result.exit_code == 0, result.output
        summary = RunDirectory(tmp_path / name).read_json("summary.json")
        tables.append({contender: figures["values"] for contender, figures in summary["contenders"].items()})
    assert tables[0] == tables[1] and set(multiprocessing.active_children()) <= before
