"""Recordings are read and written: resampled in blocks, in every format, without a length."""

import struct

import numpy as np
import pytest
from tiny_audio import melody, wav

from laconic.formats.audio_stream import AudioSource, resampled


@pytest.mark.parametrize("target", [8000, 16000, 22050, 48000])
def test_resampling_in_blocks_keeps_time(target: int) -> None:
    time = np.arange(44100 * 2) / 44100
    tone = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)[None]

    out = np.concatenate(
        list(resampled(iter(np.array_split(tone, 7, axis=1)), 1, 44100, target)), axis=1
    )

    assert out.shape[1] == 2 * target
    expected = 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * target) / target)
    assert np.abs(out[0] - expected)[100:-100].max() < 1e-4


@pytest.mark.parametrize("format", ["wav", "wav24", "wav32f", "flac", "flac24"])
@pytest.mark.parametrize(("channels", "layout"), [(1, ""), (2, ""), (8, "7.1")])
def test_written_sounds_are_read_again(format: str, channels: int, layout: str) -> None:
    sound = melody(0.5, 44100, channels)

    with AudioSource(wav(sound, format, layout=layout)) as source:
        again = np.concatenate(list(source), axis=1)

    assert again.shape == sound.samples.shape
    assert np.abs(again - sound.samples).max() < {"wav": 2e-5, "flac": 2e-5}.get(format, 1e-6)
    if layout:
        assert source.layout == layout


def test_a_wav_of_unknown_length_is_read() -> None:
    data = bytearray(wav(melody(1)))
    data[4:8] = struct.pack("<I", 0xFFFFFFFF)
    with AudioSource(bytes(data)) as source:
        assert sum(b.shape[1] for b in source) == 16000
