"""The converted track is read in stretches, however long it is."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from pipeline.audio import open_audio
from pipeline.errors import StorageFailed


@pytest.fixture
def ramp(tmp_path):
    """A track whose n-th sample is n."""
    path = tmp_path / "ramp.wav"
    path.write_bytes(wav(np.arange(1000, dtype="<i2").tobytes()))
    return path


def wav(data, rate_hz=16000, channels=1, extra=b""):
    body = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * 2 * channels, 2 * channels, 16)
    chunks = b"fmt " + struct.pack("<I", 16) + body + extra + b"data" + struct.pack("<I", len(data))
    return b"RIFF" + struct.pack("<I", 4 + len(chunks) + len(data)) + b"WAVE" + chunks + data


def test_samples_are_floats_between_minus_one_and_one(tmp_path):
    path = tmp_path / "loud.wav"
    path.write_bytes(wav(struct.pack("<4h", -32768, 0, 16384, 32767)))
    with open_audio(path) as audio:
        samples = audio.read(0, 4)
    assert samples.dtype == np.float32
    assert samples.tolist() == [-1.0, 0.0, 0.5, 32767 / 32768]


def test_a_stretch_is_read_by_its_position(ramp):
    with open_audio(ramp) as audio:
        assert (audio.n_samples, audio.duration_s) == (1000, 1000 / 16000)
        assert (audio.read(10, 3) * 32768).tolist() == [10, 11, 12]


def test_a_stretch_is_shorter_at_the_end_and_empty_past_it(ramp):
    with open_audio(ramp) as audio:
        assert (audio.read(998, 10) * 32768).tolist() == [998, 999]
        assert audio.read(5000, 10).shape == (0,)


def test_blocks_are_the_whole_track_in_order(ramp):
    with open_audio(ramp) as audio:
        blocks = list(audio.blocks(300))
    assert [len(block) for block in blocks] == [300, 300, 300, 100]
    assert (np.concatenate(blocks) * 32768).tolist() == list(range(1000))


def test_a_slice_in_seconds_is_cut_at_both_ends(ramp):
    with open_audio(ramp) as audio:
        assert (audio.slice_s(-1.0, 2 / 16000) * 32768).tolist() == [0, 1]
        assert (audio.slice_s(999 / 16000, 99.0) * 32768).tolist() == [999]
        assert audio.slice_s(2.0, 1.0).shape == (0,)


def test_other_chunks_are_passed_over_even_of_odd_length(tmp_path):
    path = tmp_path / "tagged.wav"
    path.write_bytes(wav(b"\1\0", extra=b"LIST" + struct.pack("<I", 3) + b"abc\0"))
    with open_audio(path) as audio:
        assert audio.n_samples == 1


def test_an_rf64_file_by_ffmpeg_is_read(media, samples, tmp_path):
    options = ("-ar", "16000", "-c:a", "pcm_s16le")
    long = media.tone("rf64.wav", 1, *options, "-rf64", "always")
    short = media.tone("riff.wav", 1, *options)
    assert long.read_bytes()[:4] == b"RF64"
    with open_audio(long) as audio:
        assert np.array_equal(audio.read(0, audio.n_samples) * 32768, samples(short))


def test_a_track_past_four_gibibytes_is_read_to_its_end(tmp_path):
    path = tmp_path / "long.wav"
    data_bytes = 5 * 1024**3
    body = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)
    ds64 = struct.pack("<QQQI", data_bytes + 72, data_bytes, data_bytes // 2, 0)
    with path.open("wb") as file:  # sparse: takes no room
        file.write(b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", 28) + ds64)
        file.write(b"fmt " + struct.pack("<I", 16) + body + b"data\xff\xff\xff\xff")
        file.seek(data_bytes - 2, 1)
        file.write(struct.pack("<h", 123))
    with open_audio(path) as audio:
        assert audio.n_samples == data_bytes // 2
        assert (audio.read(audio.n_samples - 2, 10) * 32768).tolist() == [0, 123]


def test_a_track_shorter_than_its_header_says_ends_where_it_ends(ramp):
    ramp.write_bytes(ramp.read_bytes()[:-100])
    with open_audio(ramp) as audio:
        assert audio.n_samples == 950
        assert audio.read(940, 100).shape == (10,)


BAD = {
    "empty": b"",
    "text": b"hello, this is no sound at all",
    "no data": wav(b"")[:36],
    "cut in the format": wav(b"")[:25],
    "44.1 kHz": wav(b"\0\0", rate_hz=44100),
    "stereo": wav(b"\0\0", channels=2),
    "endless chunks": b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 1000,
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_a_damaged_track_is_named(tmp_path, data):
    path = tmp_path / "audio.wav"
    path.write_bytes(data)
    with pytest.raises(StorageFailed, match=r"audio\.wav is no 16 kHz"), open_audio(path):
        pass


def test_a_missing_track_is_named(tmp_path):
    with pytest.raises(StorageFailed, match=r"gone\.wav cannot be opened"):
        open_audio(tmp_path / "gone.wav").__enter__()
