"""Long commands end soon after SIGTERM or Ctrl-C, with all their processes, and leave no output."""

import os
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path

import films
import numpy as np
import pytest
from PIL import Image as Pillow

SOON = 60.0  # seconds; a busy machine needs a multiple of what a quiet one does
FLIGHT = 4.0  # processor seconds after which a command is past its imports
TICKS = os.sysconf("SC_CLK_TCK")
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def noise(path: Path, side: int) -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    Pillow.fromarray(pixels).save(path, compress_level=0)
    return path


def sound(path: Path, seconds: int) -> Path:
    samples = np.random.default_rng(1).normal(0, 2000, 16000 * seconds).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, samples.size, "NONE", ""))
        file.writeframes(samples.tobytes())
    return path


def image(folder: Path) -> list[object]:
    return ["encode", noise(folder / "in.ppm", 4000)]


def lossless(folder: Path) -> list[object]:
    return ["encode", "--lossless", noise(folder / "in.ppm", 4000)]


def video(folder: Path) -> list[object]:
    frames = np.random.default_rng(1).integers(0, 256, (40, 360, 640, 3), np.uint8)
    return ["encode", films.write(folder / "in.mkv", frames)]


def video_in_processes(folder: Path) -> list[object]:
    return [*video(folder), "--jobs", 2, "--chunk", 20]


def audio(folder: Path) -> list[object]:
    return ["encode", sound(folder / "in.wav", 1800)]


def images_in_processes(folder: Path) -> list[object]:
    for n in range(4):
        noise(folder / f"{n}.ppm", 3000)
    return ["encode", "--lossless", folder, "--jobs", 2]


def members(session: int) -> list[list[str]]:
    """What /proc says of the processes of a session, from the state on."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(fields)
    return found


def spent(session: int) -> float:
    """Processor seconds of all processes of a session."""
    return sum(int(f[11]) + int(f[12]) for f in members(session)) / TICKS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "make", [image, lossless, video, video_in_processes, audio, images_in_processes]
)
def test_a_signal_ends_a_long_command(
    make: Callable[[Path], list[object]], number: signal.Signals, tmp_path: Path
) -> None:
    arguments = list(map(str, make(tmp_path)))
    before = sorted(os.listdir(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-m", "laconic.cli", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while spent(process.pid) < FLIGHT:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)

    process.send_signal(number)
    _, error = process.communicate(timeout=SOON)

    assert process.returncode == (143 if number == signal.SIGTERM else 130), error
    assert "nothing partial was written" in error
    assert "Traceback" not in error
    assert sorted(os.listdir(tmp_path)) == before
    end = time.monotonic() + SOON
    while members(process.pid):
        assert time.monotonic() < end, "processes go on"
        time.sleep(0.1)


@pytest.mark.parametrize(
    "work",
    [
        "try:\n        time.sleep(60)\n    except SystemExit:\n        time.sleep(600)",
        "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)",
    ],
    ids=["swallows", "does not return"],
)
def test_a_library_does_not_keep_the_process_alive(work: str) -> None:
    code = f"""
import hashlib, os, signal, threading, time, click
from laconic.cli.tables import run_guarded

@click.command()
def stubborn():
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    {work}

run_guarded(stubborn)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], timeout=SOON, check=False, capture_output=True, text=True
    )

    assert done.returncode == 143
    assert done.stderr == "laconic: terminated; nothing partial was written\n"
