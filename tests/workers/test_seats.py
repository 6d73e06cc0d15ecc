"""Who may sit beside whom, with real threads that wait to be told."""

from __future__ import annotations

from threading import Event, Thread, Timer

import pytest

from workers.seats import ENOUGH_S, Seats

PATIENCE_S = 20.0


class Ear:
    def stage(self, stage, total_s): ...

    def progress(self, done_s): ...

    def note(self, text): ...


class Guest:
    """Work that does one thing after another when it is told."""

    def __init__(self, seats, *, is_alone=False):
        self.began, self.go, self.left = Event(), Event(), Event()
        self.seats = seats
        self.sound_s = None
        seats.seat(self, is_alone=is_alone)

    def __call__(self, seat):
        self.seats.wait_for_turn(seat, lambda: None)
        self.listener = self.seats.metered(seat, Ear())
        self.began.set()
        assert self.go.wait(PATIENCE_S)

    def hears(self, sound_s):
        assert self.began.wait(PATIENCE_S)
        self.listener.stage("transcribe", sound_s)

    def leaves(self):
        before = self.seats.wait_for_leave(0.0)
        self.go.set()
        assert before


def has_room(seats):
    """Whether there is room before somebody leaves."""
    found = Event()

    def look():
        seats.wait_for_room()
        found.set()

    Thread(target=look, daemon=True).start()
    return found.wait(0.2)


@pytest.fixture
def seats():
    return Seats(3)


def test_nobody_else_comes_while_one_is_on_its_way_to_the_engine(seats):
    guest = Guest(seats)
    assert not has_room(seats)
    guest.hears(8.0)
    assert has_room(seats)
    guest.leaves()


def test_short_ones_sit_side_by_side_until_all_seats_are_taken(seats):
    guests = []
    for _ in range(3):
        assert has_room(seats)
        guests.append(Guest(seats))
        guests[-1].hears(8.0)
    assert not has_room(seats)
    guests[1].leaves()
    assert has_room(seats)
    for guest in guests:
        guest.go.set()


def test_a_long_one_has_company_only_when_it_comes_to_its_end(seats):
    guest = Guest(seats)
    guest.hears(ENOUGH_S + 100)
    assert not has_room(seats)
    guest.listener.progress(90.0)
    assert not has_room(seats)
    guest.listener.progress(110.0)
    assert has_room(seats)
    guest.leaves()


def test_one_that_is_to_be_alone_waits_for_the_others_and_has_no_company(seats):
    first = Guest(seats)
    first.hears(8.0)
    alone = Guest(seats, is_alone=True)
    assert not alone.began.wait(0.2)
    first.leaves()
    alone.hears(8.0)
    assert not has_room(seats)
    alone.leaves()
    assert has_room(seats)


def test_one_that_waits_for_its_turn_may_be_stopped(seats):
    first, stopped = Guest(seats), Event()

    def heed():
        raise KeyboardInterrupt

    def work(seat):
        try:
            seats.wait_for_turn(seat, heed)
        except KeyboardInterrupt:
            stopped.set()

    seats.seat(work, is_alone=True)
    assert stopped.wait(PATIENCE_S)
    first.leaves()


def test_nobody_there_is_told_at_once(seats):
    assert not seats.wait_for_leave(PATIENCE_S)


def test_what_work_raises_is_raised_when_all_have_left(seats):
    def fails(_):
        raise SystemExit(3)

    first = Guest(seats)
    first.hears(8.0)
    seats.seat(fails, is_alone=False)
    Timer(0.1, first.go.set).start()
    with pytest.raises(SystemExit):
        seats.wait_for_room()
    assert not seats.wait_for_leave(0.0)
