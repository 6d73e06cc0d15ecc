"""Files side by side: the next ones are made ready while one is heard.

Goes in: requests of any kind, and a function that works on one. Comes out: outcomes as they come.
Does not know: what the work is, nor what is shown of it.

At most one file is on its way to the engine, and none sets out while enough sound waits there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from threading import Condition, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pipeline.protocols import Listener
    from pipeline.types import Outcome, Stage

R = TypeVar("R")  # what is asked for
ENOUGH_S = 20 * 60.0  # of sound that waits to be heard: some tens of windows
MOST = 32  # files at once, so that many short ones can fill an engine's batch
FILE = "file"  # the name of the threads
GRACE_S = 10.0  # for files to be put down in order when the program is to stop
TICK_S = 0.25


def nothing() -> None:
    """Do nothing."""


@dataclass(slots=True, eq=False)
class _Lane(Generic[R]):
    """One file on its way."""

    request: R
    waiting_s: float | None = None  # sound that is not heard yet; None: not converted yet
    outcome: Outcome | BaseException | None = None


class Lanes(Generic[R]):
    """`work` is called in threads of its own, for one request each, with a listener."""

    def __init__(
        self, work: Callable[[R, Listener], Outcome], listen: Callable[[R], Listener]
    ) -> None:
        self._work = work
        self._listen = listen
        self._changed = Condition()
        self._lanes: list[_Lane[R]] = []

    def outcomes(
        self, requests: Iterable[R | None], tick: Callable[[], object] = nothing
    ) -> Iterator[tuple[R, Outcome]]:
        """Each request with its outcome, as they come.

        The next request is asked for when there is room for it; None means that there is none
        right now. `tick` is called several times a second. What `work` raises is raised here.
        Before anything is raised, all files are given some time to be put down.
        """
        source = iter(requests)
        is_over = False
        try:
            while not is_over or self._lanes:
                tick()
                is_idle = False
                while not (is_over or is_idle) and self._has_room():
                    try:
                        request = next(source)
                    except StopIteration:
                        is_over = True
                        break
                    is_idle = request is None
                    if request is not None:
                        self._start(request)
                yield from self._ended(is_over=is_over, is_idle=is_idle)
        finally:
            with self._changed:
                self._changed.wait_for(lambda: all(one.outcome for one in self._lanes), GRACE_S)

    def _start(self, request: R) -> None:
        lane = _Lane(request)
        self._lanes.append(lane)
        Thread(target=self._go, args=(lane,), name=FILE, daemon=True).start()

    def _go(self, lane: _Lane[R]) -> None:
        try:
            listener = Meter(self._listen(lane.request), partial(self._note, lane))
            outcome: Outcome | BaseException = self._work(lane.request, listener)
        except BaseException as error:  # noqa: BLE001  - whoever asked raises it
            outcome = error
        with self._changed:
            lane.outcome = outcome
            self._changed.notify_all()

    def _note(self, lane: _Lane[R], waiting_s: float) -> None:
        with self._changed:
            lane.waiting_s = waiting_s
            self._changed.notify_all()

    def _has_room(self) -> bool:
        waiting = [lane.waiting_s for lane in self._lanes if lane.outcome is None]
        on_their_way = waiting.count(None)
        enough = sum(seconds or 0.0 for seconds in waiting) >= ENOUGH_S
        return not on_their_way and not enough and len(waiting) < MOST

    def _ended(self, *, is_over: bool, is_idle: bool) -> Iterator[tuple[R, Outcome]]:
        """Those that have an outcome; waits until there are any, or another may be asked for."""

        def may_go_on() -> bool:
            if any(lane.outcome for lane in self._lanes):
                return True
            return not self._lanes if is_over else self._has_room() and not is_idle

        with self._changed:
            self._changed.wait_for(may_go_on, TICK_S)
            ended = [lane for lane in self._lanes if lane.outcome]
            self._lanes = [lane for lane in self._lanes if not lane.outcome]
        for lane in ended:
            if isinstance(lane.outcome, BaseException):
                raise lane.outcome
            if lane.outcome:
                yield lane.request, lane.outcome


class Meter:
    """A listener that notes how many seconds of sound wait, and passes everything on."""

    def __init__(self, listener: Listener, note: Callable[[float], None]) -> None:
        self._listener = listener
        self._note = note
        self._total_s: float | None = None

    def stage(self, stage: Stage, total_s: float | None) -> None:
        """The file is with the engine from the stage "transcribe" on; a summary is no file."""
        self._listener.stage(stage, total_s)
        self._total_s = total_s if stage == "transcribe" else None
        if stage in ("transcribe", "write", "summarise"):
            self._note(self._total_s or 0.0)

    def progress(self, done_s: float) -> None:
        """Less waits."""
        self._listener.progress(done_s)
        if self._total_s is not None:
            self._note(max(0.0, self._total_s - done_s))

    def note(self, text: str) -> None:
        """Passed on."""
        self._listener.note(text)
