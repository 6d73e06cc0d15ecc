"""An ffmpeg that hangs, breaks or is missing: bounded time, a reason, no orphans, others go on."""

from __future__ import annotations

from pathlib import Path
from shutil import which

import pytest

from tests.faults.oracle import processes_of
from tests.faults.processes import until
from tests.faults.sounds import FFMPEG
from tests.faults.yard import NO_TOOLS
from workers.beat import BeatOptions

SLOW = pytest.mark.slow
# Only one file has bad luck, and only when it is converted.
UNLUCKY = (
    'case "$*" in *unlucky*-progress*|*-progress*unlucky*) {} ;; esac; exec ' + FFMPEG + ' "$@"'
)
PROBES_ALL_BUT = f'case "$*" in *unlucky*) {{}} ;; esac; exec {which("ffprobe")} "$@"'
LAST = 'for target; do :; done; target="${target#file:}"'
HANGS = "sleep 1000 & wait"  # all of its group is to be killed
TALKS_AND_HANGS = f"echo out_time_us=1000000; {HANGS}"
WRITES_NOTHING = f'{LAST}; : > "$target"; exit 0'
WRITES_NO_SOUND = f'{LAST}; exec {FFMPEG} -v error -f lavfi -i anullsrc -t 0 -f wav -y "$target"'
DIES = "kill -SEGV $$"
EATS_MEMORY = "ulimit -v 200000; exec python3 -c 'b = bytearray(10**9)'"


@pytest.mark.parametrize(
    ("script", "ends", "error", "words"),
    [
        (HANGS, "dead", "ToolFailed", "got no further for 0.5 s"),
        *(
            pytest.param(*case, marks=SLOW)
            for case in [
                (TALKS_AND_HANGS, "dead", "ToolFailed", "got no further for 0.5 s"),
                (WRITES_NOTHING, "failed", "NoAudio", "no sound could be read"),
                (WRITES_NO_SOUND, "failed", "NoAudio", "no sound could be read"),
                (DIES, "dead", "ToolFailed", "killed by signal 11"),
                (EATS_MEMORY, "dead", "ToolFailed", "failed"),
            ]
        ),
    ],
    ids=["hangs", "talks and hangs", "empty file", "no sound", "dies", "eats memory"],
)
def test_an_ffmpeg_that_breaks_at_a_file_fails_that_file_alone(yard, script, ends, error, words):
    bad = yard.ask("unlucky.wav", 60, ends=(ends,), priority="high")
    yard.ask("lucky.wav", 30)
    yard.start(ffmpeg=UNLUCKY.format(script), stall_s=0.5)
    yard.until_ended()
    assert children_left(yard) == []
    yard.check()
    record = yard.ledger.record(bad.id)
    assert record.error == error
    assert words in record.reason


def children_left(yard):
    """What an ffmpeg of this yard started and left running."""
    names = [Path(f"/proc/{pid}/comm") for pid in processes_of(yard.home)]
    return [name.read_text() for name in names if name.exists() and "sleep" in name.read_text()]


@SLOW
def test_without_ffmpeg_the_reason_is_told_and_a_retry_goes_on_when_it_is_there(yard):
    one = yard.ask("one.wav", 30)
    fleet = yard.start(ffmpeg=NO_TOOLS)
    yard.until_ended()
    record = yard.ledger.record(one.id)
    assert (record.state, record.error) == ("dead", "ToolMissing")
    assert "install ffmpeg" in record.reason
    assert fleet.term() == 0
    yard.ledger.retry([one.id])
    yard.start()
    yard.until_ended()
    yard.check()


@pytest.mark.parametrize(
    "tools",
    [
        {"ffmpeg": UNLUCKY.format(HANGS)},
        pytest.param({"ffprobe": PROBES_ALL_BUT.format(HANGS)}, marks=SLOW),
        pytest.param({"ffmpeg": HANGS}, marks=SLOW),
    ],
    ids=["converting", "probing", "asked for its decoders"],
)
def test_a_cancelled_job_ends_soon_though_its_tool_is_silent(yard, tools):
    one = yard.ask("unlucky.wav", 60, ends=("cancelled",))
    yard.start(**tools, beat_s=BeatOptions().beat_s)
    until(lambda: children_left(yard) != [], "it does not hang")
    assert yard.ledger.cancel([one.id]) == (one.id,)
    until(lambda: children_left(yard) == [], "it goes on", 4.0)
    yard.check()
