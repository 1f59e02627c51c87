"""Work on several GOPs at once, in processes of this machine or on a cluster; results in the order of the tasks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

import torch

from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.runtime.memory import keep_freed_memory

Task = TypeVar("Task")
Result = TypeVar("Result")
OnTasks = Callable[[Iterable[Any]], Iterator[Any]]
"""Does tasks as they come; no more are taken than are needed to keep all workers busy."""


class Work(Protocol):
    """What a worker does; it can be pickled."""

    def start(self) -> Callable[[Any], Any]:
        """Called once in a worker: what does one task after the other."""


class Placement(NamedTuple):
    """Where GOPs are coded.

    Attributes:
        workers: Processes of this machine; 1: this one.
        cluster: Address of a Ray cluster, instead of processes.
        threads: Of torch, in each process; unless given all that there are, shared among the processes.
    """

    workers: int = 1
    cluster: str | None = None
    threads: int | None = None

    @property
    def is_here(self) -> bool:
        """Whether this process does everything."""
        return self.workers == 1 and self.cluster is None

    @property
    def threads_of_each(self) -> int:
        """Threads of each process; one on a cluster, where a task is given one processor."""
        return self.threads or (1 if self.cluster else max(1, len(os.sched_getaffinity(0)) // max(1, self.workers)))


def workers_at(place: Placement, work: Work) -> AbstractContextManager[OnTasks]:
    """Workers there, to be used within a `with`.

    Raises:
        CodecError: where a process dies.
        UsageError: there is no such cluster, or not one worker.
    """
    if place.workers < 1:
        raise UsageError(f"{place.workers} workers; use 1 or more")
    if place.cluster is None:
        return local_workers(work, place.workers)
    from deepsphere_codec.runtime.cluster import cluster_workers  # Ray is an extra

    return cluster_workers(work, place.cluster, place.threads_of_each)


@contextmanager
def local_workers(work: Work, count: int) -> Iterator[OnTasks]:
    """Processes of this machine, each of which does whole tasks.

    They are started anew, not forked: what a fork copies of threads does not work on. They end with this process,
    however it ends.

    Raises:
        CodecError: where a process dies.
    """
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(work,))
    for _ in range(count):  # all processes start at once, and while this one prepares for them
        executor.submit(_prepare)
    try:
        yield lambda tasks: in_order(lambda task: executor.submit(_do, task), tasks, ahead=count)
    except BrokenProcessPool as error:
        raise CodecError("a worker process died, perhaps for want of memory; use fewer --workers") from error
    finally:  # at the end nothing is under way; after a failure nobody waits for what is
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        executor.shutdown(cancel_futures=True)


def in_order(submit: Callable[[Task], Future[Result]], tasks: Iterable[Task], ahead: int) -> Iterator[Result]:
    """Results in the order of the tasks.

    Args:
        ahead: Tasks beside the one whose result is due next, that are submitted and not yet handed on.
    """
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        waiting.append(submit(task))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def thread_count(threads: int | None) -> Iterator[None]:
    """So many threads for torch; as many as there were unless given."""
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads:
            torch.set_num_threads(before)


_work: Work | None = None
_doing: Callable[[Any], Any] | None = None


def _begin(work: Work) -> None:
    global _work
    _work = work
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is told to all: the first process ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _prepare() -> None:
    global _doing
    assert _work is not None
    _doing = _doing or _work.start()


def _do(task: Any) -> Any:
    _prepare()
    assert _doing is not None
    return _doing(task)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
