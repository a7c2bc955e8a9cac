"""What the live view counts: speed, time left, memory, and the curve as characters."""

import pytest

from toolkit.cli.pace import Pace, clock, sparkline
from toolkit.training.progress import Event


def step(number, loss, seconds=2.0, tokens=100.0, **more):
    return Event("train", "training", number, 10, {"loss": loss, "seconds": seconds, "tokens": tokens, **more})


def test_speed_and_time_left_leave_the_first_step_out():
    pace = Pace()
    pace.add(step(1, 3.0, seconds=60.0))
    assert pace.seconds_left(1, 10) == 540
    pace.add(step(2, 2.0))
    pace.add(step(3, 1.0, seconds=4.0))
    assert pace.seconds_left(3, 10) == 21
    assert pace.tokens_per_second == pytest.approx(200 / 6)


def test_memory_leaves_out_what_was_held_before():
    pace = Pace()
    pace.add(Event("train", "training", values={"planned_memory_bytes": 500, "baseline_memory_bytes": 300}))
    assert pace.memory_bytes is None
    pace.add(step(1, 3.0, memory_bytes=700))
    assert (pace.memory_bytes, pace.planned_bytes) == (400, 500)


def test_nothing_is_said_of_speed_where_nobody_counts_tokens():
    pace = Pace()
    pace.add(Event("train", "training", 1, 10, {"loss": 1.0, "seconds": 2.0}))
    assert pace.tokens_per_second is None


def test_a_curve_is_drawn_in_the_width_there_is():
    assert sparkline([4.0, 3.0, 2.0, 1.0], 10) == "█▆▃▁"
    assert len(sparkline([float(value) for value in range(1000)], 30)) == 30
    assert sparkline([1.0, 1.0], 5) == "▁▁"
    assert sparkline([], 5) == ""


def test_a_time_is_written_as_a_clock_shows_it():
    assert [clock(seconds) for seconds in (0, 42, 725, 11241)] == ["0:00", "0:42", "12:05", "3:07:21"]
