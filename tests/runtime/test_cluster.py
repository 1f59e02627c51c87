"""GOPs coded on a local cluster of two nodes, one of which dies in the middle."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sounding import Tone, audio_of, make_sounding_film
from support import FakeModel, spans_of

from deepsphere_codec.errors import DamagedStream, UsageError
from deepsphere_codec.films import decode_to_file, encode_video
from deepsphere_codec.runtime.cluster import cluster_workers
from deepsphere_codec.video import open_video

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = pytest.mark.slow

GOP, FRAMES = 4, 40


class Cluster:
    """A head that does no work, and two nodes that do."""

    def __init__(self) -> None:
        self._cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **_SMALL})
        self.nodes = [self._cluster.add_node(num_cpus=1, **_SMALL) for _ in range(2)]
        self.address: str = self._cluster.address

    def kill(self, node: Any) -> None:
        self._cluster.remove_node(node, allow_graceful=False)

    def add(self) -> None:
        self.nodes.append(self._cluster.add_node(num_cpus=1, **_SMALL))

    def close(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module", autouse=True)
def _groups() -> Iterator[None]:
    """An I-frame, a group of two frames and one of one, again and again."""
    with spans_of(2):
        yield


_SMALL = {"object_store_memory": 100 << 20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    tests = str(Path(__file__).parents[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", ":".join([tests, *sys.path]))  # workers are to find `support`
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        cluster = Cluster()
        yield cluster
        cluster.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return make_sounding_film(path, [Tone("aac")], tags={"title": "A"}, frames=FRAMES)


@pytest.fixture(scope="module")
def stream(film: Path, _groups: None) -> Path:
    encode_video(film, film.with_suffix(".dsc"), model=FakeModel(), gop_size=GOP)
    return film.with_suffix(".dsc")


def test_the_same_bytes_and_pictures(cluster: Cluster, film: Path, stream: Path, tmp_path: Path) -> None:
    encode_video(film, tmp_path / "film.dsc", model=FakeModel(), gop_size=GOP, cluster=cluster.address)
    assert (tmp_path / "film.dsc").read_bytes() == stream.read_bytes()
    decode_to_file(stream, tmp_path / "one.mkv", model=FakeModel())
    decode_to_file(stream, tmp_path / "two.mkv", model=FakeModel(), cluster=cluster.address)
    with open_video(tmp_path / "one.mkv") as one, open_video(tmp_path / "two.mkv") as two:
        assert all((a.y == b.y).all() for a, b in zip(one, two, strict=True))
    assert audio_of(tmp_path / "one.mkv") == audio_of(tmp_path / "two.mkv")


def test_a_node_dies_in_the_middle(cluster: Cluster, film: Path, stream: Path, tmp_path: Path) -> None:
    """What it was at is done by the other one."""
    killed = threading.Event()

    def kill() -> None:
        cluster.kill(cluster.nodes.pop())
        killed.set()

    def on_progress(done: int, count: int | None) -> None:
        if done == 4:
            threading.Thread(target=kill).start()
        if done < FRAMES:
            time.sleep(0.05)

    encode_video(
        film,
        tmp_path / "film.dsc",
        model=FakeModel(delay=0.3),
        gop_size=GOP,
        cluster=cluster.address,
        on_progress=on_progress,
    )
    assert killed.is_set(), "the encode was over before the node was gone"
    assert (tmp_path / "film.dsc").read_bytes() == stream.read_bytes()
    cluster.add()


class Failing:
    """Work that finds damage."""

    def start(self):  # noqa: ANN201
        def fail(task: int) -> None:
            raise DamagedStream(f"task {task}")

        return fail


def test_errors_come_back(cluster: Cluster) -> None:
    with pytest.raises(DamagedStream, match="task 5"), cluster_workers(Failing(), cluster.address, 1) as on_tasks:
        list(on_tasks([5]))


def test_where_there_is_no_cluster(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="there is no Ray cluster to be reached"):
        encode_video(film, tmp_path / "film.dsc", model=FakeModel(), cluster="127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r'ray is not installed: pip install "deepsphere-codec\[ray\]"$'):
        encode_video(film, tmp_path / "film.dsc", model=FakeModel(), cluster="127.0.0.1:1")
    assert not (tmp_path / "film.dsc").exists()
