"""Lending, with real threads that meet at barriers."""

from __future__ import annotations

import threading
from threading import Barrier, Event, Thread

import pytest

from models.loans import Loans, nothing

PATIENCE_S = 20.0


class Thing:
    def __init__(self, kind):
        self.kind = kind


class Shop:
    def __init__(self, heed=nothing):
        self.loans = Loans(heed, lambda thing: self.ended.append(thing.kind))
        self.made, self.ended = [], []

    def lend(self, kind):
        def make():
            self.made.append(kind)
            return Thing(kind)

        return self.loans.lend(lambda thing: thing.kind == kind, make)


def run(*works):
    threads = [Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_many_have_the_same_thing_at_once():
    shop, together = Shop(), Barrier(3)

    def borrow():
        with shop.lend("a"):
            together.wait(PATIENCE_S)  # all three are here at the same time

    run(borrow, borrow, borrow)
    assert shop.made == ["a"]


def test_another_thing_is_made_when_nobody_has_the_old_one_any_more():
    shop, lent, asked = Shop(), Event(), Event()
    seen = []

    def first():
        with shop.lend("a"):
            lent.set()
            asked.wait(PATIENCE_S)
            seen.append(tuple(shop.made))

    def second():
        lent.wait(PATIENCE_S)
        asked.set()
        with shop.lend("b") as thing:
            seen.append(thing.kind)

    run(first, second)
    assert seen == [("a",), "b"]
    assert shop.made == ["a", "b"]


def test_who_comes_later_does_not_overtake_who_waits_for_another_thing():
    shop, order = Shop(), []
    holding, let_go = Event(), Event()

    def holder():
        with shop.lend("a"):
            holding.set()
            let_go.wait(PATIENCE_S)

    def waiter():
        holding.wait(PATIENCE_S)
        with shop.lend("b"):
            order.append("b")

    def late():
        while not shop.loans._turn.locked():  # until the other one waits
            pass
        let_go_soon = Thread(target=let_go.set)
        let_go_soon.start()
        with shop.lend("a"):
            order.append("a")

    run(holder, waiter, late)
    assert order == ["b", "a"]


def test_what_could_not_be_made_is_asked_for_again():
    loans = Loans()

    def broken():
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        loans.lend(lambda _: True, broken).__enter__()
    with loans.lend(lambda _: True, lambda: "whole") as thing:
        assert thing == "whole"


def test_what_was_dropped_is_not_lent_again():
    shop = Shop()
    with shop.lend("a") as thing:
        shop.loans.drop(thing)
    with shop.lend("a") as other:
        assert other is not thing
        shop.loans.drop(thing)  # somebody else's news, too late
    assert shop.loans.thing is other


# ── what nobody has any more is ended ────────────────────────────────────────────────────────


def test_a_thing_is_ended_once_before_the_next_is_made():
    shop = Shop()
    with shop.lend("a"), shop.lend("a"):
        pass
    assert shop.ended == []  # it is kept

    def make():
        assert shop.ended == ["a"]
        return Thing("b")

    with shop.loans.lend(lambda thing: thing.kind == "b", make):
        pass
    assert shop.ended == ["a"]


def test_what_is_let_go_is_ended_unless_somebody_has_it():
    shop = Shop()
    with shop.lend("a"):
        shop.loans.let_go()
        assert shop.ended == []
    shop.loans.let_go()
    shop.loans.let_go()
    assert (shop.ended, shop.loans.thing) == (["a"], None)


def test_what_was_dropped_is_ended_when_the_last_gives_it_back():
    shop = Shop()
    with shop.lend("a") as thing:
        with shop.lend("a"):
            shop.loans.drop(thing)
        assert shop.ended == []
    assert shop.ended == ["a"]
    with shop.lend("b") as thing:
        pass
    shop.loans.drop(thing)  # nobody has it
    assert shop.ended == ["a", "b"]


class Stopped(Exception):
    pass


@pytest.mark.parametrize("who", ["first", "second"])
def test_whoever_waits_can_stop(who):
    """The first waits for the thing to be given back, the second for its turn."""
    waiting, stopped, order = Event(), Event(), []

    def heed():
        if threading.current_thread().name == who and waiting.is_set():
            raise Stopped

    shop = Shop(heed)

    def wait():
        try:
            with shop.lend("b"):
                order.append(threading.current_thread().name)
        except Stopped:
            stopped.set()

    with shop.lend("a"):
        first = Thread(target=wait, name="first")
        first.start()
        while not shop.loans._turn.locked():
            pass
        second = Thread(target=wait, name="second")
        second.start()
        waiting.set()
        assert stopped.wait(PATIENCE_S)
        assert order == []
    for thread in (first, second):
        thread.join(PATIENCE_S)
    assert order == [{"first": "second", "second": "first"}[who]]
