"""Many files: processes, threads, a cluster, URLs, and the manifest that a run goes on from."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from laconic import codec
from laconic.cli.main import cli
from laconic.codec import devices
from laconic.codec.engines import Here, Processes, Ray, spread
from laconic.codec.evaluate.subject import find_items, parse_spec
from laconic.codec.manifest import Manifest
from laconic.formats.errors import LaconicError, OutputError, ParameterError, UnsupportedError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments], standalone_mode=False)


def said(result: Result) -> str:
    error: Any = result.exception or ""
    return result.stderr + str(getattr(error, "message", "") or error)


def table(number: int) -> bytes:
    return b"id,kind\n" + b"".join(b"%d,%d\n" % (n, n % (number + 2)) for n in range(40))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.csv", "b.csv", "deep/c.csv")):
        (tmp_path / "in" / name).write_bytes(table(number))
    return tmp_path / "in"


@pytest.fixture
def memory() -> Iterator[Any]:
    import fsspec  # here, since worker processes import this module

    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def results(path: Path) -> list[dict[str, Any]]:
    return [entry for entry in entries(path) if "error" in entry]


# --- Pieces of work, which worker processes import ------------------------------------------------


def twice(number: int) -> int:
    return 2 * number


def fatal(piece: tuple[Path, int]) -> int:
    """Kills its process: 3 every time, 5 the first time."""
    marks, number = piece
    first = not (marks / str(number)).exists()
    (marks / str(number)).touch()
    if number == 3 or (number == 5 and first):
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refused(number: int) -> int:
    raise ParameterError(f"{number} is refused")


def threads_of(number: int) -> str:
    return os.environ["OMP_NUM_THREADS"]


def test_a_worker_that_dies_costs_nothing_but_a_second_try(tmp_path: Path) -> None:
    pieces = [(tmp_path, number) for number in range(6)]

    def lost(piece: tuple[Path, int], why: str) -> Any:
        return (piece[1], why)

    found = list(spread(fatal, pieces, Processes(2, 1), lost=lost, in_order=True))

    assert [piece for piece, _ in found] == pieces
    outcome = {number: result for (_, number), result in found}
    assert outcome.pop(3) == (3, "its worker died 3 times: it was killed, as the system does when"
                                 " memory runs out; try fewer --jobs")  # fmt: skip
    assert outcome == {number: number for number in range(6) if number != 3}


def test_what_a_task_raises_is_raised_by_its_caller() -> None:
    for engine in (Here(), Processes(1, 1)):
        with pytest.raises(ParameterError, match="is refused"):
            list(spread(refused, range(4), engine, lost=lambda piece, why: piece))


def test_pieces_are_taken_only_as_there_is_room() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    doubled = spread(twice, pieces(), Here(), lost=lambda piece, why: piece)

    for number, result in doubled:
        assert result == 2 * number
        assert len(taken) == number + 1
    assert len(taken) == 20


def test_jobs_and_threads_together_take_the_cores_there_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")

    assert devices.split(1000) == (8, 1)
    assert devices.split(3) == (1, 8)
    assert devices.split(1000, threads=4) == (2, 4)
    assert devices.split(1000, jobs=2) == (2, 4)
    assert devices.split(2, jobs=16) == (2, 4)
    assert devices.split(1000, jobs=16) == (16, 1)

    monkeypatch.delenv("OMP_NUM_THREADS")
    limit = tmp_path / "cpu.max"
    limit.write_text("250000 100000\n")
    monkeypatch.setattr(devices, "QUOTA", limit)
    assert devices.cores() <= 2
    limit.write_text("max 100000\n")
    assert devices.cores() == min(64, len(os.sched_getaffinity(0)))

    found = spread(threads_of, [1, 2], Processes(1, 3), lost=lambda piece, why: why)
    assert [result for _, result in found] == ["3", "3"]


@pytest.mark.parametrize("name", ["cpu", "cuda", "mps", "auto"])
def test_networks_are_on_the_device_that_was_chosen(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from laconic.codec import devices

    monkeypatch.setenv(devices.VARIABLE, "auto")
    if name in ("auto", *devices.available()):
        devices.use(name)
        assert devices.device().type == (devices.available()[-1] if name == "auto" else name)
    else:
        with pytest.raises(ParameterError, match=f"there is no device {name} here: choose auto"):
            devices.use(name)


def test_a_training_without_a_network_has_no_device(folder: Path, tmp_path: Path) -> None:
    result = run("train", "records", "--data", folder, "--out", tmp_path / "x", "--device", "cpu")

    assert "the training records has no --device" in said(result)


# --- The manifest ---------------------------------------------------------------------------------


def test_a_manifest_tells_of_every_input_and_a_second_run_does_the_rest(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "broken.npy").write_bytes(b"\x93NUMPY damaged")
    manifest, out = tmp_path / "run.jsonl", tmp_path / "out"
    command = ("encode", folder, "--output-dir", out, "--manifest", manifest)

    first = run(*command)
    told = {Path(entry["item"]).name: entry for entry in results(manifest)}

    assert first.return_value == 3
    assert set(told) == {"a.csv", "b.csv", "c.csv", "broken.npy"}
    assert told["broken.npy"]["error"]
    assert told["broken.npy"]["code"] == 3
    for name in ("a.lac", "b.lac", "deep/c.lac"):
        data, entry = (out / name).read_bytes(), told[Path(name).stem + ".csv"]
        assert (entry["output"], entry["bytes"]) == (str(out / name), len(data))
        assert entry["hash"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert entry["error"] is None

    (folder / "b.csv").write_bytes(table(7))  # changed
    (out / "a.lac").unlink()  # lost
    kept = (out / "deep" / "c.lac").stat().st_mtime_ns
    (folder / "broken.npy").unlink()
    second = run(*command, "-f")

    assert second.return_value == 0
    assert "1 of 3 inputs are done" in second.stderr
    again = Counter(Path(entry["item"]).name for entry in results(manifest))
    assert again == {"a.csv": 2, "b.csv": 2, "c.csv": 1, "broken.npy": 1}
    assert (out / "deep" / "c.lac").stat().st_mtime_ns == kept
    assert codec.decode(out / "b.lac").text == table(7)


def test_an_interrupted_run_replaces_its_own_outputs_and_no_others(
    folder: Path, tmp_path: Path
) -> None:
    manifest, out = tmp_path / "run.jsonl", tmp_path / "out"
    command = ("encode", folder, "--output-dir", out, "--manifest", manifest)
    out.mkdir()
    (out / "b.lac").write_bytes(b"somebody's")
    run(*command)
    lines = manifest.read_text().splitlines(keepends=True)
    cut = [x for x in lines if '"a.csv"' not in x and not ("a.csv" in x and "error" in x)]
    manifest.write_text("".join(cut) + '{"item": "cut sho')  # a.lac is there, its result is not
    (out / "a.lac").write_bytes(b"half")

    result = run(*command)

    assert result.return_value == 1
    assert "b.lac exists already" in said(result)
    assert (out / "b.lac").read_bytes() == b"somebody's"
    assert codec.decode(out / "a.lac").text == table(0)
    assert len({entry["item"] for entry in results(manifest) if entry["error"] is None}) == 2


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ('{"manifest": 1, "asked": {"command": "encode", "effort": 3}}\n', "its effort is 3"),
        ('{"manifest": 1, "asked": {"command": "verify"}}\n', "its command is verify"),
        ('{"manifest": 9, "asked": {}}\n', "version 9: expected 1"),
        ('{"key": "of an evaluation"}\n', "is no manifest of a run"),
        ("id,kind\n1,2\n", "line 1 of .* is damaged"),
    ],
)
def test_the_manifest_of_another_run_is_refused_and_kept(
    folder: Path, tmp_path: Path, found: str, sentence: str
) -> None:
    manifest = tmp_path / "run.jsonl"
    manifest.write_text(found)

    result = run("encode", folder, "--manifest", manifest)

    assert isinstance(result.exception, LaconicError)
    with pytest.raises(LaconicError, match=sentence):
        raise result.exception
    assert manifest.read_text() == found
    assert not list(folder.rglob("*.lac"))


def test_one_run_at_a_time_writes_a_manifest(tmp_path: Path) -> None:
    first = Manifest(tmp_path / "run.jsonl", {"command": "encode"})

    with pytest.raises(OutputError, match="another run is writing"):
        Manifest(tmp_path / "run.jsonl", {"command": "encode"})

    first.close()
    Manifest(tmp_path / "run.jsonl", {"command": "encode"}).close()


def test_a_pipe_has_no_manifest_and_no_cluster(folder: Path, tmp_path: Path) -> None:
    for more in (("--manifest", tmp_path / "run.jsonl"), ("--engine", "ray")):
        result = run("encode", "-", "-o", tmp_path / "x.lac", *more)
        assert result.exit_code == 2 or "pipe" in said(result)
        assert "pipe" in said(result)
    assert "add --engine ray" in said(run("encode", folder, "--address", "10.0.0.1:6379"))


# --- URLs -----------------------------------------------------------------------------------------


def test_folders_at_urls_are_encoded_verified_and_decoded(memory: Any, tmp_path: Path) -> None:
    for number, name in enumerate(("a.csv", "deep/b.csv")):
        memory.pipe(f"/store/in/{name}", table(number))
    manifest = tmp_path / "run.jsonl"
    command = ("encode", "memory://store/in", "--output-dir", "memory://store/out",
               "--manifest", manifest)  # fmt: skip

    assert run(*command, "--json").return_value == 0
    assert sorted(memory.find("/store/out")) == ["/store/out/a.lac", "/store/out/deep/b.lac"]
    assert results(manifest)[1]["item"] == "memory://store/in/deep/b.csv"
    assert results(manifest)[1]["output"] == "memory://store/out/deep/b.lac"
    assert "2 of 2 inputs are done" in run(*command).stderr

    shown = run("verify", "memory://store/out", "--json").stdout
    assert [json.loads(line)["input"] for line in shown.splitlines()] == [
        "memory://store/out/a.lac",
        "memory://store/out/deep/b.lac",
    ]
    back = ("decode", "memory://store/out/deep/b.lac", "-o", "memory://store/back.csv")
    assert run(*back).return_value == 0
    assert memory.cat("/store/back.csv") == table(1)

    memory.pipe("/store/out/a.lac", memory.cat("/store/out/a.lac")[:-9])
    damaged = run("verify", "memory://store/out/a.lac")
    assert damaged.return_value == 3
    assert "memory://store/out/a.lac: " in damaged.stderr
    assert "/tmp" not in damaged.stderr


def test_nothing_at_a_url_is_replaced_unasked(memory: Any) -> None:
    memory.pipe("/store/a.csv", table(0))
    memory.pipe("/store/a.lac", b"somebody's")

    refused = run("encode", "memory://store/a.csv")

    assert refused.return_value == 1
    assert "memory://store/a.lac exists already" in refused.stderr
    assert memory.cat("/store/a.lac") == b"somebody's"
    assert run("encode", "memory://store/a.csv", "--skip-existing").return_value == 0
    assert memory.cat("/store/a.lac") == b"somebody's"
    assert run("encode", "memory://store/a.csv", "-f").return_value == 0
    assert codec.decode(memory.cat("/store/a.lac")).text == table(0)


def test_files_have_urls_too(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    assert run("encode", folder.as_uri(), "--output-dir", out.as_uri()).return_value == 0
    assert codec.decode(out / "deep" / "c.lac").text == table(2)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nowhere://bucket/a.csv", "is of no kind that is known here"),
        ("memory://store/missing.csv", "memory://store/missing.csv does not exist"),
    ],
)
def test_urls_that_lead_nowhere_are_said(url: str, sentence: str, memory: Any) -> None:
    result = run("encode", url)

    assert sentence in said(result)


def test_memory_is_of_one_process(memory: Any) -> None:
    memory.pipe("/store/a.csv", table(0))

    assert "--jobs 1" in said(run("encode", "memory://store", "--jobs", 2))


def test_an_evaluation_takes_its_inputs_from_urls(memory: Any, tmp_path: Path) -> None:
    memory.pipe("/store/deep/a.csv", table(0))

    result = run("eval", "memory://store", "-c", "records", "--out", tmp_path / "run", "--json")

    assert result.return_value == 0, said(result)
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["measurements"]
    assert [(row["item"], row["exact"]) for row in rows] == [("deep/a.csv", 1.0)]
    stream = tmp_path / "run" / "streams" / "records" / "deep" / "a.csv.only.lac"
    assert codec.decode(stream).text == table(0)


# --- A cluster ------------------------------------------------------------------------------------


def test_without_ray_its_engine_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)

    result = run("encode", folder, "--engine", "ray")

    assert isinstance(result.exception, UnsupportedError)
    assert "pip install 'laconic[ray]'" in str(result.exception)


def started(piece: tuple[Path, str, int]) -> int:
    """Leaves a mark for each try, with the node it ran on; on the doomed one it takes long."""
    import ray

    marks, doomed, number = piece
    node = ray.get_runtime_context().get_node_id()
    (marks / f"{number}-{node}-{time.monotonic_ns()}").touch()
    time.sleep(60 if node == doomed else 0.1)
    return 2 * number


def test_a_node_that_is_lost_costs_nothing(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="needs ray: laconic[ray]")
    from ray.cluster_utils import Cluster

    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))

    how = {"num_cpus": 1, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**how, "include_dashboard": False})
    try:
        node = cluster.add_node(**how)
        with pytest.raises(ParameterError, match="use fewer --threads"):
            Ray(cluster.address, 2, 0)
        engine = Ray(cluster.address, 1, 0)

        def kill() -> None:
            while not list(tmp_path.glob(f"*-{node.node_id}-*")):
                time.sleep(0.05)
            cluster.remove_node(node, allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        pieces = [(tmp_path, node.node_id, number) for number in range(12)]
        found = list(spread(started, pieces, engine, lost=lambda piece, why: why, in_order=True))
        killer.join()

        assert found == [(piece, 2 * piece[2]) for piece in pieces]
        tries = Counter(int(path.name.partition("-")[0]) for path in tmp_path.glob("*-*-*"))
        assert set(tries) == set(range(12))
        assert max(tries.values()) == 2  # what ran on the node that is no more

        manifest, out = tmp_path / "run.jsonl", tmp_path / "out"
        command = ("encode", folder, "--output-dir", out, "--manifest", manifest)
        cluster_of = ("--engine", "ray", "--address", cluster.address)
        result = run(*command, *cluster_of)
        assert result.return_value == 0, said(result)
        assert all(entry["error"] is None for entry in results(manifest))
        assert codec.decode(out / "deep" / "c.lac").text == table(2)
        assert "3 of 3 inputs are done" in run(*command).stderr
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_the_chunks_of_a_video_are_tasks_and_a_lost_node_costs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="needs ray: laconic[ray]")
    from films import moving, write
    from ray.cluster_utils import Cluster

    film = write(tmp_path / "film.mkv", moving(9, 24, 32))
    command = ("encode", film, "--preset", "fast", "--chunk", 2, "-o")
    assert run(*command, tmp_path / "here.lac", "--jobs", 2).return_value == 0
    here = (tmp_path / "here.lac").read_bytes()
    assert codec.probe(here).to_dict()["segments"] == 5

    started, ended = Ray.start, Ray.ended
    chunks: list[Any] = []
    how = {"num_cpus": 1, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**how, "include_dashboard": False})
    try:
        node = cluster.add_node(**how)

        result = run(*command, tmp_path / "far.lac", "--engine", "ray", "--address",
                     cluster.address)  # fmt: skip
        assert result.return_value == 0, said(result)
        assert (tmp_path / "far.lac").read_bytes() == here

        def start(engine: Ray, task: Any, piece: Any) -> Any:
            chunks.append(piece.number)
            return started(engine, task, piece)

        def end(engine: Ray) -> Any:
            found = ended(engine)
            if node in cluster.worker_nodes:  # others are being fitted on it
                cluster.remove_node(node, allow_graceful=False)
            return found

        monkeypatch.setattr(Ray, "start", start)
        monkeypatch.setattr(Ray, "ended", end)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        assert codec.encode(film, preset="fast", chunk=2, spread=1) == here
        assert set(chunks) == set(range(5))
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_an_evaluation_on_a_cluster_needs_no_shared_files(tmp_path: Path) -> None:
    """What a node lacks comes with the work."""
    from laconic.codec.evaluate import runner

    source = tmp_path / "a.csv"
    source.write_bytes(table(1))
    item = find_items([source])[0]
    unit = runner._Work(parse_spec("gzip"), item, (), (("key", None, "name"),), source.read_bytes())
    source.unlink()

    (found,) = runner._measure_all(unit)

    assert isinstance(found.row, dict), found.row
    assert found.row["item"] == "a.csv"
    (missing,) = runner._measure_all(replace(unit, data=None))
    assert "No such file" in str(missing.row)


def test_an_address_without_a_cluster_is_said(folder: Path) -> None:
    pytest.importorskip("ray", reason="needs ray: laconic[ray]")

    result = run("encode", folder, "--engine", "ray", "--address", "127.0.0.1:1")

    assert "no Ray cluster answers at 127.0.0.1:1" in said(result)
