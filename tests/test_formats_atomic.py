"""Atomic writing: the old file or the complete new one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from laconic.formats.atomic import atomic_write, check_target
from laconic.formats.errors import OutputError

CHILD = """
import sys, time, resource
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
