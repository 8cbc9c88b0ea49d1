"""A stand-in for fitting: keeps the frames as they are, in a tenth of a second's worth of steps.

Tests of the stream around the chunks need frames that come back exactly and fits that can be
stopped at any step; the networks have tests of their own.
"""

import time
import zlib
from types import SimpleNamespace

import numpy as np

from laconic.codec.video.settings import FitSettings
from laconic.entropy.quantize import SymbolCheck
from laconic.formats.errors import FormatError

STEPS = 20
PLANAR = ()  # all networks take RGB here
calls: list[tuple[str, int]] = []  # what was done: ("fit" | "resume" | "warm" | "decode", frames)
pause = SimpleNamespace(seconds=0.0, at_step=None)


class Clip:
    """No chunk is one."""


class Fit:
    def __init__(self, frames, settings, init=None):
        self.frames, self.settings, self.step = frames, settings, 0
        calls.append(("fit" if init is None else "warm", len(frames)))

    @classmethod
    def resume(cls, frames, settings, state):
        fit = cls(frames, settings)
        calls[-1] = ("resume", len(frames))
        fit.step = int(state["step"])
        assert state["nested"]["mean"] == frames.mean(dtype=np.float32)
        return fit

    def state(self):
        return {"step": self.step, "nested": {"mean": self.frames.mean(dtype=np.float32)}}

    def run(self, seconds=None, progress=None, status=None, stop=None):
        begun = time.monotonic()
        while self.step < STEPS:
            self.step += 1
            time.sleep(pause.seconds)
            if progress:
                progress(self.step, STEPS)
            if status:
                status(f"{20 + self.step / 10:.2f} dB")
            if pause.at_step == self.step:
                pause.at_step = None
                return False
            if (seconds is not None and time.monotonic() - begun >= seconds) or (stop and stop()):
                break
        return self.step >= STEPS

    def payload(self):
        return bytes([self.step]) + zlib.compress(self.frames.tobytes(), 1)

    def warm(self):
        return {"weights": np.full(3, self.frames.mean(dtype=np.float32))}


class Decoder:
    def __init__(self, frames):
        self.frames = frames
        check = SymbolCheck()
        check.update(frames)
        self.symbols_check = check.value32()
        self.symbols = frames.size

    def frame(self, index):
        return self.frames[index]

    def batch(self, first, end):
        return self.frames[first:end]


def decode(payload, frames, width, height, limits, device=None):
    calls.append(("decode", frames))
    try:
        data = zlib.decompress(payload[1:])
        return Decoder(np.frombuffer(data, np.uint8).reshape(frames, height, width, 3))
    except (zlib.error, ValueError) as error:
        raise FormatError("the chunk is damaged") from error


__all__ = ["PLANAR", "Clip", "Decoder", "Fit", "FitSettings", "decode"]
