"""Work on GOPs on the machines of a Ray cluster, which need this package and nothing else."""

from __future__ import annotations

import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from deepsphere_codec.errors import CodecError, UsageError
from deepsphere_codec.runtime.extras import optional_imports
from deepsphere_codec.runtime.memory import keep_freed_memory
from deepsphere_codec.runtime.workers import OnTasks, Work, in_order

_SECONDS = 10.0
"""Time in which a machine has to answer, seconds."""

_RETRIES = 5
"""Number of times that a task is repeated if its machine is lost."""


@contextmanager
def cluster_workers(work: Work, address: str, processors: int) -> Iterator[OnTasks]:
    """Connect to a cluster and distribute tasks over its processors; the work is sent to each process once.

    Args:
        work: Work of each process.
        address: Address in Ray's form: "host:6379", "ray://host:10001", "auto".
        processors: Number of processors per task.
    Yields:
        Function that processes tasks and iterates over their results, in order.
    Raises:
        UsageError: Ray is not installed, or there is no cluster.
        CodecError: a task failed on several machines.
    """
    with optional_imports():
        import ray
    _join(ray, address)
    try:
        shared, key = [ray.put(work)], secrets.token_hex(8)  # in a list, so that not each task brings it
        remote = ray.remote(num_cpus=processors, max_retries=_RETRIES)(_do)
        count = max(1, int(ray.cluster_resources().get("CPU", 1)) // processors)
        yield lambda tasks: in_order(lambda task: remote.remote(shared, key, task).future(), tasks, ahead=count)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, CodecError) else error) from None
    except ray.exceptions.RayError as error:
        raise CodecError(f"the cluster at {address} failed: {' '.join(str(error).split())[:200]}") from error
    finally:
        ray.shutdown()


def _join(ray: Any, address: str) -> None:
    on_termination = signal.getsignal(signal.SIGTERM)
    try:
        _check_answers(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"--cluster {address}: there is no Ray cluster to be reached ({reason})") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_termination)  # Ray takes it for itself


def _check_answers(address: str) -> None:
    """Check that the machine answers; otherwise Ray would retry for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_SECONDS).close()


_doing: dict[str, Callable[[Any], Any]] = {}
"""Started work of this process by its key; a process of the cluster may serve several works in succession."""


def _do(shared: list[Any], key: str, task: Any) -> Any:
    if key not in _doing:
        import ray

        keep_freed_memory()
        _doing.clear()
        _doing[key] = ray.get(shared[0]).start()
    return _doing[key](task)
