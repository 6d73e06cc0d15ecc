"""The story of one summary, with an engine that answers, errs and is interrupted."""

from __future__ import annotations

import json
from itertools import count

import pytest

from pipeline.errors import OutOfMemory, QuestionTooLong, TextEngineFailed
from pipeline.summaries.options import SummaryOptions
from pipeline.summaries.summarise import summarise
from pipeline.types import Span, TextAnswer
from tests.pipeline.summaries.scripted_engine import (
    GARBAGE,
    WRONG_SCHEMA,
    Memory,
    ScriptedEngine,
    data_of,
    failed,
    is_merge,
    own_answer,
)
from tests.pipeline.summaries.talks import SUBJECTS, of_texts, spoken, talk

MEETING = SummaryOptions(style="meeting")
HOUR = talk(60)


def run(engine, said=HOUR, options=MEETING, memory=None, heed=lambda: None, now_s=None):
    memory = memory or Memory()
    ticks = count()
    return summarise(
        said, engine, options, memory, heed, memory.once, now_s or (lambda: float(next(ticks)))
    )


def starts(said):
    return {line.start_s for line in said.lines}


@pytest.mark.parametrize("context_tokens", [2048, 4096, 8192, 32_768])
def test_every_second_is_covered_and_every_time_is_real(context_tokens):
    engine, memory = ScriptedEngine(context_tokens), Memory()
    found = run(engine, memory=memory)
    assert found.coverage.covered_s == found.coverage.speech_s
    assert found.coverage.missing == ()
    assert found.coverage.requests == len(engine.asked) == memory.progress[0][1]
    assert {point.start_s for point in found.points} <= starts(HOUR)
    assert {chapter.start_s for chapter in found.chapters} <= starts(HOUR)
    assert found.chapters[0].start_s == HOUR.lines[0].start_s
    assert found.chapters[-1].end_s == HOUR.duration_s
    assert found.provenance.engine == engine.description
    assert found.provenance.fallbacks == ()
    assert found.title in ("The whole of it", found.chapters[0].title.replace("On", "About"))


def test_every_line_was_in_a_question_word_for_word():
    engine = ScriptedEngine(4096)
    run(engine)
    asked = "\n".join(data_of(one) for one in engine.asked if not is_merge(one))
    for line in HOUR.lines:
        assert f"[{int(line.start_s)}] {line.text}" in asked


def test_twelve_hours_are_merged_in_steps():
    engine, memory = ScriptedEngine(4096), Memory()
    found = run(engine, talk(720), memory=memory)
    assert sum(map(is_merge, engine.asked)) > 20
    assert memory.progress[0][1] == len(engine.asked)
    assert found.coverage.missing == ()
    assert 5 <= len(found.chapters) <= 32
    assert found.chapters[-1].start_s > 10 * 3600


def test_progress_is_known_beforehand_and_tells_the_time_left():
    memory = Memory()
    run(ScriptedEngine(4096), memory=memory)
    done = [step[0] for step in memory.progress]
    totals = {step[1] for step in memory.progress}
    assert totals == {len(memory.progress) - 1}
    assert done == list(range(len(done)))
    assert memory.progress[0][2] is None
    assert memory.progress[1][2] == pytest.approx(done[-1] - 1)  # a tick each
    assert memory.progress[-1][2] == 0


def test_only_meetings_have_things_to_do():
    assert run(ScriptedEngine()).actions
    assert not run(ScriptedEngine(), options=SummaryOptions(style="podcast")).actions


@pytest.mark.parametrize("nonsense", [GARBAGE, WRONG_SCHEMA, "", "x" * 10_000_000])
def test_an_answer_that_is_nonsense_is_asked_for_again(nonsense):
    engine = ScriptedEngine(4096, script=lambda n, _: nonsense if n in (1, 2) else None)
    found = run(engine)
    assert found.coverage.missing == ()
    assert found.provenance.fallbacks == ()
    assert len(engine.asked) == found.coverage.requests + 2


def bad_part(lines):
    """Questions with one of these lines get nonsense."""

    def script(_, request):
        data = data_of(request)
        return GARBAGE if any(f"[{int(line.start_s)}] " in data for line in lines) else None

    return script


def test_a_part_that_fails_is_asked_for_again_in_halves_and_what_fails_again_is_named():
    engine, memory = ScriptedEngine(4096, script=bad_part([HOUR.lines[300]])), Memory()
    found = run(engine, memory=memory)
    (gap,) = found.coverage.missing
    bad = HOUR.lines[300]
    assert gap.start_s <= bad.start_s < bad.end_s <= gap.end_s
    part_s = 3600 / 6
    assert 30 < gap.end_s - gap.start_s < part_s  # a half of a part, not a whole one
    assert found.coverage.covered_s < found.coverage.speech_s
    assert any("not summarised: 0:2" in one for one in found.provenance.fallbacks)
    assert all(not gap.start_s <= point.start_s < gap.end_s for point in found.points)
    assert any("could not be used" in note for note in memory.notes)
    assert memory.progress[-1][0] == memory.progress[-1][1]


def test_a_part_that_fails_once_is_whole_in_the_end():
    third = bad_part([HOUR.lines[300]])
    engine = ScriptedEngine(4096, script=lambda n, request: third(n, request) if n < 8 else None)
    assert run(engine).coverage.missing == ()


def test_a_single_part_that_fails_is_asked_for_in_halves():
    whole = talk(5)
    engine, memory = ScriptedEngine(8192, script=lambda n, _: GARBAGE if n < 3 else None), Memory()
    found = run(engine, whole, memory=memory)
    assert found.coverage.missing == ()
    assert memory.progress[-1][:2] == (4, 4)  # the part, its halves, their merge
    assert found.title == "The whole of it"


def too_long_above(chars, only=lambda _: True):
    """Who estimated tokens finds some questions too long."""

    def script(_, request):
        is_long = only(request) and len(data_of(request)) > chars
        return QuestionTooLong("A question does not fit.") if is_long else None

    return script


@pytest.mark.parametrize("chars", [4000, 2000, 700])
def test_a_part_that_is_too_long_is_halved_until_it_fits(chars):
    engine = ScriptedEngine(4096, script=too_long_above(chars, lambda one: not is_merge(one)))
    memory = Memory()
    found = run(engine, memory=memory)
    assert found.coverage.missing == ()
    assert found.provenance.fallbacks == ()
    assert memory.progress[-1][0] == memory.progress[-1][1] == len(engine.asked)
    assert all(done < total for done, total, _ in memory.progress[:-1])
    read = "\n".join(data_of(one) for one in engine.asked if len(data_of(one)) <= chars)
    assert all(line.text in read for line in HOUR.lines)


def test_a_part_that_is_too_long_however_short_is_named_and_the_rest_is_made():
    bad = HOUR.lines[300]
    is_bad = too_long_above(0, lambda request: f"[{int(bad.start_s)}] " in data_of(request))
    engine, memory = ScriptedEngine(4096, script=is_bad), Memory()
    found = run(engine, memory=memory)
    (gap,) = found.coverage.missing
    assert gap.start_s <= bad.start_s < bad.end_s <= gap.end_s
    assert gap.end_s - gap.start_s < 60
    assert memory.progress[-1][0] == memory.progress[-1][1]


def test_notes_that_are_too_long_to_merge_are_merged_in_less_detail():
    seen = []

    def script(_, request):
        if not is_merge(request):
            return None
        seen.append(len(data_of(request)))
        return QuestionTooLong("A question does not fit.") if len(seen) == 1 else None

    memory = Memory()
    found = run(ScriptedEngine(4096, script=script), memory=memory)
    assert seen[1] < seen[0]
    assert found.provenance.fallbacks == ()
    assert memory.progress[-1][0] == memory.progress[-1][1]


def test_an_engine_that_fails_now_and_then_costs_nothing():
    engine = ScriptedEngine(4096, script=lambda n, _: failed() if n in (1, 2, 5) else None)
    memory = Memory()
    found = run(engine, memory=memory)
    assert found.coverage.missing == ()
    assert found.provenance.fallbacks == ()
    assert found.coverage.requests == memory.progress[0][1]  # whole parts again, not halves
    assert len(engine.asked) == found.coverage.requests + 3


def test_an_engine_that_is_gone_ends_it_soon_and_the_rest_can_be_made_later():
    memory = Memory()
    engine = ScriptedEngine(4096, script=lambda n, _: failed("gone") if n >= 4 else None)
    with pytest.raises(TextEngineFailed, match="gone"):
        run(engine, talk(120), memory=memory)
    assert len(engine.asked) == 4 + 3
    again = ScriptedEngine(4096)
    found = run(again, talk(120), memory=memory)
    assert found.coverage.missing == ()
    assert len(again.asked) == found.coverage.requests - 4
    assert found == run(ScriptedEngine(4096), talk(120))


@pytest.mark.parametrize(("took_s", "times"), [(900.0, 1), (200.0, 2), (1.0, 3)])
def test_who_never_said_a_word_is_not_asked_with_the_same_patience_again(took_s, times):
    clock = count(0.0, took_s)
    engine = ScriptedEngine(4096, script=lambda *_: failed("was silent"))
    with pytest.raises(TextEngineFailed, match="was silent"):
        run(engine, talk(120), now_s=lambda: next(clock))
    assert len(engine.asked) == times


def test_who_has_answered_may_take_its_time_to_fail():
    clock = count(0.0, 900.0)
    engine = ScriptedEngine(4096, script=lambda n, _: failed() if n in (1, 2) else None)
    found = run(engine, talk(120), now_s=lambda: next(clock))
    assert found.coverage.missing == ()


def test_only_nonsense_is_a_failure():
    engine = ScriptedEngine(4096, script=lambda *_: GARBAGE)
    with pytest.raises(TextEngineFailed, match="none of its answers is usable"):
        run(engine, talk(20))


def test_an_engine_that_is_down_says_so_itself():
    engine = ScriptedEngine(8192, script=lambda *_: failed("The server is down: start it."))
    with pytest.raises(TextEngineFailed, match=r"The server is down: start it\."):
        run(engine, talk(3))
    assert len(engine.asked) == 2


@pytest.mark.parametrize("context_tokens", [2048, 4096])
def test_notes_that_are_very_long_are_merged_in_less_detail(context_tokens):
    def wordy(_, request):
        if is_merge(request):
            return None
        answer = json.loads(own_answer(request))
        answer["abstract"] = "many words " * 200
        for point in answer["points"]:
            point["text"] = f"{point['second']} " + "other words " * 40
        return json.dumps(answer)

    engine = ScriptedEngine(context_tokens, script=wordy)
    found = run(engine)  # the engine refuses what overruns its context
    assert any(map(is_merge, engine.asked))
    assert found.provenance.fallbacks == ()
    assert found.points


def test_a_merge_that_fails_is_made_by_code_and_told():
    engine = ScriptedEngine(4096, script=lambda _, request: GARBAGE if is_merge(request) else None)
    found = run(engine)
    assert found.coverage.missing == ()
    assert "joined without the model" in found.provenance.fallbacks[0]
    assert found.abstract.startswith("From 3 to")
    assert len(found.points) > 5
    assert found.chapters[-1].start_s > 1800


def test_answers_that_are_cut_are_asked_for_in_brief():
    cut = TextAnswer('{"title": "a", "abst', 100, 100, is_cut=True)
    engine = ScriptedEngine(4096, script=lambda n, _: cut if n == 0 else None)
    assert run(engine).coverage.missing == ()
    assert "be brief" in engine.asked[1].user


def test_points_and_chapters_that_were_invented_are_dropped_and_told():
    invented = {"second": 999_999, "quote": "nobody has ever said this here", "text": "No"}
    answer = {
        "title": "t", "abstract": "a", "points": [invented],
        "chapters": [{**invented, "title": "No"}],
    }  # fmt: skip
    found = run(ScriptedEngine(8192, script=lambda *_: json.dumps(answer)), talk(3))
    assert found.points == ()
    assert [chapter.title for chapter in found.chapters] == ["t"]
    assert len(found.provenance.fallbacks) == 2


def test_a_crash_repeats_one_question_and_not_all():
    class Crash(Exception):
        pass

    memory = Memory()
    engine = ScriptedEngine(4096, script=lambda n, _: Crash() if n == 5 else None)
    with pytest.raises(Crash):
        run(engine, memory=memory)
    again = ScriptedEngine(4096)
    found = run(again, memory=memory)
    assert len(again.asked) == found.coverage.requests - 5


def test_other_questions_are_not_answered_by_what_was_saved():
    memory = Memory()
    run(ScriptedEngine(4096), memory=memory)
    engine = ScriptedEngine(4096)
    run(engine, options=SummaryOptions(style="lecture"), memory=memory)
    assert len(engine.asked) > 5


def test_it_can_be_interrupted_between_questions():
    asked = count()

    def heed():
        if next(asked) >= 6:
            raise KeyboardInterrupt

    engine = ScriptedEngine(4096)
    with pytest.raises(KeyboardInterrupt):
        run(engine, heed=heed)
    assert len(engine.asked) == 3


def test_a_lack_of_memory_is_the_caller_s_matter():
    with pytest.raises(OutOfMemory):
        run(ScriptedEngine(script=lambda *_: OutOfMemory("too large")))


def test_the_same_is_said_each_time():
    assert run(ScriptedEngine(4096)) == run(ScriptedEngine(4096))


@pytest.mark.parametrize("said", [of_texts(), of_texts("", "  "), spoken([], duration_s=60.0)])
def test_silence_is_not_asked_about(said):
    engine = ScriptedEngine()
    found = run(engine, said)
    assert engine.asked == []
    assert found.provenance.fallbacks == ("no speech was found",)
    assert (found.points, found.chapters, found.abstract) == ((), (), "")


def test_without_an_engine_it_is_extractive():
    found = run(None)
    assert found.provenance.engine is None
    assert found.provenance.fallbacks[0] == "extractive, no LLM"
    assert found.coverage.requests == 0


def test_a_language_without_spaces_is_summarised_as_well():
    said = talk(
        60, subjects=tuple("春 夏 秋 冬 山 川 海 空 星 月" for _ in SUBJECTS), language="ja"
    )
    found = run(ScriptedEngine(4096), said)
    assert found.coverage.missing == ()
    assert found.provenance.language == "ja"


def test_a_line_longer_than_a_context_is_covered_in_pieces():
    said = of_texts("Hello there, everybody.", "word " * 9000, "Goodbye to you all.")
    engine = ScriptedEngine(4096)
    found = run(engine, said)
    assert found.coverage.missing == ()
    assert {point.start_s for point in found.points} <= starts(said)
    assert found.chapters[-1].end_s == said.duration_s


def test_speech_is_missing_as_one_span_where_parts_touch():
    engine = ScriptedEngine(4096, script=bad_part(HOUR.lines[200:400]))
    (gap,) = run(engine).coverage.missing
    assert gap.start_s <= HOUR.lines[200].start_s
    assert gap.end_s >= HOUR.lines[399].end_s
    assert isinstance(gap, Span)
