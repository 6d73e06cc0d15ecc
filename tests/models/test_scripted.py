from __future__ import annotations

import subprocess
import sys
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engines.scripted import ScriptedDetector, ScriptedEngine, ScriptedEngines, spoken
from pipeline.types import Clip, Heard, LanguageGuess, Segment, Span, SpeechOptions, Window

OPTIONS = SpeechOptions(language="en")


def clips(count):
    for n in range(count):
        window = Window(30.0 * n, 30.0 * n + 30, (Span(30.0 * n + 1, 30.0 * n + 3),))
        yield Clip(window, np.zeros(480_000, np.float32), OPTIONS)


def test_texts_are_said_in_turn_in_the_spans_of_each_window():
    engine = ScriptedEngine(("One two.", ""))
    first, second, third = engine.transcribe(clips(3))
    assert [segment.text for segment in first.segments] == ["One two."]
    assert second.segments == ()
    assert third.segments[0].start_s == 61.0
    assert third.segments[0].end_s == 63.0
    words = third.segments[0].words
    assert [(word.start_s, word.end_s, word.text) for word in words] == [
        (61.0, 62.0, " One"),
        (62.0, 63.0, " two."),
    ]


def test_a_function_is_asked_for_each_window():
    segment = Segment(1.0, 2.0, "Yes.", (), 0.0, 0.0, 1.0, 0.0)
    engine = ScriptedEngine(lambda window: (segment,) if window.start_s == 30.0 else ())
    assert [heard.segments for heard in engine.transcribe(clips(3))] == [(), (segment,), ()]


def test_clips_are_taken_lazily_a_batch_at_a_time():
    taken = []

    def watched():
        for clip in clips(5):
            taken.append(clip)
            yield clip

    engine = ScriptedEngine(batch_size=2)
    results = engine.transcribe(watched())
    assert taken == []
    next(results)
    assert len(taken) == 2
    windows = [heard.window for heard in results]
    assert windows == [clip.window for clip in taken[1:]]
    assert engine.batches == [2, 2, 1]
    assert engine.asked == taken


def test_a_failure_loses_its_batch_and_comes_once():
    engine = ScriptedEngine(batch_size=2, failure=(3, MemoryError("full")))
    heard = []

    def run():
        for result in engine.transcribe(clips(6)):
            heard.append(result)  # noqa: PERF402  - what came before the failure counts

    with pytest.raises(MemoryError, match="full"):
        run()
    assert [result.window.start_s for result in heard] == [0.0, 30.0]
    assert all(isinstance(result, Heard) for result in engine.transcribe(clips(6)))


def test_the_language_is_the_scripts():
    engine = ScriptedEngine(guess=LanguageGuess("de", 0.9))
    assert engine.detect_language(clips(2)) == LanguageGuess("de", 0.9)
    assert len(engine.asked_for_language) == 2
    assert engine.asked == []


@settings(max_examples=40)
@given(texts=st.lists(st.text(max_size=12), max_size=5))
def test_words_fill_the_segment_and_spell_its_text(texts):
    window = Window(0.0, 30.0, (Span(2.0, 3.0), Span(7.0, 9.5)))
    for segment in spoken(window, " ".join(texts)):
        assert (segment.start_s, segment.end_s) == (2.0, 9.5)
        assert "".join(word.text for word in segment.words).strip() == segment.text
        edges = [time for word in segment.words for time in (word.start_s, word.end_s)]
        assert edges == sorted(edges)
        assert (edges[0], edges[-1]) == (2.0, 9.5)


@settings(max_examples=40)
@given(blocks=st.lists(st.integers(0, 3000), max_size=6))
def test_the_detector_gives_one_probability_a_frame_however_the_blocks_are_cut(blocks):
    detector = ScriptedDetector((Span(0.05, 0.1),))
    found = detector.probabilities(np.zeros(n, np.float32) for n in blocks)
    probabilities = np.concatenate([np.zeros(0, np.float32), *found])
    assert probabilities.dtype == np.float32
    assert len(probabilities) == ceil(sum(blocks) / detector.frame_samples)
    # 0.05 s … 0.1 s is samples 800 … 1600: frames 1, 2 and 3 of 512
    assert np.flatnonzero(probabilities).tolist() == [
        n for n in (1, 2, 3) if n < len(probabilities)
    ]
    assert detector.heard_samples == [sum(blocks)]


def test_the_engines_lend_what_they_were_given_and_remember_the_options():
    engine, detector = ScriptedEngine(), ScriptedDetector(())
    engines = ScriptedEngines(engine, detector)
    with engines.detector() as lent:
        assert lent is detector
    with engines.speech(OPTIONS) as lent:
        assert lent is engine
    assert engines.lent == [OPTIONS]


def test_the_engines_can_fail_to_lend():
    engines = ScriptedEngines(ScriptedEngine(), ScriptedDetector(()), MemoryError("none left"))
    with pytest.raises(MemoryError, match="none left"), engines.speech(OPTIONS):
        pytest.fail("it was lent")


def test_no_heavy_library_is_needed_to_import_it():
    code = "import sys, models.engines.scripted as s; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
