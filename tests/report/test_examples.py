import numpy as np
import pytest

from limbeck._base.errors import UntrustedFileError
from limbeck.report.examples import read_examples
from limbeck.run.folder import RunFolder

LOGITS = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]))
ARRAYS = {
    "images": np.zeros((2, 3, 4, 4), np.uint8),
    "labels": np.array([0, 1]),
    "names": np.array(["soft", "hard"]),
    "arm": LOGITS,
    "control": LOGITS[::-1],
    "teacher": 4 * LOGITS,
    "temperature": np.array(4.0),
    "alone": np.array([30.6, 7.0]),
    "classes": np.array(["cat", "dog", "eel"]),
}


def write(path, **changes):
    arrays = {**ARRAYS, **changes}
    np.savez(
        path / "examples.npz",
        **{name: value for name, value in arrays.items() if value is not None},
    )
    return RunFolder(path)


def test_each_image_has_the_answers_and_probabilities_of_the_models(tmp_path):
    examples = read_examples(write(tmp_path))
    assert (examples.arm, examples.control) == ("soft", "hard")
    assert examples.teacher == "teacher at T = 4"
    assert "only soft is right on 30.6 test images" in examples.lead
    first, second = examples.cards
    assert (first.label, second.label) == ("cat", "dog")
    assert first.answers == {
        "teacher": "cat (70 %)",
        "arm": "cat (70 %)",
        "control": "eel (60 %)",
    }
    assert [bar.is_label for bar in second.bars] == [False, True, False]
    assert first.bars[0].shares == pytest.approx({"teacher": 70, "arm": 70, "control": 10})
    assert first.png.startswith("data:image/png;base64,")


def test_a_teacher_is_not_required(tmp_path):
    examples = read_examples(write(tmp_path, teacher=None))
    assert examples.teacher == ""
    assert "teacher" not in examples.cards[0].answers


@pytest.mark.parametrize("changes", [{"arm": None}, {"labels": np.array([7, 7])}])
def test_a_damaged_file_is_named(tmp_path, changes):
    with pytest.raises(UntrustedFileError, match=r"examples\.npz is damaged"):
        read_examples(write(tmp_path, **changes))


def test_a_run_without_examples_has_none(tmp_path):
    assert read_examples(RunFolder(tmp_path)) is None
