"""The process that decodes: it can hang, die and lie, and costs one call."""

import json
import os

import pytest

from tdn_data.pipeline.errors import VideoError
from tdn_data.pipeline.extraction.sandbox import Sandbox, checked_problem, plain_problem

LIMIT = 2 << 30


def sandboxed(name, *, memory_bytes=LIMIT, **options):
    return Sandbox(f"tests.pipeline.extraction.sandboxed_functions:{name}", memory_bytes=memory_bytes, **options)


def failure(name, argument, *, timeout_seconds=30, read=bytes, **options):
    sandbox = sandboxed(name, **options)
    with pytest.raises(VideoError) as caught:
        sandbox.call(argument, timeout_seconds=timeout_seconds, read=read)
    sandbox.stop()
    return caught.value


def test_the_result_comes_back_and_the_child_is_kept():
    sandbox = sandboxed("double")
    assert sandbox.call(7, timeout_seconds=30, read=bytes) == b"77"
    child = sandbox._child.pid
    assert sandbox.call(8, timeout_seconds=30, read=bytes) == b"88"
    assert sandbox._child.pid == child != os.getpid()
    assert sandbox.stop() == 0


def test_a_hang_is_stopped_and_the_next_call_works():
    sandbox = sandboxed("sleep")
    with pytest.raises(VideoError, match="was not done within 1 s") as caught:
        sandbox.call(60, timeout_seconds=1, read=bytes)
    assert caught.value.reason == "timeout"
    assert sandbox.call(0, timeout_seconds=30, read=bytes) == b""
    sandbox.stop()


def test_a_death_is_one_failed_call():
    error = failure("exit_with", 3)
    assert (error.reason, error.message) == ("crashed", "the decoding process died (exit status 3).")
    assert "SIGKILL" in failure("die_by", 9).message


def test_a_death_between_two_calls_costs_no_call():
    sandbox = sandboxed("double")
    assert sandbox.call(7, timeout_seconds=30, read=bytes) == b"77"
    sandbox._child.kill()
    sandbox._child.wait()
    assert sandbox.call(8, timeout_seconds=30, read=bytes) == b"88"
    sandbox.stop()


def test_too_much_memory_and_an_unforeseen_error_are_said():
    assert failure("allocate", 4 << 30, memory_bytes=512 << 20).reason == "too_large"
    error = failure("allocate", 1.5)
    assert error.reason == "crashed" and "TypeError" in error.message


def test_import_and_compilation_do_not_count_as_the_videos_time():
    prepare = "tests.pipeline.extraction.sandboxed_functions:compile_slowly"
    sandbox = sandboxed("double", prepare=prepare)
    assert sandbox.call(7, timeout_seconds=1, read=bytes) == b"77"
    sandbox.stop()


def test_a_fault_while_preparing_is_said():
    error = failure("double", 1.5, prepare="tests.pipeline.extraction.sandboxed_functions:allocate")
    assert error.reason == "crashed" and "TypeError" in error.message


@pytest.mark.parametrize("name", ["malicious_pickle", "pickled_answer"])
def test_code_that_a_taken_over_decoder_sends_does_not_run(tmp_path, name):
    touched = tmp_path / "touched"
    error = failure(name, str(touched), read=lambda content: json.loads(bytes(content)))
    assert error.reason == "crashed"
    assert not touched.exists()


WHOLE_FAULT = json.dumps(["corrupt", "no picture decodes"]).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage that is long enough to have a head and more",
        b"R" + (100).to_bytes(8, "big") + b"half",
        b"R" + (1 << 60).to_bytes(8, "big"),
        b"F" + (1 << 20).to_bytes(8, "big"),
        b"F" + (4).to_bytes(8, "big") + b"\xff\xfe{}",
        b"F" + (2).to_bytes(8, "big") + b"[]",
        b"P" + (0).to_bytes(8, "big"),
        b"X" + len(WHOLE_FAULT).to_bytes(8, "big") + WHOLE_FAULT,
    ],
    ids=["nothing", "garbage", "half", "huge", "long fault", "no text", "no fault", "ready twice", "other kind"],
)
def test_an_answer_that_is_none_is_a_crash(content):
    assert failure("raw_answer", content).reason == "crashed"


def test_half_an_answer_and_then_nothing_ends_with_the_time_limit():
    error = failure("raw_answer_and_wait", b"R" + (100).to_bytes(8, "big") + b"half", timeout_seconds=1)
    assert error.reason == "timeout"


def test_a_fault_that_is_said_comes_back_as_it_was():
    error = failure("raw_answer", b"F" + len(WHOLE_FAULT).to_bytes(8, "big") + WHOLE_FAULT)
    assert (error.reason, error.message) == ("corrupt", "no picture decodes")


@pytest.mark.parametrize(
    "problem",
    [
        ["corrupt"],
        ["exploded", "x"],
        [["corrupt"], "x"],
        ["corrupt", 7],
        ["corrupt", "x" * 2000],
        ["corrupt", "a\nb"],
        ["corrupt", "\x1b[2J"],
        {"reason": "corrupt"},
    ],
)
def test_faults_of_other_forms_are_refused(problem):
    with pytest.raises(ValueError):
        checked_problem(problem)


def test_what_is_said_is_short_printable_and_without_the_path():
    path = "/data/a\nb.mp4"
    error = VideoError("corrupt", f"{path} cannot be decoded ({'x' * 5000})\n", path=path)
    reason, message = plain_problem(error)
    assert reason == "corrupt" and message.startswith("the file cannot be decoded (xxx") and len(message) == 1000
    assert checked_problem([reason, message]).message == message


def test_an_answer_that_its_reader_refuses_ends_the_process():
    sandbox = sandboxed("double")

    def refuse(content):
        raise ValueError("nothing of the kind")

    with pytest.raises(VideoError, match="wrong answer .nothing of the kind.") as caught:
        sandbox.call(7, timeout_seconds=30, read=refuse)
    assert caught.value.reason == "crashed" and sandbox._child is None
    assert sandbox.call(7, timeout_seconds=30, read=bytes) == b"77"
    sandbox.stop()
