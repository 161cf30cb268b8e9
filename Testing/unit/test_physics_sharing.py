"""Work shared among threads: all of it, once, and only where that pays."""

from __future__ import annotations

import multiprocessing
import threading
import time

import pytest

from ctrestorelib.physics.sharing import share


@pytest.mark.parametrize("items", [0, 1, 2, 7, 8, 9, 100])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("seconds", [0.0, 2e-3], ids=["quick", "slow"])
def test_every_item_is_done_once(items, threads, seconds):
    done = []

    def work(first, last):
        if seconds:
            time.sleep(seconds)
        done.extend(range(first, last))

    share(work, items, threads)
    assert sorted(done) == list(range(items))


def test_slow_work_is_shared_and_quick_work_stays():
    names = set()

    def work(first, last, seconds):
        names.add(threading.current_thread().name)
        if seconds:
            time.sleep(seconds * (last - first))

    share(lambda a, b: work(a, b, 0.01), 9, 2)
    assert len(names) == 3  # the caller's, which does the first item, and two of the pool
    here = {threading.current_thread().name}
    for _ in range(50):  # a busy machine may hold up quick work
        names.clear()
        share(lambda a, b: work(a, b, 0.0), 9, 2)
        if names == here:
            break
    assert names == here


def test_a_failure_is_told_once_nothing_runs_any_more():
    running, ended = [], []

    def work(first, last):
        if first == 0:
            time.sleep(2e-3)
            return
        running.append(first)
        if first == 1:
            raise ValueError("broken")
        time.sleep(0.02)
        ended.append(first)

    with pytest.raises(ValueError, match="broken"):
        share(work, 9, 2)
    assert len(ended) == len(running) - 1


def _in_child(answers):
    done = []
    share(lambda a, b: (time.sleep(2e-3), done.extend(range(a, b))), 9, 2)
    answers.put(sorted(done))


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork"
)
def test_a_forked_child_has_threads_of_its_own():
    share(lambda _a, _b: time.sleep(2e-3), 9, 2)
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    child = fork.Process(target=_in_child, args=(answers,))
    child.start()
    assert answers.get(timeout=60) == list(range(9))
    child.join(60)
    assert child.exitcode == 0
