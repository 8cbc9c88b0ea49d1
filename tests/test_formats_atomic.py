"""Atomic writing: the old file or the complete new one."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import prompt_models
import pytest
import tiny_audio
from PIL import Image as Pillow

from laconic.cli.main import cli
from laconic.formats import atomic
from laconic.formats.atomic import atomic_write, check_target
from laconic.formats.errors import OutputError

CHILD = """
import sys, time, resource
from laconic.formats import atomic
from laconic.formats.atomic import atomic_write
{before}
with atomic_write(sys.argv[1], overwrite=True) as file:
    file.write(b"new" * 100_000)
    {inside}
"""


def child(path: Path, before: str = "", inside: str = "pass") -> subprocess.Popen[str]:
    code = CHILD.format(before=before, inside=inside)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_failure_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def fail() -> None:
        with atomic_write(path, overwrite=True) as file:
            file.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_success_replaces_the_file_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(0o640)

    with atomic_write(path, overwrite=True) as file:
        file.write(b"new")

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["x"]


def test_an_existing_file_is_refused_without_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    with pytest.raises(OutputError, match="exists"):
        check_target(path)
    with pytest.raises(OutputError, match="exists"), atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"


def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with atomic_write(tmp_path / "link", overwrite=True) as file:
        file.write(b"new")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.parametrize("target", ["missing/x", "file/x", "."])
def test_impossible_targets_are_refused_with_a_reason(target: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(OutputError, match="folder"):
        check_target(tmp_path / target)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    limit = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"

    process = child(path, before=limit)
    _, error = process.communicate()

    assert process.returncode != 0
    assert "OutputError" in error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_kill_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    process = child(path, inside="file.flush(); print('ready', flush=True); time.sleep(60)")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    process.kill()
    process.wait()

    assert path.read_bytes() == b"old"
    assert [n for n in os.listdir(tmp_path) if n != "x"] == [] or not Path("/proc/self/fd").is_dir()


def test_devices_are_written_directly() -> None:
    with atomic_write("/dev/null") as file:
        file.write(b"gone")
    assert Path("/dev/null").is_char_device()


def test_other_threads_files_keep_the_mask_while_a_file_is_written(tmp_path: Path) -> None:
    stop = threading.Event()
    modes: set[int] = set()

    def create() -> None:
        n = 0
        while not stop.is_set():
            path = tmp_path / f"other-{n}"
            path.touch()
            modes.add(path.stat().st_mode & 0o777)
            path.unlink()
            n += 1

    before = os.umask(0o027)
    thread = threading.Thread(target=create)
    try:
        thread.start()
        for n in range(200):
            with atomic_write(tmp_path / f"own-{n}") as file:
                file.write(b"x")
    finally:
        stop.set()
        thread.join()
        os.umask(before)

    assert modes <= {0o640}
    assert {(tmp_path / f"own-{n}").stat().st_mode & 0o777 for n in range(200)} == {0o640}


def test_temporary_files_of_dead_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    host = atomic._host()
    stale = f".laconic-{host}-{process.pid}-0123456789ab.tmp"
    kept = [
        f".laconic-{host}-{os.getpid()}-0123456789ab.tmp",
        f".laconic-00000000-{process.pid}-0123456789ab.tmp",
        ".laconic-mine.tmp",
    ]
    for name in (stale, *kept):
        (tmp_path / name).touch()

    with atomic_write(tmp_path / "x") as file:
        file.write(b"x")

    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "x"])


@pytest.mark.parametrize("named", [False, True], ids=["without-a-name", "with-a-name"])
def test_killed_at_random_moments_leaves_old_or_new_and_nothing_else(
    tmp_path: Path, named: bool
) -> None:
    """A child writes the same file over and over and is killed; the next writer tidies up."""
    path = tmp_path / "x"
    path.write_bytes(b"old" * 1000)
    before = "import os; del os.O_TMPFILE" if named else ""
    code = f"""
import sys
import threading
import time
{before}
from laconic.formats import atomic
from laconic.formats.atomic import atomic_write
print("ready", flush=True)
while True:
    with atomic_write(sys.argv[1], overwrite=True) as file:
        file.write(b"new" * 1000)
"""
    r = random.Random(3)
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(r.random() * 0.02)
        process.kill()
        process.wait()
        assert path.read_bytes() in (b"old" * 1000, b"new" * 1000)
    with atomic_write(tmp_path / "y") as file:
        file.write(b"y")
    assert sorted(os.listdir(tmp_path)) == ["x", "y"]


def tasks(folder: Path) -> dict[str, list[str]]:
    """Command lines that write one file each: an encoding or decoding of every codec."""
    golden = Path(__file__).parent / "golden"
    Pillow.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30)).save(folder / "a.png")
    (folder / "a.csv").write_bytes(b"n,m\n" + b"".join(b"%d,%d\n" % (n, n % 7) for n in range(50)))
    decodings = {
        "a.npy": "records-2/big-endian", "b.csv": "records-1/stored-table",
        "b.png": "photo-1/photo-dot", "c.png": "mlic-2/screen-96x128",
        "c.tif": "compressai-1/factorized", "d.png": "mlic++-1/mlicpp-2023",
        "a.wav": "semanticodec-1/one-sample", "b.wav": "pscodec-1/prompted",
        "a.mkv": "hnerv-1/hybrid-1x1", "b.mkv": "hnerv-1/grids-1x1",
    }  # fmt: skip
    lines = {
        "a.lac": ["encode", "--lossless", str(folder / "a.png")],
        "b.lac": ["encode", str(folder / "a.csv")],
        "c.lac": ["encode", "-q", "60", str(folder / "a.png")],
    }
    for name, source in decodings.items():
        lines[name] = ["decode", str(golden / f"{source}.lac")]
    return {n: [*line, "-f", "--quiet", "-o", str(folder / n)] for n, line in lines.items()}


def run(line: list[str]) -> None:
    with suppress(SystemExit):
        cli(line, standalone_mode=False)


@pytest.mark.parametrize("kills", [24, pytest.param(200, marks=pytest.mark.heavy)])
def test_every_codec_killed_at_random_moments_leaves_old_or_new_and_nothing_else(
    kills: int, rule_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACONIC_MODELS", str(rule_store))
    tiny_audio.install(rule_store, monkeypatch)
    tiny_audio.install(rule_store, monkeypatch, prior=False)
    prompt_models.install(rule_store)
    lines = tasks(tmp_path)
    new: dict[str, bytes] = {}
    seconds: dict[str, float] = {}
    for name, line in lines.items():
        for _ in range(2):  # the first loads models and compiles loops
            start = time.perf_counter()
            run(line)
            seconds[name] = time.perf_counter() - start
        new[name] = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(b"old")
    everything = sorted(os.listdir(tmp_path))
    r, finished = random.Random(kills), 0
    for kill in range(kills):
        name = list(lines)[kill % len(lines)]
        child = os.fork()
        if child == 0:
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                run(lines[name])
            finally:
                os._exit(0)
        # Half of them near the end, where the file takes its place.
        share = r.random() if kill % 2 else 0.9 + 0.3 * r.random()
        time.sleep(share * seconds[name])
        os.kill(child, signal.SIGKILL)
        finished += os.waitpid(child, 0)[1] == 0
        content = (tmp_path / name).read_bytes()
        assert content in (b"old", new[name]), name
        assert sorted(os.listdir(tmp_path)) == everything, name
        (tmp_path / name).write_bytes(b"old")
    assert finished < kills
