"""Chains of chunks, work files, stops and full disks."""

import contextlib
import multiprocessing
import random
from pathlib import Path
from typing import Any

import films
import numpy as np
import pytest
import stand_in

from laconic import codec
from laconic.codec.video.stream import fitting
from laconic.codec.video.stream.work import Fitted, Span, Stopper, Work, load
from laconic.formats.errors import (
    FormatError,
    OutputError,
    ParameterError,
)

pytestmark = pytest.mark.usefixtures("kept_frames")


def chunked(length: int | None, **more: object) -> dict[str, object]:
    return {"chunk": length, **more}


def test_chunks_start_from_the_one_before_unless_a_scene_begins(tmp_path: Path) -> None:
    codec.encode(films.moving(12, 16, 16), codec="motion", **chunked(4))

    assert [c for c in stand_in.calls if c[0] != "decode"] == [("fit", 4), ("warm", 4), ("warm", 4)]


def interrupted(path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encode until the second chunk was saved in the middle, then die."""
    saves = []

    def save(self: Work) -> None:
        original(self)
        saves.append(1)
        if len(saves) == 2:
            raise KeyboardInterrupt

    original = Work.save
    stand_in.pause.at_step = None
    monkeypatch.setattr(Work, "save", save)
    run = stand_in.Fit.run

    def half(self: stand_in.Fit, *arguments: object, **more: object) -> bool:
        if stand_in.calls.count(("warm", 4)) == 1 and self.step == 0:
            stand_in.pause.at_step = 7
        return run(self, *arguments, **more)

    monkeypatch.setattr(stand_in.Fit, "run", half)
    with pytest.raises(KeyboardInterrupt):
        codec.encode(path, **chunked(4, work=str(work)))
    monkeypatch.setattr(Work, "save", original)
    monkeypatch.setattr(stand_in.Fit, "run", run)
    stand_in.pause.at_step = None


def test_a_killed_encoder_goes_on_from_its_work_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = films.write(tmp_path / "clip.mkv", films.moving(11, 16, 16))
    work = tmp_path / "clip.lac.work"
    interrupted(path, work, monkeypatch)
    saved = load(work)
    assert [*saved.done] == [0]
    assert saved.states[1]["step"] == 7
    stand_in.calls.clear()
    notes: list[str] = []

    data = codec.encode(path, **chunked(4, work=str(work), note=notes.append))

    assert [c for c in stand_in.calls if c[0] != "decode"] == [("resume", 4), ("warm", 3)]
    assert np.array_equal(np.asarray(codec.decode(data)), films.moving(11, 16, 16))
    assert not work.exists()
    assert notes == [f"going on from {work}: 1 of 3 chunks are fitted"]


def test_a_work_file_of_something_else_is_never_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = films.write(tmp_path / "clip.mkv", films.moving(11, 16, 16))
    other = films.write(tmp_path / "other.mkv", films.moving(11, 16, 16, seed=3))
    work = tmp_path / "clip.lac.work"
    interrupted(path, work, monkeypatch)
    before = work.read_bytes()

    for source, more in ((other, {}), (path, {"quality": 70}), (path, {"audio": False})):
        with pytest.raises(ParameterError, match="another video or with other settings"):
            codec.encode(source, **chunked(4, work=str(work)), **more)
    with pytest.raises(ParameterError, match="another video or with other settings"):
        codec.encode(path, **chunked(5, work=str(work)))
    assert work.read_bytes() == before
    notes: list[str] = []
    codec.encode(other, **chunked(4, work=str(work), fresh=True, note=notes.append))
    assert "it is replaced" in notes[0]
    assert not work.exists()
    work.write_bytes(b"something else")
    with pytest.raises(ParameterError, match="is no work file"):
        codec.encode(path, **chunked(4, work=str(work)))


def test_work_files_keep_nested_states(tmp_path: Path) -> None:
    import torch

    state = {
        "step": 3,
        "rate": 0.5,
        "name": "x",
        "none": None,
        "order": [3, 1],
        "pair": (1, {"a": np.arange(3.0)}),
        "weights": {"w": torch.ones(2, 2, dtype=torch.bfloat16)},
    }
    work = Work("key", tmp_path / "w", {0: Fitted(b"abc", 7, (30.0, 31.0))}, {1: state}, state, 0)
    work.save()

    found = load(tmp_path / "w")

    assert (found.key, found.done, found.warm_of) == ("key", work.done, 0)
    back = found.states[1]
    assert [back[k] for k in ("step", "rate", "name", "none", "order")] == [
        3,
        0.5,
        "x",
        None,
        [3, 1],
    ]
    assert np.array_equal(back["pair"][1]["a"], np.arange(3.0))
    assert back["weights"]["w"].dtype == torch.bfloat16
    rng = random.Random(1)
    data = (tmp_path / "w").read_bytes()
    for _ in range(200):
        mutant = bytearray(data)
        mutant[rng.randrange(len(mutant))] ^= 1 << rng.randrange(8)
        (tmp_path / "m").write_bytes(mutant[: rng.randrange(len(mutant) + 1)])
        with contextlib.suppress(FormatError):
            load(tmp_path / "m")


def test_a_full_disk_stops_fitting_and_keeps_what_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource
    import signal

    path = films.write(tmp_path / "clip.mkv", films.moving(11, 16, 16))
    work = tmp_path / "clip.lac.work"
    interrupted(path, work, monkeypatch)
    before = work.read_bytes()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OutputError, match="what was saved before is kept: make room"):
            codec.encode(path, **chunked(4, work=str(work)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)

    assert work.read_bytes() == before
    codec.encode(path, **chunked(4, work=str(work)))


def test_a_stop_writes_every_frame_and_keeps_the_work(tmp_path: Path) -> None:
    import os
    import signal

    path = films.write(tmp_path / "clip.mkv", films.moving(12, 16, 16))
    work = tmp_path / "clip.lac.work"
    notes: list[str] = []

    def interrupt(done: int, total: int) -> None:
        if 0.4 < done / total < 0.5 and not hit:
            hit.append(done)
            os.kill(os.getpid(), signal.SIGINT)

    hit: list[int] = []
    stand_in.pause.seconds = 0.21  # the bar is drawn five times a second
    data = codec.encode(path, **chunked(4, work=str(work), note=notes.append), progress=interrupt)

    assert np.array_equal(np.asarray(codec.decode(data)), films.moving(12, 16, 16))
    assert work.exists()
    assert "stopped early" in notes[-1]
    saved = load(work)
    assert [*saved.done] == [0]
    assert [*saved.states] == [1]


def test_a_stop_with_too_much_left_refuses_and_keeps_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = films.write(tmp_path / "clip.mkv", films.moving(12, 16, 16))
    work = tmp_path / "clip.lac.work"
    monkeypatch.setattr(fitting, "BRIEF_CHUNKS", 1)
    notes: list[str] = []

    def stop_after_a_chunk(self: object) -> bool:
        return ("decode", 4) in stand_in.calls

    monkeypatch.setattr("laconic.codec.video.stream.work.Stopper.__call__", stop_after_a_chunk)
    with pytest.raises(KeyboardInterrupt):
        codec.encode(path, **chunked(4, work=str(work), note=notes.append))

    assert notes == [f"the same command goes on from {work}"]
    assert [*load(work).done] == [0]


def ended_at_once(connection: Any, threads: int) -> None:
    """A process that has its chunk fitted, says so, and is gone."""
    connection.recv()
    connection.send(("done", Fitted(b"fitted", 7)))


def test_a_stop_that_reaches_a_process_which_has_just_ended_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Late(Stopper):
        def __call__(self) -> bool:
            for child in multiprocessing.active_children():
                child.join(60)
            return True

    monkeypatch.setattr(fitting, "_worker", ended_at_once)
    task = fitting.Task(
        spans=[Span(0, 2, fresh=True)],
        settings=None,
        budget=lambda number: None,
        work=Work("key"),
        stop=Late(),
    )
    source = fitting.FrameSource(iter(films.moving(2, 8, 8)), 8, 8)

    early = fitting.fit_at_once(task, source, jobs=2)

    assert not early
    assert task.work.done == {0: Fitted(b"fitted", 7)}
