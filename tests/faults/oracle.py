"""The six promises, checked from disk, processes and ledger alone.

Goes in: what was asked for, and what an undisturbed run writes. Comes out: an AssertionError that
names the promise. Does not know: what was done to the workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from glob import escape
from pathlib import Path

ENDED = ("done", "failed", "dead", "cancelled")


@dataclass(frozen=True, slots=True)
class Asked:
    """One accepted job."""

    id: str
    media: Path
    content: bytes | None  # of the media when it was asked for; None: somebody changed it
    srt: Path
    subtitles: bytes  # as an undisturbed run writes them
    length_s: float
    ends: tuple[str, ...] = ("done",)  # how it may end


def check(asked, ledger, redis, home, prefix="transcribe:"):
    """All six. The workers have ended."""
    for one in asked:
        _one_ending(one, ledger, redis, prefix)
        _one_output(one, ledger)
        _source_is_there(one)
    _nothing_half(asked)
    _nothing_left(redis, home, prefix)
    _no_sound_left(asked, ledger, home)
    _numbers_are_true(asked, ledger)


def _one_ending(one, ledger, redis, prefix):
    """I1: exactly one terminal state, and in no list of what is to be done."""
    record = ledger.record(one.id)
    assert record is not None, f"I1: {one.media.name} is lost"
    assert record.state in one.ends, f"I1: {one.media.name} is {record.state}: {record.reason}"
    found = [place for place in _places(redis, prefix) if redis.zscore(place, one.id) is not None]
    assert found == [f"{prefix}ended:{record.state}"], f"I1: {one.media.name} is in {found}"


def _places(redis, prefix):
    """All sorted sets of jobs but the one that tells their age."""
    patterns = ("ready:*", "delayed", "running", "ended:*")
    keys = [key for name in patterns for key in redis.scan_iter(prefix + name)]
    return [key for key in keys if redis.type(key) == "zset"]


def _one_output(one, ledger):
    """I2, I6: one file, equal to an undisturbed run's, if and only if the ledger says done."""
    written = sorted(one.srt.parent.glob(f"{escape(one.media.stem)}.*srt"))
    if one.srt.exists() and one.srt not in written:  # its name was too long
        written.append(one.srt)
    if ledger.record(one.id).state == "done":
        assert written == [one.srt], f"I2: {one.media.name} led to {written}"
        assert one.srt.read_bytes() == one.subtitles, f"I2: {one.srt.name} is another"
    elif ledger.record(one.id).state != "cancelled":
        assert written == [], f"I6: {one.media.name} failed and has {written}"


def _nothing_half(asked):
    """I3: nothing half-written beside the media; subtitles can be read, and end with the media."""
    import srt

    folders = {one.srt.parent for one in asked}
    parts = [path for folder in folders for path in folder.rglob("*.part")]
    assert parts == [], f"I3: {parts}"
    for one in asked:
        if one.srt.exists():
            cues = list(srt.parse(one.srt.read_text(encoding="utf-8")))
            assert cues or not one.subtitles, f"I3: {one.srt.name} is empty"
            assert not cues or cues[-1].end.total_seconds() <= one.length_s, (
                f"I3: {one.srt.name} is too long"
            )


def _source_is_there(one):
    """I4: nobody touched the media."""
    assert one.content is None or one.media.read_bytes() == one.content, f"I4: {one.media.name}"


def _nothing_left(redis, home, prefix):
    """I5: no process, no lease."""
    assert processes_of(home) == [], "I5: processes are left"
    assert redis.zcard(prefix + "running") == 0, "I5: leases are left"


def _no_sound_left(asked, ledger, home):
    """I5: of jobs that are done, the converted sound is gone."""
    if all(ledger.record(one.id).state == "done" for one in asked):
        sounds = list(Path(home).rglob("audio.wav"))
        assert sounds == [], f"I5: {sounds}"


def _numbers_are_true(asked, ledger):
    """I6: the counts are those of the jobs."""
    states = [ledger.record(one.id).state for one in asked]
    for state, number in ledger.counts().by_state:
        assert number == states.count(state), f"I6: {number} jobs are said to be {state}"


def processes_of(home):
    """Every living process that was started with this home, children and grandchildren too."""
    marker = f"TRANSCRIBE_HOME={home}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (folder / "environ").read_bytes().split(b"\0") and _is_alive(folder):
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


def _is_alive(folder):
    """A zombie is over, whoever has yet to look at it."""
    return (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
