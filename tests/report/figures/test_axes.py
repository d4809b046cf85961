from limbeck.report.figures.axes import spaced_ticks


def test_tick_labels_have_room_on_a_log_axis():
    assert spaced_ticks([1, 1.01, 2, 100]) == [1, 2, 100]
    assert spaced_ticks([1, 2, 4, 8]) == [1, 2, 4, 8]
    assert spaced_ticks([3]) == [3]
