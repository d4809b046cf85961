"""Encoders of transformers that classify texts, as teacher and student of a study."""

from functools import partial

import pytest
import torch
from support.encoders import SMALL, dataset_of_letters
from support.studies import make_study

from limbeck import Arm, Objective, Optimizer, Teacher
from limbeck._base.errors import ConfigError, LimbeckWarning, TeacherError
from limbeck.models import GPT, MLP, HuggingFaceClassifier, load_model
from limbeck.report.figures.catalogue import Figures
from limbeck.run.folder import RunFolder
from limbeck.study.teacher_files import load_teachers

transformers = pytest.importorskip("transformers")

LENGTH = 10
HARD, SOFT = Objective(hard_weight=1.0, soft_weight=0.0), Objective(temperature=2.0)
ARMS = {"hard": Arm(objective=HARD), "soft": Arm(objective=SOFT)}
CONFIG = {"model_type": "bert"} | SMALL | {"num_hidden_layers": 2}
FAST = Optimizer(name="adamw", lr=0.01, schedule="linear")
bert = partial(HuggingFaceClassifier, config=CONFIG)
half = partial(HuggingFaceClassifier, init="teacher", layers=[1])


@pytest.fixture(scope="module", autouse=True)
def no_figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.report.page.draw_figures", lambda *_: Figures([], [], [], []))
        yield


@pytest.fixture(scope="module")
def data():
    return dataset_of_letters()


def study_of(data, out, **options):
    settings = {
        "student": half,
        "teacher": Teacher(model=bert, epochs=4, batch_size=16, optimizer=FAST),
        "seeds": 1,
        "epochs": 1,
        "batch_size": 16,
        "optimizer": FAST,
        "store": {"folder": out.parent / "store"},
    }
    return make_study(data, options.pop("arms", ARMS), out, **{**settings, **options})


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("encoders") / "run"
    return out, study_of(data, out).run()


def test_an_encoder_is_trained_and_teaches_half_of_its_layers(finished):
    out, summary = finished
    assert summary.teacher.name == "bert-2x16"
    assert summary.teacher.test.errors < 20  # of 60
    assert {arm.student for arm in summary.arms} == {"bert-1x16"}
    assert summary.comparisons[0].verdict
    student = transformers.AutoModelForSequenceClassification.from_pretrained(
        out / "students" / "soft" / "seed0"
    )
    assert student.config.num_hidden_layers == 1


def test_students_start_from_the_trained_teacher(finished, data, tmp_path):
    """With a learning rate of almost 0 they stay where they start."""
    out, _ = finished
    still = Optimizer(lr=1e-12)
    run = tmp_path / "still"
    arms = {"hard": ARMS["hard"]}
    study_of(data, run, arms=arms, teacher=Teacher(source=[out]), optimizer=still).run()
    teacher = load_model(out / "teacher").model.net.bert.encoder.layer
    student = load_model(run / "students" / "hard" / "seed0").model.net.bert.encoder.layer
    torch.testing.assert_close(student[0].state_dict(), teacher[1].state_dict())


@pytest.mark.slow
def test_each_split_has_a_teacher_from_which_its_students_start(data, tmp_path):
    still, run = Optimizer(lr=1e-12), tmp_path / "run"
    plan = Teacher(model=bert, epochs=1, batch_size=64)
    study_of(data, run, teacher=plan, optimizer=still, seeds=2, splits=2).run()
    tables = [
        load_model(folder).model.token_embeddings()
        for folder in (RunFolder(run).teacher_of(0), RunFolder(run).teacher_of(1))
    ]
    assert not torch.equal(*tables)
    for seed, table in enumerate(tables):
        student = load_model(run / "students" / "soft" / f"seed{seed}").model
        torch.testing.assert_close(student.token_embeddings(), table)


@pytest.mark.slow
def test_a_folder_and_its_network_are_the_same_teacher(finished, data, tmp_path):
    net = transformers.AutoModelForSequenceClassification.from_pretrained(finished[0] / "teacher")
    net.save_pretrained(tmp_path / "folder")
    ids = data.val.inputs.long()
    expected = load_model(finished[0] / "teacher").model(ids)
    for teacher in (Teacher(source=[tmp_path / "folder"]), net.eval()):
        study = study_of(data, tmp_path / "run", teacher=teacher, student=bert)
        study.check()
        (model,) = study._teacher.existing().models
        torch.testing.assert_close(model(ids), expected)


def test_the_classes_of_a_folder_are_matched_by_name(finished, data, tmp_path):
    net = transformers.AutoModelForSequenceClassification.from_pretrained(finished[0] / "teacher")
    net.config.id2label = {0: "marked", 1: "plain"}
    net.save_pretrained(tmp_path)
    with pytest.warns(LimbeckWarning, match="order"):
        (loaded,) = load_teachers(Teacher(source=[tmp_path]), data)
    ids = data.val.inputs.long()
    with torch.no_grad():
        mask = (ids != data.padding).long()
        theirs = net.eval()(input_ids=ids * mask, attention_mask=mask).logits
        torch.testing.assert_close(loaded.model(ids), theirs[:, [1, 0]])


def test_a_teacher_that_does_not_learn_is_named(data, tmp_path):
    plan = Teacher(model=bert, epochs=1, batch_size=64, optimizer=Optimizer(lr=1e-12))
    with pytest.warns(LimbeckWarning, match=r"has not learned: .* as the answer to all") as record:
        study_of(data, tmp_path / "run", teacher=plan, student=bert).fit_teacher()
    assert "teacher.optimizer.lr (now 1e-12" in str(record[0].message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher": None, "arms": {"hard": ARMS["hard"]}}, "there is no model of one"),
        (
            {"teacher": Teacher(model=bert, members=2)},
            "needs a single model, but the teacher has 2",
        ),
    ],
)
def test_a_student_needs_one_model_to_start_from(data, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        study_of(data, tmp_path / "run", **options).check()


def test_a_language_model_is_no_classifier(data, tmp_path):
    config = transformers.GPT2Config(vocab_size=300, n_positions=16, n_embd=8, n_layer=1, n_head=1)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    with pytest.raises((ConfigError, TeacherError), match="no classification head"):
        load_teachers(Teacher(source=[tmp_path]), data)


@pytest.mark.parametrize("model", [GPT, MLP])
def test_a_teacher_that_cannot_read_texts_is_named_before_it_is_trained(data, tmp_path, model):
    with pytest.raises(TeacherError, match=r"teacher\.model: .* Texts need a teacher for token"):
        study_of(data, tmp_path / "run", teacher=Teacher(model=model), student=bert).check()


def test_an_untrained_teacher_has_as_many_outputs_as_there_are_classes(data, tmp_path):
    plan = Teacher(
        model=lambda shape, vocabulary, padding: bert(
            shape, 3, vocabulary=vocabulary, padding=padding
        )
    )
    with pytest.raises(TeacherError, match="has 3 outputs, but the dataset has 2 classes"):
        study_of(data, tmp_path / "run", teacher=plan, student=bert).check()
