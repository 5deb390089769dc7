"""What starts worker processes: this machine, or a Dask cluster; both give a ``concurrent.futures`` executor."""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import threading
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ProcessPoolExecutor
from contextlib import suppress
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

import torch

from ganprune import __version__
from ganprune.errors import UserError
from ganprune.memory import keep_memory
from ganprune.parallel.payload import Payload, install, release

CONNECT_SECONDS = 10.0  # to a scheduler
WAIT_SECONDS = 60.0  # for its first worker


class LocalEngine:
    """Spawned processes of this machine.

    Args:
        count: how many.

    Attributes:
        processes: those started last.
    """

    losses: tuple[type[BaseException], ...] = (BrokenExecutor,)

    def __init__(self, count: int):
        self.count = count
        self.processes: list[SpawnProcess] = []

    def start(self, payload: Payload, threads: int) -> Executor:
        """Return a pool; its processes start as calls come in."""
        context = _Context()
        self.processes = context.started
        return ProcessPoolExecutor(self.count, context, initializer=begin, initargs=([payload], threads))

    def stop(self, executor: Executor, *, at_once: bool) -> None:
        """End the processes, killing them if it is to be at once, and wait until they are gone."""
        if at_once:
            for process in self.processes:
                process.kill()
        executor.shutdown(wait=True, cancel_futures=True)
        for process in self.processes:
            process.join()


class _Process(SpawnProcess):
    """A process that Ctrl-C and SIGTERM don't reach: they are meant for the one that started it, which ends it."""

    def start(self) -> None:
        if not hasattr(signal, "pthread_sigmask"):
            return super().start()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # the child inherits that
        try:
            return super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Context(SpawnContext):
    """The spawn context, keeping what it started."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[SpawnProcess] = []

    def Process(self, *arguments: Any, **options: Any) -> SpawnProcess:  # type: ignore[override]
        process = _Process(*arguments, **options)
        self.started.append(process)
        return process


def begin(payloads: list[Payload], threads: int) -> None:
    """Make this process a worker.

    Args:
        payloads: one; taken out of the list, since a pool's process keeps what it was started with.
        threads: CPU threads.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_memory()
    torch.set_num_threads(threads)
    install(payloads.pop())


def _end_with_parent() -> None:
    """A pool's process would wait for ever for calls from one that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class ClusterEngine:
    """The workers of a Dask scheduler that is running already. They need this version of ganprune and of torch.

    Args:
        address: tcp://HOST:PORT, or the path of the scheduler's file.

    Raises:
        UserError: ``distributed`` isn't installed.
    """

    def __init__(self, address: str):
        try:
            import distributed
        except ImportError as error:
            raise _refused(address, "the package distributed", "Install it: pip install 'ganprune[cluster]'") from error
        self.address, self.distributed = address, distributed
        self.losses: tuple[type[BaseException], ...] = (CancelledError, distributed.scheduler.KilledWorker)
        self.client: Any = None

    def start(self, payload: Payload, threads: int) -> Executor:
        """Connect, wait for a worker, compare versions and give every worker, also one that comes later, the payload.

        Raises:
            UserError: no scheduler, no workers, or other versions there.
        """
        self.client = self._connect()
        try:
            self._check_versions()
            self.plugin = _plugin(payload)
            self.client.register_plugin(self.plugin)
        except BaseException:
            self.client.close()
            raise
        executor: Executor = self.client.get_executor(pure=False)
        return executor

    def stop(self, executor: Executor, *, at_once: bool) -> None:
        """Free the workers of the payload and disconnect; they go on running."""
        executor.shutdown(wait=not at_once)
        with suppress(OSError, ValueError, TimeoutError):  # the scheduler may be gone
            self.client.unregister_worker_plugin(self.plugin.name)
        self.client.close()

    def _connect(self) -> Any:
        where = {"scheduler_file" if Path(self.address).is_file() else "address": self.address}
        try:
            client = self.distributed.Client(**where, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            found = f"{self.address} ({str(error) or type(error).__name__})"
            expected = "a running Dask scheduler, tcp://HOST:PORT, or its scheduler file"
            raise _refused(found, expected, "Start it: dask scheduler") from error
        try:
            client.wait_for_workers(1, timeout=WAIT_SECONDS)
        except TimeoutError as error:
            client.close()
            found, remedy = f"{self.address}, without workers", f"dask worker {self.address}"
            raise _refused(found, "one worker or more", remedy) from error
        return client

    def _check_versions(self) -> None:
        try:
            found = self.client.run(versions)
        except ImportError as error:
            without = f"workers without ganprune ({error})"
            raise _refused(without, "ganprune on every worker", "Install it there.") from error
        for worker, theirs in found.items():
            for package, ours in versions().items():
                if theirs[package] != ours:
                    field, remedy = f"{package} on worker {worker}", "Install the same there."
                    raise UserError(field, theirs[package], f"{ours}, as here", remedy)


def _refused(found: str, expected: str, remedy: str) -> UserError:
    return UserError("--cluster", found, expected, remedy)


def versions() -> dict[str, str]:
    """Return the versions that have to be the same on all machines."""
    return {"ganprune": __version__, "torch": torch.__version__, "python": platform.python_version()}


def _plugin(payload: Payload) -> Any:
    from distributed import WorkerPlugin

    class Installed(WorkerPlugin):
        """Installs a payload in a worker."""

        name = f"ganprune-{payload.digest[:16]}"

        def setup(self, worker: Any) -> None:
            install(payload)

        def teardown(self, worker: Any) -> None:
            release(payload.digest)

    return Installed()
