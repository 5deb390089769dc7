"""Evaluation in several threads of this process: what goes in the place of ``toolbox.map`` on a machine of one's own.

Two individuals at once, each with a thread, take less time than one after the other with two, and their numbers don't
depend on how many there are at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch


class Threads:
    """Threads that evaluate, each with one of the CPU's; a context that ends them.

    Args:
        count: how many.
    """

    def __init__(self, count: int):
        self.before = torch.get_num_threads()
        self.executor = ThreadPoolExecutor(count, "ganprune-evaluation", torch.set_num_threads, (1,))

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def map(self, function: Callable[..., Any], *columns: Sequence[Any]) -> Iterator[Any]:
        """Call the function with each row of the columns; give the results in order."""
        futures = [self.executor.submit(function, *row) for row in zip(*columns, strict=True)]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """Let the threads end, after what they are doing; this thread has its CPU threads again."""
        self.executor.shutdown(cancel_futures=True)
        torch.set_num_threads(self.before)  # a new thread's number is the whole process's for some libraries
