"""Parallel processing of tasks such as GOPs, in processes of this machine or on a cluster, with ordered results."""

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
"""Function that maps tasks to results; it takes no more tasks than are needed to keep all workers busy."""


class Work(Protocol):
    """Picklable description of a worker's work."""

    def start(self) -> Callable[[Any], Any]:
        """Prepare a worker, once; returns the function that processes a task."""


class Placement(NamedTuple):
    """Processes that code GOPs.

    Attributes:
        workers: Number of processes of this machine; 1 for this process.
        cluster: Address of a Ray cluster to use instead, or None.
        threads: Number of torch's threads in each process; None divides all processors among the processes.
    """

    workers: int = 1
    cluster: str | None = None
    threads: int | None = None

    @property
    def is_here(self) -> bool:
        """Whether this process does all the work."""
        return self.workers == 1 and self.cluster is None

    @property
    def threads_of_each(self) -> int:
        """Number of threads of each process; on a cluster one by default."""
        return self.threads or (1 if self.cluster else max(1, len(os.sched_getaffinity(0)) // max(1, self.workers)))


def workers_at(place: Placement, work: Work) -> AbstractContextManager[OnTasks]:
    """Create the workers of a place, as a context manager.

    Args:
        place: Processes or cluster to use.
        work: Work of each process.
    Returns:
        Context manager with the function that processes tasks.
    Raises:
        CodecError: a process has died.
        UsageError: the cluster does not exist, or the number of workers is below 1.
    """
    if place.workers < 1:
        raise UsageError(f"{place.workers} workers; use 1 or more")
    if place.cluster is None:
        return local_workers(work, place.workers)
    from deepsphere_codec.runtime.cluster import cluster_workers  # Ray is an extra

    return cluster_workers(work, place.cluster, place.threads_of_each)


@contextmanager
def local_workers(work: Work, count: int) -> Iterator[OnTasks]:
    """Start worker processes on this machine.

    They are spawned, not forked, since threads do not survive a fork. They end with this process, however it ends.

    Args:
        work: Work of each process.
        count: Number of processes.
    Yields:
        Function that processes tasks and iterates over their results, in order.
    Raises:
        CodecError: a process has died.
    """
    other_children = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(work,))
    for _ in range(count):  # starts all processes now, while this process makes its own preparations
        executor.submit(_prepare)
    try:
        yield lambda tasks: in_order(lambda task: executor.submit(_do, task), tasks, ahead=count)
    except BrokenProcessPool as error:
        raise CodecError("a worker process died, perhaps for want of memory; use fewer --workers") from error
    finally:  # after a failure, tasks that are still running are not needed any more
        for process in set(multiprocessing.active_children()) - other_children:
            process.terminate()
        executor.shutdown(cancel_futures=True)


def in_order(submit: Callable[[Task], Future[Result]], tasks: Iterable[Task], ahead: int) -> Iterator[Result]:
    """Submit tasks and iterate over their results in the order of the tasks.

    Args:
        submit: Function that submits a task and returns its future.
        tasks: The tasks; taken only as needed.
        ahead: Number of tasks that are submitted in addition to the one whose result is next.
    Returns:
        Iterator over the results.
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
    """Set the number of torch's threads within the context; None leaves it unchanged."""
    previous = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads:
            torch.set_num_threads(previous)


_work: Work | None = None
_doing: Callable[[Any], Any] | None = None


def _begin(work: Work) -> None:
    global _work
    _work = work
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the first one ends the others
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
