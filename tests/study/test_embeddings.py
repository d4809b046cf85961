"""Studies of embeddings from the data to the verdict, with a tiny sentence encoder as teacher."""

from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.sentence_encoders import write_encoder, write_texts
from support.studies import make_study

from limbeck import Answers, Arm, Objective, Optimizer
from limbeck._base.errors import ConfigError, TeacherError
from limbeck.data import sentences
from limbeck.evaluation.vectors import missed_neighbours, nearest_texts
from limbeck.losses.vectors import unit
from limbeck.models import BagOfEmbeddings, load_model
from limbeck.run.folder import RunFolder
from limbeck.run.summary import read_summary
from limbeck.study.answer_export import write_answers
from limbeck.teacher.signal import LiveTeacher

HARD = Objective(hard_weight=1.0, soft_weight=0.0)
SOFT = Objective(hard_weight=0.0, soft_weight=1.0)
BAG = partial(BagOfEmbeddings, width=8, init="token_vectors")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("teacher") / "encoder")


@pytest.fixture(scope="module")
def data(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    file = write_texts(folder / "texts.csv")
    settings = {"tokenizer": encoder, "length": 24, "cache": folder / "cache"}
    return sentences(file, label="label", **settings)


def study(data, out, teacher, arms=None, **options):
    arms = arms or {
        "hard": Arm(objective=HARD),
        "soft": Arm(objective=SOFT, control=["hard", "pca"]),
        "pca": Arm(objective=HARD, epochs=0),
    }
    settings = {"student": BAG, "teacher": teacher, "seeds": 2, "epochs": 4, "batch_size": 16}
    settings |= {"optimizer": Optimizer(lr=0.01), "store": {"folder": out.parent / "store"}}
    return make_study(data, arms, out, **{**settings, **options})


@pytest.fixture(scope="module")
def run(data, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings") / "run"
    study(data, folder, encoder).run()
    return RunFolder(folder)


@torch.no_grad()
def test_the_summary_counts_the_missed_neighbours_of_the_saved_students(data, run):
    summary, test = read_summary(run), data.open_test()
    assert (summary.measure, summary.data.task) == ("missed_neighbours", "embedding")
    assert (summary.classes, summary.data.classes) == ((), 16)
    teacher = load_model(run.teacher).model(test.inputs)
    expected = nearest_texts(teacher)
    for arm in summary.arms:
        for seed in arm.seeds:
            vectors = load_model(run.student(arm.name, seed.seed)).model(test.inputs)
            missed = missed_neighbours(nearest_texts(vectors), expected).double().mean()
            assert seed.test.missed_neighbours == pytest.approx(float(missed), abs=1e-6)
    assert summary.teacher.test.missed_neighbours == 0
    assert summary.teacher.test.rank_correlation == pytest.approx(1)
    assert 0 <= summary.arm("soft").mean.probe_accuracy <= 1


def test_the_teachers_vectors_teach_its_neighbours(run):
    summary = read_summary(run)
    assert summary.main_comparison.control == "hard"
    missed = {arm.name: arm.mean.missed_neighbours for arm in summary.arms}
    assert missed["soft"] < missed["hard"]
    assert [entry.control for entry in summary.comparisons] == ["hard", "pca"]
    difference = missed["soft"] - missed["hard"]
    assert summary.comparisons[0].delta_missed_neighbours.mean == pytest.approx(difference)


@torch.no_grad()
def test_an_arm_of_no_epochs_is_the_components_of_the_teachers_token_vectors(data, run):
    vectors = load_model(run.teacher).model.token_vectors().double().numpy()
    centred = vectors - vectors.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    p = 1 / np.arange(2, len(vectors) + 2)
    weights = 1e-4 / (1e-4 + p / p.sum())
    table = centred @ directions[:8].T * weights[:, None]
    test = data.open_test().inputs
    words = [row[(row != data.padding) & (row != 2) & (row != 3)] for row in test]  # no CLS, SEP
    expected = [table[row].mean(0) @ directions[:8] for row in words]
    for seed in (0, 1):
        student = load_model(run.student("pca", seed)).model
        cosines = (unit(student(test)) * unit(torch.tensor(np.stack(expected)))).sum(-1)
        torch.testing.assert_close(cosines, torch.ones_like(cosines), rtol=0, atol=1e-5)


def test_a_student_in_a_cohort_is_the_student_alone(data, encoder, run, tmp_path):
    alone = study(data, tmp_path / "run", encoder, {"soft": Arm(objective=SOFT)}, seeds=[1])
    alone.run()
    first, second = (
        load_file(RunFolder(folder).student("soft", 1) / "model.safetensors")
        for folder in (tmp_path / "run", run.path)
    )
    for name, weight in first.items():
        torch.testing.assert_close(weight, second[name], rtol=1e-3, atol=1e-4)


def test_training_again_gives_the_same_students(data, encoder, run, tmp_path):
    study(data, tmp_path / "run", encoder).run()
    again, first = (read_summary(RunFolder(folder)) for folder in (tmp_path / "run", run.path))
    assert [arm.mean for arm in again.arms] == [arm.mean for arm in first.arms]


def test_a_teacher_is_needed_and_only_one_that_is_trained(data, encoder, tmp_path):
    with pytest.raises(TeacherError, match="the study has no teacher"):
        study(data, tmp_path / "run", None, {"hard": Arm(objective=HARD)})
    with pytest.raises(TeacherError, match="several teachers, whose vectors have no mean"):
        study(data, tmp_path / "run", [encoder, encoder])


def test_a_teacher_with_another_tokenizer_is_refused(encoder, tmp_path):
    file = write_texts(tmp_path / "texts.csv")
    data = sentences(file, tokenizer="bytes", cache=tmp_path / "cache")
    with pytest.raises((TeacherError, ConfigError), match=r"tokens|vocabulary"):
        study(data, tmp_path / "run", encoder).check()


def test_token_vectors_need_a_sentence_encoder(data, encoder, run, tmp_path):
    teacher = run.student("soft", 0)
    with pytest.raises(ConfigError, match="takes vectors of a sentence encoder"):
        study(data, tmp_path / "run", teacher).check()


def test_more_width_than_the_teacher_has_dimensions_is_refused(data, encoder, tmp_path):
    wide = partial(BAG, width=17)
    with pytest.raises(ConfigError, match=r"Set student\.width=16 or less"):
        study(data, tmp_path / "run", encoder, student=wide).check()


def test_texts_without_labels_have_no_probe(data, encoder, tmp_path):
    texts = tmp_path / "texts.txt"
    write_texts(tmp_path / "texts.csv")
    lines = (tmp_path / "texts.csv").read_text().splitlines()[1:]
    texts.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    plain = sentences(texts, tokenizer=encoder, length=24, cache=tmp_path / "cache")
    summary = study(plain, tmp_path / "run", encoder, seeds=1, epochs=1).run()
    assert summary.arm("soft").mean.probe_accuracy is None
    assert summary.teacher.test.probe_accuracy is None


def test_files_of_answers_are_not_for_embeddings(data, encoder, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 16)))
    with pytest.raises(TeacherError, match=r"teacher\.from to the folder of a sentence enc"):
        study(data, tmp_path / "run", Answers(tmp_path / "a.npy")).check()
    with pytest.raises(ConfigError, match=r"has embeddings\. Use teacher\.from= with the encoder"):
        write_answers(LiveTeacher(torch.nn.Identity()), data, tmp_path / "b.npy")
