import os
import time

import pytest

from pipeline.errors import VideoError
from pipeline.guard import GuardedProcess

LIMIT = 2 << 30


def test_the_result_comes_back_and_the_child_is_kept():
    guarded = GuardedProcess("operator:index", memory_bytes=LIMIT)
    assert guarded.call(7, timeout_seconds=30) == 7
    child = guarded._child.pid
    assert guarded.call(8, timeout_seconds=30) == 8
    assert guarded._child.pid == child != os.getpid()
    assert guarded.stop() == 0


def test_a_hang_is_stopped_and_the_next_call_works():
    guarded = GuardedProcess("time:sleep", memory_bytes=LIMIT)
    started = time.monotonic()
    with pytest.raises(VideoError, match="was not done within 1 s") as caught:
        guarded.call(60, timeout_seconds=1)
    assert caught.value.reason == "timeout" and time.monotonic() - started < 30
    assert guarded.call(0, timeout_seconds=30) is None
    guarded.stop()


def test_a_death_is_one_failed_call():
    guarded = GuardedProcess("os:_exit", memory_bytes=LIMIT)
    with pytest.raises(VideoError, match="the decoding process died") as caught:
        guarded.call(3, timeout_seconds=30)
    assert caught.value.reason == "crashed"
    killed = GuardedProcess("signal:raise_signal", memory_bytes=LIMIT)
    with pytest.raises(VideoError, match="SIGKILL"):
        killed.call(9, timeout_seconds=30)


def test_too_much_memory_and_an_unforeseen_error_are_told():
    hungry = GuardedProcess("builtins:bytearray", memory_bytes=512 << 20)
    with pytest.raises(VideoError) as caught:
        hungry.call(4 << 30, timeout_seconds=30)
    assert caught.value.reason == "too_large"
    with pytest.raises(VideoError, match="TypeError"):
        hungry.call(1.5, timeout_seconds=30)
    hungry.stop()
