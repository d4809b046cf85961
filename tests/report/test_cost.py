from dataclasses import replace

from support.costs import COST

from limbeck.report.cost import heading, note, rows


def test_the_table_has_columns_for_each_number_of_cores():
    assert heading(COST)[6:] == [
        "Latency, 1 core",
        "Per second, 1 core",
        "Latency, 2 cores",
        "Per second, 2 cores",
    ]
    assert rows(COST) == [
        [
            *("teacher", "PyTorch", "7", "71 kB", "454 k", "606 MB"),
            *("0.16 ms\n0.14 to 0.19", "46,729", "1.7 ms\n1.5 to 2", "46,729"),
        ],
        [
            *("soft", "ONNX int8", "22", "71 kB", "454 k", "606 MB"),
            *("0.0086 ms\n0.0077 to 0.01", "46,729", "–", "–"),
        ],
    ]


def test_the_note_says_how_it_was_measured():
    text = note(COST)
    for words in ("at least 419 runs", "batches of 64", "on Some CPU with torch 2.14.1"):
        assert words in text


def test_a_regression_has_squared_errors():
    teacher, student = COST.rows
    cost = replace(COST, rows=(replace(teacher, errors=None, squared_error=0.4821), student))
    cost = replace(cost, rows=(cost.rows[0], replace(student, errors=None, squared_error=0.5)))
    assert heading(cost)[2] == "Squared error"
    assert [row[2] for row in rows(cost)] == ["0.4821", "0.5000"]
    assert note(cost).endswith("the smallest squared error on validation.")
