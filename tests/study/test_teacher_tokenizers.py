"""Teachers of texts belong to the tokenizer with which they were trained."""

import pytest
from support.reviews import make_reviews, write_csv

from limbeck._base.errors import TeacherError
from limbeck.data import text_csv
from limbeck.data.model_facts import model_facts
from limbeck.study.arms import Teacher, build
from limbeck.study.teacher_files import load_teachers
from limbeck.teacher.files import save_teacher


@pytest.fixture
def load(tmp_path):
    pytest.importorskip("tokenizers")
    table = write_csv(tmp_path / "reviews.csv", make_reviews(60))
    return lambda **options: text_csv(table, length=128, cache=tmp_path / "cache", **options)


def save(data, folder):
    from limbeck.models import BagOfEmbeddings

    model = build(BagOfEmbeddings, data, 0)
    save_teacher(model, folder, **model_facts(data))
    return Teacher(source=[folder])


def test_a_teacher_with_another_tokenizer_is_refused(load, tmp_path):
    data = load(vocabulary=400)
    teacher = save(data, tmp_path / "teacher")
    assert len(load_teachers(teacher, data)) == 1
    same = load(tokenizer=tmp_path / "teacher" / "tokenizer.json", split_seed=1)
    assert len(load_teachers(teacher, same)) == 1
    for other in (load(vocabulary=400, split_seed=1), load(tokenizer="bytes")):
        with pytest.raises(TeacherError, match=r"data\.tokenizer=.*teacher/tokenizer\.json"):
            load_teachers(teacher, other)


def test_a_teacher_of_bytes_has_no_tokenizer_of_its_own(load, tmp_path):
    data = load(tokenizer="bytes")
    teacher = save(data, tmp_path / "teacher")
    assert len(load_teachers(teacher, data)) == 1
    with pytest.raises(TeacherError, match="trained with another tokenizer"):
        load_teachers(teacher, load(vocabulary=400))
