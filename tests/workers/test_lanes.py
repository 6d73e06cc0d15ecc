"""Files side by side, with real threads and work that waits to be told."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Lock

import pytest

from pipeline.types import Outcome
from workers.batch import Request
from workers.lanes import ENOUGH_S, MOST, Lanes

PATIENCE_S = 20.0


class Ear:
    def stage(self, stage, total_s): ...

    def progress(self, done_s): ...

    def note(self, text): ...


def requests(count):
    return [Request(Path(f"{n}.mp3")) for n in range(count)]


def outcome(request):
    return Outcome(request.path, "done")


def run(work, count):
    return list(Lanes(work, lambda _: Ear()).outcomes(requests(count)))


def test_every_file_has_its_outcome():
    found = run(lambda request, _: outcome(request), 40)
    assert sorted(one.path.name for one, _ in found) == sorted(f"{n}.mp3" for n in range(40))
    assert all(request.path == result.source for request, result in found)


def test_nothing_to_do_has_no_outcomes():
    assert run(lambda request, _: outcome(request), 0) == []


class Tracked:
    """Work that knows how many files are at which point."""

    def __init__(self, sound_s):
        self.sound_s = sound_s
        self.lock = Lock()
        self.converting = self.heard = self.most_converting = self.most_heard = 0
        self.enough = Event()

    def __call__(self, request, listener):
        with self.lock:
            self.converting += 1
            self.most_converting = max(self.most_converting, self.converting)
        listener.stage("convert", 1.0)
        with self.lock:
            self.converting -= 1
            self.heard += 1
            self.most_heard = max(self.most_heard, self.heard)
        listener.stage("transcribe", self.sound_s)
        if self.most_heard < self.wanted():
            self.enough.wait(PATIENCE_S)  # nobody is heard before all are there that should be
        else:
            self.enough.set()
        listener.progress(self.sound_s)
        with self.lock:
            self.heard -= 1
        return outcome(request)

    def wanted(self):
        return min(MOST, -(-ENOUGH_S // self.sound_s))


@pytest.mark.parametrize("sound_s", [5.0, 300.0, ENOUGH_S, 10 * ENOUGH_S])
def test_files_are_made_ready_one_by_one_until_enough_sound_waits(sound_s):
    work = Tracked(sound_s)
    assert len(run(work, 50)) == 50
    assert work.most_converting == 1
    # one more may come while the first is just being done
    assert work.wanted() <= work.most_heard <= work.wanted() + 1


def test_a_file_that_ends_early_makes_room_for_the_next():
    order = []

    def work(request, listener):
        order.append(request.path.name)
        listener.stage("probe", None)
        return outcome(request)

    run(work, 5)
    assert order == [f"{n}.mp3" for n in range(5)]


def test_a_display_that_breaks_is_no_reason_to_wait_for_ever():
    def broken(_):
        raise OSError("the terminal is gone")

    lanes = Lanes(lambda request, _: outcome(request), broken)
    with pytest.raises(OSError, match="terminal is gone"):
        list(lanes.outcomes(requests(2)))


def test_what_work_raises_is_raised_when_the_others_were_put_down():
    heard, put_down = Event(), []

    def work(request, listener):
        listener.stage("transcribe", 5.0)
        if request.path.name == "1.mp3":
            heard.set()
            raise KeyboardInterrupt
        heard.wait(PATIENCE_S)
        put_down.append(request.path.name)
        return outcome(request)

    with pytest.raises(KeyboardInterrupt):
        run(work, 2)
    assert put_down == ["0.mp3"]
