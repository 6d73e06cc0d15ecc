"""Lending, with real threads that meet at barriers."""

from __future__ import annotations

from threading import Barrier, Event, Thread

import pytest

from models.loans import Loans

PATIENCE_S = 20.0


class Thing:
    def __init__(self, kind):
        self.kind = kind


class Shop:
    def __init__(self):
        self.loans = Loans()
        self.made = []

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
