"""What several test files share: memory that is checked, threads and modes put back after each test."""

from __future__ import annotations

import gc
import os
import signal

import pytest

os.environ.setdefault("FLAMBEAU_CHECK_MEMORY", "1")  # before flambeau's library is loaded, and for child processes
import flambeau as fb

# A shell starts what runs in the background with Ctrl-C ignored, and so would be the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def same_modes_after_each_test():
    """A test that leaves recording, threads or the default dtype changed would change the tests after it."""
    before = fb.is_grad_enabled(), fb.get_default_dtype(), fb.get_num_threads()
    yield
    after = fb.is_grad_enabled(), fb.get_default_dtype(), fb.get_num_threads()
    fb.set_grad_enabled(before[0])
    fb.set_default_dtype(before[1])
    fb.set_num_threads(before[2])
    assert after == before


@pytest.fixture
def threads():
    """set_num_threads for one test."""
    before = fb.get_num_threads()
    yield fb.set_num_threads
    fb.set_num_threads(before)


@pytest.fixture
def no_gc():
    """Without the garbage collector: cycles stay, and its passes over a million live nodes don't slow a test down."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
