"""One engine for many threads, with an ear that does what whisper's does and can fail."""

from __future__ import annotations

from collections import Counter
from threading import Barrier, Event, Thread, current_thread

import numpy as np
import pytest

from models.engines.desk import Question
from models.engines.scripted import DESCRIPTION, ENGLISH, spoken
from models.engines.shared import OneAtATime, SharedEngine
from pipeline.types import Clip, LanguageGuess, Span, SpeechOptions, Window

PATIENCE_S = 20.0
OPTIONS = SpeechOptions(language="en")


def clips(name, count):
    """Of one file; the prompt tells whose they are."""
    options = SpeechOptions(language="en", initial_prompt=name)
    for n in range(count):
        window = Window(30.0 * n, 30.0 * n + 10, (Span(30.0 * n, 30.0 * n + 10),))
        yield Clip(window, np.zeros(8, np.float32), options)


class Ear:
    """Hears in batches, last come first answered; `broken` files make it fail."""

    description = DESCRIPTION
    language = None
    ahead = 6

    def __init__(self, batch=3, broken=(), gate=None):
        self.batch = batch
        self.broken = broken
        self.gate = gate or Event()
        self.batches = []

    def hear(self, take):
        self.gate.wait(PATIENCE_S)
        while taken := take(self.batch):
            names = [one.clip.options.initial_prompt for one in taken]
            self.batches.append(names)
            for one in reversed(taken):
                name = one.clip.options.initial_prompt
                if isinstance(one, Question):
                    one.probabilities = {"en": 0.25, "de": 0.75}
                    continue
                text = f"{name} {one.clip.window.start_s:.0f}"
                one.segments += spoken(one.clip.window, text)
                if name in self.broken:
                    raise RuntimeError(f"{name} is broken")
                one.unheard = 0
                yield one


class Crowd:
    """Threads that each transcribe a file, all at once."""

    def __init__(self, ear, heed=lambda: None):
        self.engine = SharedEngine(ear, heed)
        self.ear = ear
        self.texts = {}
        self.errors = {}

    def transcribe(self, **counts):
        begin = Barrier(len(counts) + 1)

        def work(name, count):
            begin.wait(PATIENCE_S)
            try:
                heard = self.engine.transcribe(clips(name, count))
                self.texts[name] = [segment.text for one in heard for segment in one.segments]
            except Exception as error:  # noqa: BLE001
                self.errors[name] = str(error)

        threads = [Thread(target=work, args=pair) for pair in counts.items()]
        for thread in threads:
            thread.start()
        begin.wait(PATIENCE_S)
        asking = sum(map(bool, counts.values()))
        until(lambda: sum(bool(one.waiting) for one in self.engine._streams[:]) >= asking)
        self.ear.gate.set()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        return self.texts


def until(condition):
    while not condition():
        pass


class Stopped(Exception):
    pass


class WatchedEar(Ear):
    """Has the file "a" in work until it is told to go on, and then may break."""

    def __init__(self, *, is_broken):
        super().__init__()
        self.is_broken = is_broken
        self.has_a, self.may_go_on = Event(), Event()

    def hear(self, take):
        return super().hear(lambda room: self.looked_at(take(room)))

    def looked_at(self, taken):
        if any(one.clip.options.initial_prompt == "a" for one in taken):
            self.has_a.set()
            self.may_go_on.wait(PATIENCE_S)
            if self.is_broken:
                raise RuntimeError("a is broken")
        return taken


def heard_while_a_is_stopped(ear, *, together):
    """What the file "b" gets, whose clips are in work with those of "a", or wait meanwhile."""

    def heed():
        if current_thread() is a and ear.has_a.is_set():
            raise Stopped

    def stopped():
        with pytest.raises(Stopped):
            list(engine.transcribe(clips("a", 1)))

    def asking():
        return sum(bool(stream.waiting) for stream in engine._streams[:])

    engine, heard = SharedEngine(ear, heed), []
    a = Thread(target=stopped)
    b = Thread(target=lambda: heard.extend(engine.transcribe(clips("b", 1))))
    a.start()
    if not together:
        ear.gate.set()
        ear.has_a.wait(PATIENCE_S)
    b.start()
    until(lambda: asking() == 1 + together)
    ear.gate.set()
    a.join(PATIENCE_S)
    ear.may_go_on.set()
    b.join(PATIENCE_S)
    until(lambda: not engine._is_hearing)
    assert engine._left == []
    return [segment.text for one in heard for segment in one.segments]


def texts(name, count):
    return [f"{name} {30 * n}" for n in range(count)]


def test_each_file_gets_its_own_in_order():
    crowd = Crowd(Ear())
    assert crowd.transcribe(a=7, b=2, c=11, d=0) == {
        "a": texts("a", 7),
        "b": texts("b", 2),
        "c": texts("c", 11),
        "d": [],
    }


def test_windows_of_several_files_share_a_batch():
    ear = Ear(batch=4)
    Crowd(ear).transcribe(a=1, b=1, c=1, d=1)
    assert len(ear.batches) < 4
    assert sum(map(len, ear.batches)) == 4


def test_no_clip_is_taken_long_before_it_is_heard():
    ear = Ear()
    taken = []

    def source():
        for clip in clips("a", 20):
            taken.append(clip)
            yield clip

    ear.gate.set()
    for n, _ in enumerate(SharedEngine(ear, lambda: None).transcribe(source()), 1):
        assert len(taken) <= n + ear.ahead


def test_languages_are_asked_while_others_are_heard():
    ear = Ear()
    ear.gate.set()
    engine = SharedEngine(ear, lambda: None)
    heard = engine.transcribe(clips("a", 5))
    next(heard)
    assert engine.detect_language(clips("b", 3)) == LanguageGuess("de", 0.75)
    assert len(list(heard)) == 4


def test_an_ear_for_one_language_is_not_asked():
    ear = Ear()
    ear.language = ENGLISH
    assert SharedEngine(ear, lambda: None).detect_language(clips("a", 1)) is ENGLISH
    assert ear.batches == []


def test_one_files_failure_is_not_the_others():
    crowd = Crowd(Ear(batch=4, broken={"b"}))
    crowd.transcribe(a=5, b=5, c=3)
    assert crowd.errors == {"b": "b is broken"}
    assert crowd.texts == {"a": texts("a", 5), "c": texts("c", 3)}


@pytest.mark.parametrize("together", [True, False])
def test_the_failure_of_one_that_was_stopped_is_not_the_others(together):
    ear = WatchedEar(is_broken=True)
    assert heard_while_a_is_stopped(ear, together=together) == texts("b", 1)


@pytest.mark.parametrize("together", [True, False])
def test_one_that_was_stopped_is_forgotten_once_it_is_heard(together):
    ear = WatchedEar(is_broken=False)
    assert heard_while_a_is_stopped(ear, together=together) == texts("b", 1)


def test_an_ear_that_fails_before_it_takes_anything_is_told_to_all():
    class Deaf(Ear):
        def hear(self, take):
            self.gate.wait(PATIENCE_S)
            raise MemoryError("nothing is left")

    crowd = Crowd(Deaf())
    crowd.transcribe(a=2, b=1)
    assert crowd.errors == {"a": "nothing is left", "b": "nothing is left"}


def test_after_a_failure_it_hears_again():
    ear = Ear(broken={"a"})
    ear.gate.set()
    engine = SharedEngine(ear, lambda: None)
    with pytest.raises(RuntimeError, match="a is broken"):
        list(engine.transcribe(clips("a", 3)))
    assert len(list(engine.transcribe(clips("b", 3)))) == 3


def test_what_goes_wrong_with_the_clips_themselves_is_theirs():
    def broken():
        yield from clips("a", 2)
        raise OSError("the sound is gone")

    ear = Ear()
    ear.gate.set()
    engine = SharedEngine(ear, lambda: None)
    other = engine.transcribe(clips("b", 9))
    next(other)
    with pytest.raises(OSError, match="the sound is gone"):
        list(engine.transcribe(broken()))
    assert len(list(other)) == 8


def test_one_that_waits_can_be_stopped():
    def heed():
        raise Stopped

    ear = Ear()  # whose gate stays closed
    engine = SharedEngine(ear, heed)
    with pytest.raises(Stopped):
        list(engine.transcribe(clips("a", 1)))
    ear.gate.set()
    assert engine._streams == []


def test_the_thread_that_hears_ends_when_there_is_nothing_to_hear():
    ear = Ear()
    ear.gate.set()
    engine = SharedEngine(ear, lambda: None)
    for _ in range(3):
        assert len(list(engine.transcribe(clips("a", 2)))) == 2
        until(lambda: not engine._is_hearing)


def test_an_engine_for_one_at_a_time_serves_others_afterwards():
    busy = Counter()

    class Engine:
        description = DESCRIPTION

        def transcribe(self, clips):
            for clip in clips:
                busy["now"] += 1
                busy["most"] = max(busy["most"], busy["now"])
                yield clip.options.initial_prompt
                busy["now"] -= 1

    engine, heard = OneAtATime(Engine(), lambda: None), []
    threads = [
        Thread(target=lambda name=name: heard.extend(engine.transcribe(clips(name, 50))))
        for name in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert busy["most"] == 1
    assert sorted(heard) == ["a"] * 50 + ["b"] * 50
