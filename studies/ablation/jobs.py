"""Tasks side by side, each in a process of one thread."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import torch

from deepsphere_codec.errors import CodecError

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_all(run: Callable[[Task], Result], tasks: Sequence[Task], at_once: int) -> Iterator[Result]:
    """Results as they come; of several at once, each in a process of one thread.

    Raises:
        CodecError: a process was killed.
    """
    if at_once <= 1:
        yield from map(run, tasks)
        return
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(at_once, multiprocessing.get_context("spawn"), _begin_process) as pool:
        try:
            for future in as_completed([pool.submit(run, task) for task in tasks]):
                yield future.result()
        except BaseException as error:  # an interrupt, too: minutes may be left to those that run
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise CodecError("a run was killed; those that came to their end are kept, start again") from error
            raise


def _begin_process() -> None:
    """One thread; an interrupt is the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
