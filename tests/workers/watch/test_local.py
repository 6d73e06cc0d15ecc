"""Watched files that are worked on here: files and store are real, scripted engines answer."""

from __future__ import annotations

from contextlib import closing, contextmanager
from itertools import count, islice
from threading import Event

from models.demo import clips
from models.engines.scripted import ScriptedDetector, ScriptedEngine, ScriptedEngines, spoken
from pipeline.errors import TextEngineFailed
from pipeline.ffmpeg import Tools
from pipeline.summaries.options import SummaryOptions
from pipeline.types import OutputOptions, Span, SpeechOptions
from tests.pipeline.summaries import scripted_engine
from tests.workers.watch.watching import Yard, tree
from workers.batch import Machinery
from workers.interruption import Interruption
from workers.watch.after import After
from workers.watch.deciding import Policy
from workers.watch.ending import EndingOptions
from workers.watch.local import work_here
from workers.watch.rhythm import WatchOptions
from workers.watch.settling import SettleOptions

PATIENCE_S = 20.0
ONCE = WatchOptions(settle=SettleOptions(quiet_s=0.0, looks=1), once=True, events=False)
ALWAYS = WatchOptions(every_s=0.1, settle=SettleOptions(quiet_s=0.0, looks=1), events=False)
STEMS = ("one", "two", "three")
RESTS = ("chapters.json", "en.srt", "mp3", "summary.json", "summary.md")


class Engines(ScriptedEngines):
    """Hears and sums up, and remembers what was begun."""

    def __init__(self):
        hears = ScriptedEngine(lambda window: spoken(window, "The ship is here."))
        super().__init__(hears, ScriptedDetector((Span(0.5, 4.0),)))
        self.begun, self.failure = [], None
        self.meanwhile = lambda: None  # called while a summary is made

    @contextmanager
    def speech(self, options):
        self.begun.append("hear")
        with super().speech(options) as engine:
            yield engine

    @contextmanager
    def text(self, llm):
        self.begun.append("sum up")
        self.meanwhile()
        if self.failure:
            raise self.failure
        yield scripted_engine.ScriptedEngine()


class Shown:
    """A display that remembers what it was told; nothing listens."""

    def __init__(self):
        self.told = []

    def listen(self, request):
        return self

    def show(self, request, outcome):
        self.told += [(request.path.stem, path.suffixes[0]) for path in outcome.outputs]
        self.told += [(request.path.stem, outcome.reason)] * (outcome.state == "failed")

    def stage(self, stage, total_s): ...

    def progress(self, done_s): ...

    def note(self, text): ...


class House(Yard):
    """A watched folder and whoever works on its files; time passes by being asked for."""

    def __init__(self, folder, options=ONCE, after=None):
        speech = SpeechOptions(model="demo", language="en")
        policy = Policy(speech, OutputOptions(), summary=SummaryOptions(llm="scripted"))
        super().__init__(folder, options=options, policy=policy, ending=EndingOptions(after))
        self.clock = count(1000.0, 0.05).__next__
        self.start()
        self.engines, self.shown = Engines(), Shown()

    def bring(self, *stems):
        for stem in stems:
            part = self.folder / f".{stem}.mp3"
            part.write_bytes(clips()[STEMS.index(stem)].path.read_bytes())
            part.rename(self.folder / f"{stem}.mp3")

    def work(self, most=9):
        """How files ended, until so many have."""
        machinery = Machinery(self.store, self.engines, Tools())
        with closing(work_here(self.watcher, machinery, self.shown, Interruption())) as outcomes:
            return tuple(islice(outcomes, most))


def names(outcome):
    return sorted(path.name for path in outcome.outputs)


def test_all_are_heard_before_any_is_summed_up(tmp_path):
    house = House(tmp_path)
    house.bring(*STEMS)
    outcomes = house.work()
    assert house.engines.begun == ["hear"] * 3 + ["sum up"] * 3
    suffixes = [suffix for _, suffix in house.shown.told]
    assert suffixes == [".en"] * 3 + [".summary", ".summary", ".chapters"] * 3
    assert [len(outcome.outputs) for outcome in outcomes] == [4] * 3
    made = [f"{stem}.{rest}" for stem in STEMS for rest in RESTS]
    assert tree(house.folder) == sorted(made)


def test_a_file_ends_once_and_only_with_its_summary(tmp_path):
    house = House(tmp_path, after=After(tmp_path / "done"))
    house.bring("one")
    house.engines.meanwhile = lambda: met.append((tree(house.folder), list(house.teller.told)))
    met = []
    (outcome,) = house.work()
    assert met == [(["one.en.srt", "one.mp3"], [])]  # not told, and not moved
    assert house.told() == [outcome]
    assert outcome.source == tmp_path / "done" / "one.mp3"
    assert tree(tmp_path / "done") == [f"one.{rest}" for rest in RESTS]


def test_what_comes_while_one_is_summed_up_is_heard_at_once(tmp_path):
    house, is_heard = House(tmp_path, ALWAYS), Event()

    def meanwhile():
        if not is_heard.is_set():
            house.bring("two")
            assert is_heard.wait(PATIENCE_S)

    def show(request, outcome):
        if request.path.stem == "two":
            is_heard.set()

    house.engines.meanwhile, house.shown.show = meanwhile, show
    house.bring("one")
    one, two = house.work(most=2)
    assert [one.source.stem, two.source.stem] == ["one", "two"]
    assert (one.summary_failure, two.summary_failure) == (None, None)
    assert house.engines.begun == ["hear", "sum up", "hear", "sum up"]


def test_a_summary_that_fails_leaves_the_subtitles_and_the_source(tmp_path):
    house = House(tmp_path, after=After(tmp_path / "done"))
    house.bring("one", "two")
    house.engines.failure = TextEngineFailed("It is down.")
    outcomes = house.work()
    assert [(one.state, one.summary_failure) for one in outcomes] == [("done", "It is down.")] * 2
    assert tree(house.folder) == ["one.en.srt", "one.mp3", "two.en.srt", "two.mp3"]
    assert len(house.told()) == 2


def test_a_file_that_cannot_be_heard_has_no_summary(tmp_path):
    house = House(tmp_path)
    (house.folder / "one.mp3").write_text("no sound")
    (outcome,) = house.work()
    assert (outcome.state, house.engines.begun) == ("failed", [])
