"""Any track becomes plain sound on the media's clock, whole or not at all."""

from __future__ import annotations

import math
import os
import random
from dataclasses import replace

import numpy as np
import pytest

from pipeline.convert import convert
from pipeline.errors import NoAudio, NotMedia, StorageFailed, ToolFailed, ToolMissing
from pipeline.ffmpeg import Tools
from pipeline.probe import probe


@pytest.fixture
def target(tmp_path):
    (tmp_path / "job").mkdir()
    return tmp_path / "job" / "audio.wav"


@pytest.fixture
def make(tools, target):
    def make(path, on_progress=lambda _: None, ffmpeg=None, **choice):
        mine = tools if ffmpeg is None else replace(tools, ffmpeg=ffmpeg, stall_s=0.5)
        info = probe(path, choice.get("language"), choice.get("audio_stream"), tools)
        return convert(path, info, target, mine, on_progress)

    return make


def names(folder):
    return [path.name for path in folder.iterdir()]


def first_sound_s(samples):
    return int(np.argmax(np.abs(samples) > 500)) / 16000


def pitch_hz(samples):
    spectrum = np.abs(np.fft.rfft(samples[:16000]))
    return int(np.argmax(spectrum)) * 16000 / len(samples[:16000])


# ── what comes out ───────────────────────────────────────────────────────────────────────────


def test_any_codec_becomes_16_khz_mono_of_the_same_length(media, make, samples, target):
    audio = make(media.tone("plain.mp3", 3))
    assert audio.path == target
    assert audio.duration_s == pytest.approx(3, abs=0.05)
    assert audio.notes == ()
    assert len(samples(target)) == round(audio.duration_s * 16000)
    assert names(target.parent) == ["audio.wav"]


def test_nothing_but_sound_is_written(media, make, target):
    make(media.tone("titled.mp3", 1, "-metadata", "title=secret title"))
    assert b"secret" not in target.read_bytes()
    assert b"Lavf" not in target.read_bytes()


FILMS = {
    "mkv": ("-c:v", "mpeg4", "-c:a", "mp2"),
    "mp4": ("-c:v", "mpeg4", "-c:a", "aac"),
    "ts": ("-c:v", "mpeg2video", "-c:a", "mp2"),
    "mpg": ("-c:v", "mpeg2video", "-c:a", "mp2"),
    "nut": ("-c:v", "mpeg4", "-c:a", "mp2"),
}


@pytest.mark.parametrize("kind", FILMS)
def test_a_late_track_begins_with_silence(media, make, samples, target, kind):
    audio = make(media.film(f"late.{kind}", *FILMS[kind], late_s=2))
    sound = samples(target)
    assert audio.duration_s == pytest.approx(6, abs=0.05)
    assert first_sound_s(sound) == pytest.approx(2, abs=0.03)
    assert not sound[: round(1.95 * 16000)].any()


def test_a_transport_stream_that_starts_at_5000_s_starts_at_0(media, make, samples, target):
    audio = make(media.tone("offset.ts", 2, "-c:a", "mp2", "-output_ts_offset", "5000"))
    assert audio.duration_s == pytest.approx(2, abs=0.05)
    assert first_sound_s(samples(target)) < 0.03


def test_two_recordings_in_one_transport_stream_follow_each_other(media, make):
    early = media.tone("early.ts", 2, "-c:a", "mp2")
    late = media.tone("later.ts", 2, "-c:a", "mp2", "-output_ts_offset", "50000")
    both = early.with_name("both.ts")
    both.write_bytes(early.read_bytes() + late.read_bytes())
    audio = make(both)
    assert audio.duration_s == pytest.approx(4, abs=0.2)
    assert audio.notes == ()


def test_a_hole_is_filled_with_silence(media, make, samples, target):
    hole = "asetpts='if(gt(T,1),PTS+5/TB,PTS)'"
    audio = make(media.tone("hole.mkv", 2, "-af", hole, "-c:a", "mp2"))
    assert audio.duration_s == pytest.approx(7, abs=0.1)
    sound = samples(target)
    assert not sound[2 * 16000 : 5 * 16000].any()
    assert sound[round(6.2 * 16000) :].any()


def test_only_the_chosen_track_is_heard(media, make, samples, target):
    path = media.make(
        "pitches.mkv",
        *("-f", "lavfi", "-i", "sine=300:d=2", "-f", "lavfi", "-i", "sine=900:d=2"),
        *("-map", "0", "-map", "1", "-c:a", "mp2"),
        *("-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger"),
    )
    make(path, language="de")
    assert pitch_hz(samples(target)) == pytest.approx(900, abs=5)
    make(path, audio_stream=0)
    assert pitch_hz(samples(target)) == pytest.approx(300, abs=5)


def test_a_cover_picture_is_left_out(media, make):
    cover = media.make("cover.png", "-f", "lavfi", "-i", "testsrc=s=64x64", "-frames:v", "1")
    options = ("-i", str(cover), "-map", "0", "-map", "1", "-disposition:v", "attached_pic")
    audio = make(media.tone("covered.mp3", 2, *options))
    assert audio.duration_s == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("channels", [2, 12])
def test_any_number_of_channels_becomes_one(media, make, samples, target, channels):
    sines = "|".join(["0.5*sin(440*2*PI*t)"] * channels)
    options = ("-f", "lavfi", "-i", f"aevalsrc={sines}:d=1:s=16000", "-c:a", "pcm_s16le")
    make(media.make(f"channels-{channels}.wav", *options))
    assert pitch_hz(samples(target)) == pytest.approx(440, abs=5)
    assert np.abs(samples(target)).max() > 8000


def test_progress_runs_forward_in_media_seconds(media, make):
    told = []
    make(media.tone("plain.mp3", 3), told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(3, abs=0.1)


# ── damage ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("half.mp3", ()),
        ("half.flac", ()),
        ("half.wav", ()),
        ("half.m4a", ("-movflags", "faststart")),
    ],
)
def test_half_a_file_is_converted_and_noted(media, make, name, options):
    audio = make(media.half(media.tone(name, 30, *options)))
    assert 13 < audio.duration_s < 16
    (note,) = audio.notes
    assert note.startswith(f"the header promises 30.0 s, {audio.duration_s:.1f} s could be read")
    assert "the file may be cut short" in note


def test_broken_packets_in_the_middle_are_passed_over(media, make, samples, target):
    whole = media.tone("whole.mkv", 30, "-c:a", "mp2").read_bytes()
    noise = random.Random(1).randbytes(len(whole) // 20)
    middle = len(whole) // 2
    path = target.parent / "broken.mkv"
    path.write_bytes(whole[:middle] + noise + whole[middle + len(noise) :])
    audio = make(path)
    assert audio.duration_s == pytest.approx(30, abs=0.2)
    assert samples(target)[-16000:].any()


def test_a_track_without_a_single_sample_is_no_audio(media, make, target):
    with pytest.raises(NoAudio, match=r"zero\.wav has an audio track, but no sound"):
        make(media.tone("zero.wav", 1, "-t", "0"))
    assert names(target.parent) == []


@pytest.mark.parametrize("name", ["zero.mp3", "zero.m4a"])
def test_empty_tracks_of_other_formats_are_refused_by_the_probe(media, make, name):
    with pytest.raises((NoAudio, NotMedia)):
        make(media.tone(name, 1, "-t", "0"))


ODD = [b"a\nb.wav", b"-i.wav", b"http:b.wav", b"a%03d.wav", b"caf\xe9 \xff.wav", b"'; \\.wav"]


@pytest.mark.parametrize("raw", ODD)
def test_odd_names_are_nothing_but_names(media, tools, tmp_path, raw):
    path = tmp_path / os.fsdecode(raw)
    path.write_bytes(media.tone("small.wav", 1).read_bytes())
    target = tmp_path / os.fsdecode(raw + b".out")
    audio = convert(path, probe(path, None, None, tools), target, tools, lambda _: None)
    assert audio.duration_s == pytest.approx(1)
    assert target.exists()


# ── machines that misbehave ──────────────────────────────────────────────────────────────────


def test_too_small_a_disk_is_told_before_the_work(media, tools, target):
    path = media.tone("sparse.wav", 1)
    info = replace(probe(path, None, None, tools), duration_s=1e11)
    os.truncate(path, 10**12)  # mostly a hole; it could be as long as it claims
    with pytest.raises(StorageFailed, match=r"sparse\.wav needs 3,200,000,000.0 MB .* MB left"):
        convert(path, info, target, tools, lambda _: None)


def test_what_no_file_of_its_size_can_hold_needs_no_room(media, tools, target):
    path = media.tone("lying.wav", 1)
    info = replace(probe(path, None, None, tools), duration_s=1e12)
    assert convert(path, info, target, tools, lambda _: None).duration_s == 1


def test_a_folder_that_is_gone_is_told(media, tools, target):
    target.parent.rmdir()
    path = media.tone("small.wav", 1)
    with pytest.raises(StorageFailed, match=r"audio\.wav cannot be written"):
        convert(path, probe(path, None, None, tools), target, tools, lambda _: None)


BROKEN = {
    "disk full": (
        "echo 'av_interleaved_write_frame(): No space left on device' >&2; exit 1",
        StorageFailed,
        r"small\.wav, filled the disk",
    ),
    "hung": ("sleep 300", ToolFailed, r"small\.wav, got no further for 0\.5 s"),
    "killed": ("kill -9 $$", ToolFailed, r"small\.wav, was killed by signal 9"),
    "failing": ("echo '[x @ 0x1] boom' >&2; exit 1", ToolFailed, r"small\.wav, failed: boom\. "),
    "doing nothing": ("exit 0", NoAudio, r"small\.wav has an audio track, but no sound"),
}


@pytest.mark.parametrize(("body", "kind", "words"), BROKEN.values(), ids=BROKEN)
def test_a_failing_ffmpeg_is_told_and_leaves_nothing(
    media, make, fake_tool, target, body, kind, words
):
    with pytest.raises(kind, match=words):
        make(media.tone("small.wav", 1), ffmpeg=fake_tool(body))
    assert names(target.parent) == []


def test_without_ffmpeg_the_user_is_told_to_install_it(media, make, target):
    with pytest.raises(ToolMissing, match="no-ffmpeg is not installed.*apt install ffmpeg"):
        make(media.tone("small.wav", 1), ffmpeg="no-ffmpeg")
    assert names(target.parent) == []


def test_a_failure_leaves_an_earlier_result_alone(media, make, fake_tool, target):
    make(media.tone("small.wav", 1))
    before = target.read_bytes()
    with pytest.raises(ToolFailed):
        make(media.tone("small.wav", 1), ffmpeg=fake_tool("exit 1"))
    assert target.read_bytes() == before


def interrupt(done_s):
    if done_s > 0:
        raise KeyboardInterrupt


def test_an_interrupt_leaves_no_process_and_no_file(media, make, fake_tool, target, life):
    busy = fake_tool(f"exec 3>{life.path}; echo out_time_us=1000000; sleep 300")
    with pytest.raises(KeyboardInterrupt):
        make(media.tone("small.wav", 1), interrupt, ffmpeg=busy)
    assert life.ended
    assert names(target.parent) == []


@pytest.mark.parametrize("stage", ["-decoders", "-progress"])
def test_an_interrupt_is_heeded_while_ffmpeg_is_silent(
    media, tools, silent_tool, target, life, stage
):
    path = media.tone("small.wav", 1)
    info = probe(path, None, None, tools)
    silent = replace(tools, ffmpeg=silent_tool(stage))
    with pytest.raises(KeyboardInterrupt):
        convert(path, info, target, silent, lambda _: life.interrupt_once_begun())
    assert life.ended
    assert names(target.parent) == []


def test_an_interrupt_stops_the_real_ffmpeg_too(media, make, target):
    with pytest.raises(KeyboardInterrupt):
        make(media.tone("plain.mp3", 3), interrupt)
    assert names(target.parent) == []


def test_the_limits_of_the_tools_are_finite():
    assert math.isfinite(Tools().stall_s + Tools().probe_s)
