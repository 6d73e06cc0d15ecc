"""Media without words, with headers that lie, of any length, under any name: through the queue."""

from __future__ import annotations

import os
import struct
import subprocess
import unicodedata
from pathlib import Path

import pytest

from tests.faults.disks import mounted
from tests.faults.processes import until
from tests.faults.sounds import FFMPEG, write_flac_without_length, write_sound

SLOW = pytest.mark.slow
MKV_DURATION = b"\x44\x89\x88"  # the element, and that eight bytes of a float follow
MEMORY_BYTES = 400e6  # a worker with a model for speech detection has less


def generate(path, source, length_s, *options):
    """What one of ffmpeg's sources gives."""
    command = [FFMPEG, "-v", "error", "-f", "lavfi", "-i", source, "-t", str(length_s), *options]
    subprocess.run([*command, path], check=True)
    return path


# ── no words ─────────────────────────────────────────────────────────────────────────────────

WORDLESS = {
    "silence": "anullsrc=r=16000:cl=mono",
    "noise": "anoisesrc=r=16000:a=0.3:seed=1",
    "music": "aevalsrc=0.2*sin(2*PI*t*(220+110*floor(mod(t*2\\,4)))):s=16000",
}


@SLOW
def test_what_has_no_words_is_done_with_empty_subtitles(yard):
    for name, source in WORDLESS.items():
        path = generate(yard.media / f"{name}.wav", source, 40)
        yard.ask_for(path, 40, subtitles=b"")
    yard.start(crew="real", lease_s=10)
    yard.until_ended()
    yard.check()
    for one in yard.asked:
        assert yard.ledger.record(one.id).notes == ("no speech was found",)


# ── lengths ──────────────────────────────────────────────────────────────────────────────────


def lying(path, claimed_s):
    """A minute whose header claims another length."""
    generate(path, "sine=r=16000", 60, "-c:a", "flac")
    before, _, after = path.read_bytes().partition(MKV_DURATION)
    path.write_bytes(before + MKV_DURATION + struct.pack(">d", claimed_s * 1000) + after[8:])
    return path


@SLOW
@pytest.mark.parametrize("claimed_s", [1e9, 0.0, -5.0, float("nan")])
def test_a_header_that_lies_about_the_length_changes_nothing(yard, claimed_s):
    yard.ask_for(lying(yard.media / "one.mka", claimed_s), 60)
    yard.start()
    yard.until_ended()
    yard.check()


@SLOW
def test_no_room_is_needed_for_what_a_header_promises_and_no_file_can_hold(yard):
    honest = lying(yard.media / "honest.mka", 60)
    path = lying(yard.media / "one.mka", 3e6)  # 96 GB of sound in 300 kB
    with mounted(yard.home, 1200):
        yard.ask_for(honest, 60)
        yard.ask_for(path, 60, subtitles=yard.asked[0].subtitles)
        yard.start()
        yard.until_ended()
        yard.check()


@SLOW
def test_a_file_without_a_length_and_one_of_a_tenth_of_a_second(yard):
    path = yard.media / "unknown.flac"
    write_flac_without_length(path, 60)
    yard.ask_for(path, 60)
    yard.ask("short.wav", 0.1)
    yard.start()
    yard.until_ended()
    yard.check()


@SLOW
def test_hours_of_silence_take_bounded_time_and_memory(yard):
    source, length_s = WORDLESS["silence"], 3 * 3600
    path = generate(yard.media / "long.flac", source, length_s)
    one = yard.ask_for(path, length_s, subtitles=b"")
    fleet = yard.start(crew="real", lease_s=10)
    peaks_bytes = []

    def is_ended():
        peaks_bytes.append(max(map(peak_bytes, fleet.workers()), default=0))
        return yard.ledger.record(one.id).state == "done"

    until(is_ended, "it takes too long", 240)
    yard.check()
    assert 0 < max(peaks_bytes) < MEMORY_BYTES


def peak_bytes(pid):
    """The most memory that a process ever had."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0][1]) * 1024 if lines else 0


# ── names ────────────────────────────────────────────────────────────────────────────────────

ODD_NAMES = (
    os.fsdecode(b"not \xff\xfe utf-8.wav"),
    "two\nlines.wav",
    "-i.wav",
    "%03d.wav",
    "long " + "x" * 246 + ".wav",
    "🎙️ 会议.wav",
    unicodedata.normalize("NFC", "café.wav"),
    unicodedata.normalize("NFD", "café.wav"),
    "a:b|c'd\"e*[f]?.wav",
    " spaces and a dot. .wav",
    "$(touch escaped)`;&.wav",
)


@pytest.mark.slow
def test_odd_names_are_worked_on_like_all_others(yard):
    for number, name in enumerate(ODD_NAMES):
        yard.ask(name, 20 + number)
    yard.start(processes=2)
    yard.until_ended()
    yard.check()
    assert not any(path.name.startswith("escaped") for path in Path().iterdir())


@SLOW
def test_a_link_that_leads_away_writes_beside_itself(yard):
    away = yard.home.with_name("away")
    away.mkdir()
    write_sound(away / "one.wav", 30)
    link = yard.media / "link.wav"
    link.symlink_to(away / "one.wav")
    yard.ask_for(link, 30)
    yard.start()
    yard.until_ended()
    yard.check()
    assert [path.name for path in away.iterdir()] == ["one.wav"]


@SLOW
def test_a_file_that_became_a_pipe_is_refused_and_not_waited_for(yard):
    path = yard.media / "one.wav"
    write_sound(path, 30)
    one = yard.ask_for(path, 30, ends=("failed",), subtitles=b"")
    yard.expect(one, content=None)
    path.unlink()
    os.mkfifo(path)
    yard.start()
    yard.until_ended()
    yard.check()
