"""The loop of watched folders: look, settle, decide, hand out.

Goes in: folders, a clock, outcomes. Comes out: files that are to be worked on, or None while there
is nothing to do. Does not know: who works on them, in this process or in a queue.

Looks are the truth. A full look goes through all folders; between two of them, glances at the files
that are not complete yet. What was decided is remembered as 16 bytes a file, and decided anew when
anything of it changes. So whatever is missed or lost is found by the next look.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from pipeline.types import Outcome
from workers.batch import MEDIA_SUFFIXES
from workers.watch.places import Place, mark, place_of
from workers.watch.records import Picture, Task
from workers.watch.rhythm import Rhythm
from workers.watch.scan import RootMissing, look_again, scan, troubles
from workers.watch.settling import Settling
from workers.watch.sidecars import Subtitles
from workers.watch.trying import Trying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workers.watch.deciding import Decider, Decision
    from workers.watch.ending import Endings
    from workers.watch.events import Events
    from workers.watch.folder_settings import SettingsFiles
    from workers.watch.records import Listing, Look
    from workers.watch.rhythm import WatchOptions
    from workers.watch.roots import Root
    from workers.watch.screen import Screen


class Watcher:
    """What is to be worked on, as it comes. Everything here is called in one thread."""

    def __init__(
        self,
        roots: tuple[Root, ...],
        options: WatchOptions,
        decider: Decider,
        settings: SettingsFiles,
        endings: Endings,
        events: Events,
        screen: Screen,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._roots = roots
        self._options = options
        self._decider = decider
        self._settings = settings
        self._endings = endings
        self._events = events
        self._screen = screen
        self._now_s = now_s
        self._suffixes = MEDIA_SUFFIXES.union(*(root.ignoring.suffixes for root in roots))
        self._settling = Settling(options.settle)
        self._ready: deque[Task] = deque()
        self._in_work: dict[Path, Look] = {}  # those that are ready as well
        self._trying = Trying(now_s, retry_failed=options.retry_failed)
        self._marks: dict[bytes, bool] = {}  # nothing to be done; whether to look into that again
        self._said: set[str] = set()  # complaints of the last look
        self._has_looked = False
        self._has_left_out = False  # the last look found more than may be waited for
        self._rhythm = Rhythm(options, now_s)

    def tasks(self) -> Iterator[Task | None]:
        """The next file, or None: ask again a little later. Ends only with `once`."""
        while not self._is_over():
            self.tick()
            yield self._next()

    def tick(self) -> None:
        """Look, if it is time to."""
        if self._events.wait(0):
            self._rhythm.stir()
        if self._rhythm.is_look_due(has_room_for_more=self._has_room_for_more()):
            self._look()
        elif self._rhythm.is_glance_due():
            self._glance()
        else:
            return
        self._screen.see(self.picture())

    def ended(self, task: Task, outcome: Outcome) -> Outcome:
        """A file was worked on, and this came of it; gives it with its files where they are now."""
        self._in_work.pop(task.look.path, None)
        if outcome.state != "failed" and not outcome.summary_failure:
            self._trying.good(task, outcome)
            return self._endings.good(task, outcome)
        if self._trying.bad(task, outcome):
            self._endings.bad(task, outcome)
        return outcome

    def put_back(self, task: Task) -> None:
        """Nobody works on it any more, and nothing came of it: it is met anew."""
        self._in_work.pop(task.look.path, None)
        if look := look_again(task.look):
            self._settling.see(look, self._now_s())

    def picture(self) -> Picture:
        """How things stand."""
        return Picture((*self._settling.waiting(), *self._trying.waiting()), len(self._in_work))

    def _is_over(self) -> bool:
        if not self._options.once or self._has_left_out or self._in_work or not self._has_looked:
            return False
        all_incomplete = len(self._settling.waiting()) == len(self._settling)
        return all_incomplete and self._rhythm.has_waited_long(self._settling.newest_s)

    def _has_room_for_more(self) -> bool:
        return (
            self._has_left_out and len(self._settling) + len(self._ready) < self._options.most / 2
        )

    # ── look ─────────────────────────────────────────────────────────────────────────────────

    def _look(self) -> None:
        """Go through all folders."""
        with self._rhythm.look() as is_recheck:
            self._has_looked, self._has_left_out = True, False
            known, self._marks = self._marks, {}
            if is_recheck:
                known = {seen: again for seen, again in known.items() if not again}
                self._trying.tidy()
            folders: list[Path] = []
            complaints: set[str] = set()
            listed: set[Path] = set()
            for root in self._roots:
                try:
                    for listing in scan(root.path, root.ignoring):
                        folders.append(listing.folder)
                        listed |= self._see(listing, known, complaints)
                except RootMissing as error:
                    complaints.add(str(error))
                    self._screen.codes.add(error.exit_code)
            if folders and self._events.why_not:
                complaints.add(f"Some changes are only seen by looking: {self._events.why_not}.")
            self._complain(complaints)
            self._trying.keep(listed)
            self._settling.keep(listed)  # one may be ignored by now
            if self._options.events and not self._options.once:
                self._events.watch(folders)

    def _complain(self, complaints: set[str]) -> None:
        """Each is told once, for as long as it holds."""
        for complaint in sorted(complaints - self._said):
            self._screen.warn(complaint)
        self._said = complaints

    def _see(self, listing: Listing, known: dict[bytes, bool], complaints: set[str]) -> set[Path]:
        """Meet the files of one folder that are not known; gives those that are waited for."""
        found = self._settings.of(listing.folder, listing.root)
        complaints.update(complaint.sentence for complaint in found.complaints)
        complaints.update(troubles(listing))
        if found.settings.enabled is False:
            return set()
        place = Place(found.settings, Subtitles(listing.names, self._suffixes))
        for look in listing.media:
            seen = mark(look, place)
            if seen in known:
                self._marks[seen] = known[seen]
            else:
                self._meet(look, place)
        paths = (look.path for look in listing.media)
        return {path for path in paths if path in self._settling or path in self._trying}

    def _glance(self) -> None:
        """See again the files that are not complete."""
        places: dict[Path, Place] = {}
        with self._rhythm.glance():
            for before in self._settling.looks:
                look = look_again(before)
                if look is None:
                    self._settling.forget(before.path)
                    continue
                if self._settling.see(look, self._now_s()) or look.path in self._in_work:
                    continue
                if self._rhythm.has_taken_long():
                    break  # probing takes its time; the others get their turn
                folder = look.path.parent
                if folder not in places:
                    places[folder] = place_of(look, self._settings, self._suffixes)
                self._settle(look, places[folder])

    # ── settle ───────────────────────────────────────────────────────────────────────────────

    def _meet(self, look: Look, place: Place) -> None:
        """A file about which nothing was decided yet, or that changed since."""
        path = look.path
        if self._in_work.get(path) == look or self._trying.rests(look):
            return
        if path not in self._settling and len(self._settling) >= self._options.most:
            self._has_left_out = True
            return
        # one that changed while it is in work is taken again afterwards
        if self._settling.see(look, self._now_s()) or path in self._in_work:
            return
        if not self._rhythm.has_taken_long():
            self._settle(look, place)

    def _settle(self, look: Look, place: Place) -> None:
        """A file is complete: see what is to be done."""
        self._settling.forget(look.path)
        if place.settings.enabled is False:  # since it was met
            return
        decision = self._decider.decide(look, place.subtitles, place.settings)
        task = Task(look, decision.job, decision.priority)
        if decision.problem:
            self._fail(task, decision)
        elif self._trying.is_wanted(task, decision):
            self._in_work[look.path] = look
            self._ready.append(task)
            return
        elif decision.kind == "done":
            self._endings.found_done(task, decision.outputs)
        elif decision.kind == "leave":
            self._screen.leave(look.path, decision.reason)
        elif decision.failure and not (look.path in self._trying or self._trying.gave_up(task)):
            self._screen.leave(look.path, f"it failed before: {decision.reason}")
        if look.path not in self._trying:
            # outputs elsewhere may go
            self._marks[mark(look, place)] = decision.kind in ("done", "work")

    def _fail(self, task: Task, decision: Decision) -> None:
        """It cannot even be tried."""
        outcome = _outcome(task, decision)
        if self._trying.bad(task, outcome):
            self._screen.warn(decision.reason)
            self._screen.ended(outcome)
            self._endings.bad(task, outcome)

    # ── hand out ─────────────────────────────────────────────────────────────────────────────

    def _next(self) -> Task | None:
        """The first that is ready and still as it was; the others are met again."""
        while self._ready:
            task = self._ready.popleft()
            if look_again(task.look) == task.look:
                return task
            self.put_back(task)
        return None


def _outcome(task: Task, decision: Decision) -> Outcome:
    problem = decision.problem
    return Outcome(
        task.look.path,
        "failed",
        reason=decision.reason,
        error=type(problem).__name__,
        exit_code=problem.exit_code if problem else 0,
    )
