"""Evaluation in several processes of this machine, or on a Dask cluster: what goes in the place of ``toolbox.map``.

Workers are reached through the standard ``concurrent.futures`` interface. Each gets the networks, images and moments of
both sides once, when it starts, as a :mod:`ganprune.parallel.payload`; then individuals go out and scores come back.
Results are given in the order in which they were asked for, so that a run's files don't tell how many workers it had.
An evaluation that was lost with its worker is done again by another one.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from deap.base import Toolbox

from ganprune.errors import UserError
from ganprune.parallel.engines import ClusterEngine, LocalEngine
from ganprune.parallel.payload import Payload, Portable, pack, release
from ganprune.parallel.threads import Threads
from ganprune.runs.interruption import Interrupted

MAX_DEATHS = 3  # in a row, without any result between them

_one_at_a_time = threading.Lock()  # a cluster's worker may have several threads, and not every network bears them


class Engine(Protocol):
    """Starts workers.

    Attributes:
        losses: what a future raises when its worker is lost.
    """

    losses: tuple[type[BaseException], ...]

    def start(self, payload: Payload, threads: int) -> Executor:
        """Return an executor whose workers have the payload installed, or install it before their first call."""

    def stop(self, executor: Executor, *, at_once: bool) -> None:
        """Let the workers end after what they are doing, or at once."""


class Workers:
    """Worker processes for both sides of one search; a context that ends them.

    ``map`` goes onto the toolboxes::

        with Workers(fitness, LocalEngine(2), threads=1) as workers:
            toolbox.register("map", workers.map)

    Args:
        fitness: both sides', budgets set.
        engine: what starts workers.
        threads: CPU threads of an evaluation.
        report: told with a line of text when workers had to be started again.

    Raises:
        UserError: the engine can't start workers.
    """

    def __init__(
        self,
        fitness: Mapping[str, Portable],
        engine: Engine,
        *,
        threads: int = 1,
        report: Callable[[str], Any] = lambda text: None,
    ):
        self.engine, self.threads, self.report = engine, threads, report
        self.payload = pack(fitness)
        self.deaths, self.closed = 0, False
        try:
            self.executor = engine.start(self.payload, threads)
        except BaseException:
            release(self.payload.digest)
            raise

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        # Interrupted waits for the evaluations in progress, as without workers; anything else doesn't.
        self.close(at_once=kind is not None and not issubclass(kind, Interrupted))

    def close(self, *, at_once: bool = False) -> None:
        """End the workers, if that wasn't done before; the fitness is as it was without them."""
        if not self.closed:
            self.closed = True
            self.engine.stop(self.executor, at_once=at_once)
            release(self.payload.digest)

    def map(self, function: Callable[..., Any], *columns: Sequence[Any]) -> Iterator[Any]:
        """Call the function with each row of the columns, in the workers; give the results in order.

        Raises:
            UserError: workers die one after the other.
        """
        jobs = [pickle.dumps((function, row)) for row in zip(*columns, strict=True)]
        futures: dict[int, Future[Any]] = {}
        try:
            for index in range(len(jobs)):
                yield self._result(jobs, futures, index)
        finally:
            for future in futures.values():
                future.cancel()

    def _result(self, jobs: Sequence[bytes], futures: dict[int, Future[Any]], index: int) -> Any:
        """Return a job's result; it and those after it are submitted first, if they are not, or were lost."""
        while True:
            try:
                for missing in [i for i in range(index, len(jobs)) if i not in futures]:
                    futures[missing] = self.executor.submit(perform, jobs[missing], self.threads)
                result = futures[index].result()
            except self.engine.losses as error:
                self._start_again(error)
                for lost in [i for i, future in futures.items() if not _succeeded(future)]:
                    del futures[lost]
            else:
                self.deaths = 0
                del futures[index]
                return result

    def _start_again(self, reason: BaseException) -> None:
        self.deaths += 1
        if self.deaths > MAX_DEATHS:
            raise UserError(
                "workers", f"{self.deaths} deaths without a result between them ({reason})", "workers that stay alive",
                "Look for a lack of memory, lower --workers, and guard the start of a script of your own by "
                "if __name__ == '__main__'.",
            ) from reason  # fmt: skip
        self.report("a worker died; what it was doing is done again")
        self.engine.stop(self.executor, at_once=True)
        self.executor = self.engine.start(self.payload, self.threads)


def _succeeded(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def perform(job: bytes, threads: int) -> Any:
    """Do one job in a worker.

    Args:
        job: a pickled (function, arguments).
        threads: CPU threads that it takes.
    """
    with _one_at_a_time:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        function, row = pickle.loads(job)
        return function(*row)


@contextmanager
def spread(
    fitness: Mapping[str, Portable],
    toolboxes: Mapping[str, Toolbox],
    *,
    workers: int = 1,
    cluster: str | None = None,
    report: Callable[[str], Any] = lambda text: None,
) -> Iterator[Callable[[], None]]:
    """Within the block, evaluate both sides' individuals in workers, or in this process, in threads where they may.

    Gives a function that ends workers and threads before the block does, when the search is over.

    Args:
        fitness: both sides', budgets set.
        toolboxes: both sides'; they get the workers' or threads' ``map``.
        workers: processes on this machine.
        cluster: address of a Dask scheduler (tcp://HOST:PORT), or its scheduler file; instead of ``workers``.
        report: told with a line of text what happens.
    """
    threads, shareable = torch.get_num_threads(), all(getattr(one, "shareable", False) for one in fitness.values())
    pool: Workers | Threads
    if workers > 1 or cluster is not None:
        engine: Engine = LocalEngine(workers) if cluster is None else ClusterEngine(cluster)
        pool = Workers(fitness, engine, threads=1 if shareable else threads, report=report)
    elif shareable and threads > 1:
        pool = Threads(threads)
    else:
        yield lambda: None
        return

    def use(mapping: Callable[..., Any]) -> None:
        for toolbox in toolboxes.values():
            toolbox.register("map", mapping)

    def stop() -> None:
        use(map)
        pool.close()

    try:
        with pool:
            use(pool.map)
            yield stop
    finally:
        use(map)


def check_workers(workers: int, cluster: str | None) -> None:
    """Check what was asked for.

    Raises:
        UserError: fewer than one worker, or both of them.
    """
    if workers < 1:
        raise UserError("workers", workers, "1 or more", "Correct --workers.")
    if cluster is not None and workers > 1:
        raise UserError("--workers", f"{workers} with --cluster", "one of the two", "A cluster has its own workers.")


def threads_per_worker(threads: int | None, workers: int) -> int | None:
    """Return the threads of an evaluation: those asked for, else this process's, divided among its workers."""
    if threads is not None or workers == 1:
        return threads
    return max(1, torch.get_num_threads() // workers)
