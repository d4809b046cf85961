from limbeck.report.figures.axes import log_ticks, spaced_ticks


def test_tick_labels_have_room_on_a_log_axis():
    assert spaced_ticks([1, 1.01, 2, 100]) == [1, 2, 100]
    assert spaced_ticks([1, 2, 4, 8]) == [1, 2, 4, 8]
    assert spaced_ticks([3]) == [3]


def test_ticks_of_a_log_axis_are_few_and_round():
    assert log_ticks(5_000, 90_000) == [5_000, 10_000, 20_000, 50_000]
    assert log_ticks(0.006, 0.2) == [0.01, 0.02, 0.05, 0.1, 0.2]
    assert log_ticks(1, 5_000) == [1, 10, 100, 1000]
    assert log_ticks(1e-3, 1e9) == [1e-3, 1, 1e3, 1e6, 1e9]
    assert log_ticks(110, 130) == [110, 115, 120, 125, 130]
