"""Studies with teachers of other libraries, each to a verdict, on some of the digits."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from onnx import TensorProto
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support.bundles import write_bundle
from support.image_studies import ARMS, Killed, interrupt, same_students, small
from support.onnx_files import content
from support.studies import make_study

from limbeck import Arm, Objective, Teacher
from limbeck._base.errors import ConfigError, TeacherError
from limbeck.data import Dataset, TransferSet
from limbeck.data import digits as all_digits
from limbeck.data.dataset import as_float
from limbeck.deploy.models_of_run import load_models, models_of_run
from limbeck.models import MLP, Normalized
from limbeck.models.normalized import resize
from limbeck.teacher.files import find_members, load_member
from limbeck.training.generator import Generated

pytestmark = pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
VERDICTS = ("helps", "hurts", "not shown")
SAMPLES = 160
SILENT = {"verbose": False, "allow_writing_files": False}
FEW = np.zeros((63, 10), np.float32)


@pytest.fixture(scope="module")
def digits():
    return all_digits().head(SAMPLES)


@pytest.fixture(scope="module")
def features(digits):
    x = as_float(digits.train.inputs).flatten(1).numpy()
    return x, digits.train.labels.numpy()


@pytest.fixture(scope="module")
def weight(features):
    """Weight of a linear model of the digits, ``[64, 10]``."""
    return LogisticRegression(fit_intercept=False).fit(*features).coef_.T.astype(np.float32)


def study_of(digits, out, teacher, **options):
    options = {"student": small, "seeds": 2, "epochs": 1, "batch_size": 64, **options}
    options.setdefault("store", {"folder": out.parent / "store"})
    return make_study(digits, ARMS, out, teacher=teacher, **options)


def teacher_logits(out):
    return torch.from_numpy(np.load(out / "predictions.npz")["teacher"])


def test_an_onnx_model_teaches(digits, weight, tmp_path):
    file, out = tmp_path / "digits.onnx", tmp_path / "run"
    file.write_bytes(content(weight=weight, shape=(32, 1, 8, 8), end=["Softmax"]))
    summary = study_of(digits, out, Teacher(source=[file])).run()
    assert summary.comparisons[0].verdict in VERDICTS
    assert (summary.teacher.name, summary.teacher.params) == ("digits.onnx", 640)
    x = as_float(digits.open_test().inputs).flatten(1)
    torch.testing.assert_close(
        teacher_logits(out).softmax(-1), (x @ torch.from_numpy(weight)).softmax(-1)
    )
    file.unlink()
    study_of(digits, tmp_path / "again", Teacher(source=[out])).run()  # from the copy in the run
    assert same_students(out, tmp_path / "again")
    role, *_ = models_of_run(out)
    logits = role.logits(as_float(digits.open_test().inputs))
    torch.testing.assert_close(logits, teacher_logits(out))


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_iter=3, max_leaf_nodes=4),
        pytest.param(
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=20)),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["boosting", "pipeline"],
)
def test_an_estimator_teaches(digits, features, estimator, tmp_path, capsys):
    estimator.fit(*features)
    summary = study_of(digits, tmp_path / "run", estimator, progress=True).run()
    assert capsys.readouterr().err.count("probabilities become logits by their logarithm") == 1
    assert summary.comparisons[0].verdict in VERDICTS
    test = digits.open_test()
    x = as_float(test.inputs).flatten(1).numpy()
    errors = int((estimator.predict(x) != test.labels.numpy()).sum())
    assert summary.teacher.test.errors == errors
    assert summary.teacher.params == 0
    models, note = load_models(tmp_path / "run")
    assert [model.role for model in models] == ["control", "student"]
    assert "an object of a Python program, of which the run folder holds no copy" in note
    with pytest.raises(TeacherError, match="an object of a Python program"):
        study_of(digits, tmp_path / "next", Teacher(source=[tmp_path / "run"])).check()


@pytest.mark.slow
@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost"])
def test_a_boosting_library_teaches(digits, features, library, tmp_path):
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    names = {
        "xgboost": ("XGBClassifier", {"n_estimators": 3, "max_depth": 2}),
        "lightgbm": ("LGBMClassifier", {"n_estimators": 3, "verbose": -1}),
        "catboost": ("CatBoostClassifier", {"iterations": 3, **SILENT}),
    }
    name, options = names[library]
    estimator = getattr(module, name)(**options).fit(*features)
    summary = study_of(digits, tmp_path / "run", estimator).run()
    assert summary.comparisons[0].verdict in VERDICTS


@pytest.mark.slow
def test_an_image_model_of_hugging_face_teaches(digits, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=8,
        patch_size=4,
        num_channels=1,
        num_labels=10,
    )
    model = transformers.ViTForImageClassification(config).eval()
    teacher = Normalized(model, mean=[0.5], std=[0.5])
    summary = study_of(digits, tmp_path / "run", teacher).run()
    assert summary.comparisons[0].verdict in VERDICTS
    assert summary.teacher.name == "ViTForImageClassification"
    x = as_float(digits.open_test().inputs)
    with torch.no_grad():
        expected = model(pixel_values=x * 2 - 1).logits
    torch.testing.assert_close(teacher_logits(tmp_path / "run"), expected, atol=1e-5, rtol=1e-4)
    model.save_pretrained(tmp_path / "vit")
    processor = {"image_mean": [0.5], "image_std": [0.5], "size": 8}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(processor))
    study_of(digits, tmp_path / "again", Teacher(source=[tmp_path / "vit"])).run()
    assert same_students(tmp_path / "run", tmp_path / "again"), "the folder is the same teacher"


class Counting:
    """A function that counts the inputs it is asked for."""

    def __init__(self, weight):
        self.weight, self.count = torch.from_numpy(weight), 0

    def __call__(self, x):
        self.count += len(x)
        return x.flatten(1) @ self.weight


def test_a_function_teaches_and_is_asked_once(digits, weight, tmp_path):
    function = Counting(weight)
    summary = study_of(digits, tmp_path / "run", function).run()
    assert summary.comparisons[0].verdict in VERDICTS
    assert summary.teacher.name == "Counting"
    x = as_float(digits.open_test().inputs).flatten(1)
    torch.testing.assert_close(teacher_logits(tmp_path / "run"), x @ torch.from_numpy(weight))
    first, function.count = function.count, 0
    study_of(digits, tmp_path / "again", function).run()
    assert same_students(tmp_path / "run", tmp_path / "again")
    assert first - function.count == len(digits.train), "the answers of the first run are stored"


@pytest.mark.slow
def test_a_function_and_a_module_of_the_same_logits_teach_the_same(digits, weight, tmp_path):
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10, bias=False))
    with torch.no_grad():
        module[1].weight.copy_(torch.from_numpy(weight.T))
    study_of(digits, tmp_path / "a", module.eval()).run()
    study_of(digits, tmp_path / "b", lambda x: module(x)).run()
    assert same_students(tmp_path / "a", tmp_path / "b")


@pytest.mark.slow
def test_unlike_models_are_one_teacher(digits, features, weight, tmp_path):
    file = tmp_path / "digits.onnx"
    file.write_bytes(content(weight=weight, shape=("N", 1, 8, 8)))
    torch.manual_seed(0)
    large = Normalized(MLP((3, 12, 12), 10, hidden=[4]), [0.4, 0.5, 0.6], [0.2] * 3, size=12)
    estimator = LogisticRegression(max_iter=5).fit(*features)
    members = [large.eval(), file, estimator]
    summary = study_of(digits, tmp_path / "run", members).run()
    assert summary.teacher.name == ("432-4-10 + digits.onnx + LogisticRegression (probabilities)")
    x = as_float(digits.open_test().inputs)
    with torch.no_grad():
        parts = [
            large(x).softmax(-1),
            (x.flatten(1) @ torch.from_numpy(weight)).softmax(-1),
            torch.from_numpy(estimator.predict_proba(x.flatten(1).numpy())).float(),
        ]
    expected = torch.stack(parts).mean(0)
    torch.testing.assert_close(teacher_logits(tmp_path / "run").softmax(-1), expected)


@pytest.mark.parametrize("kind", ["list", pytest.param("teacher", marks=pytest.mark.slow)])
def test_each_file_of_an_ensemble_has_its_own_settings(digits, weight, kind, tmp_path):
    torch.manual_seed(0)
    net = partial(MLP, hidden=[5])
    large = net((1, 12, 12), 10).eval()
    torch.save(large.state_dict(), tmp_path / "large.pt")
    (tmp_path / "small.onnx").write_bytes(content(weight=weight, shape=("N", 1, 8, 8)))
    file = Teacher(source=[tmp_path / "large.pt"], model=net, size=12, normalization="symmetric")
    x = as_float(digits.open_test().inputs)
    with torch.no_grad():
        parts = [
            (x.flatten(1) @ torch.from_numpy(weight)).softmax(-1),
            large(resize(x, (12, 12)) * 2 - 1).softmax(-1),
        ]
    expected = torch.stack(parts).mean(0)
    members = [tmp_path / "small.onnx", file]
    teacher = members if kind == "list" else Teacher(source=members)
    study_of(digits, tmp_path / "run", teacher, check_teacher=False).run()
    torch.testing.assert_close(teacher_logits(tmp_path / "run").softmax(-1), expected)
    for member, part in zip(find_members(tmp_path / "run"), parts, strict=True):
        with torch.no_grad():  # the copies keep size and normalisation
            answers = load_member(member).model(x)
        torch.testing.assert_close(answers.softmax(-1), part)


def test_teachers_among_others_come_from_files(digits, tmp_path):
    with pytest.raises(ConfigError, match="has to come from files"):
        study_of(digits, tmp_path / "run", [Teacher(model=small)])
    draw = torch.Generator().manual_seed(0)
    x, y = torch.rand(40, 4, generator=draw), torch.arange(40) % 2
    data = Dataset.from_arrays(x[:20], y[:20], x[20:], y[20:])
    file = tmp_path / "m.onnx"
    file.write_bytes(content(weight=np.zeros((4, 2), np.float32), shape=("N", 4)))
    study = study_of(data, tmp_path / "run", Teacher(source=[file], size=8))
    with pytest.raises(ConfigError, match=r"teacher\.size is for images"):
        study.check()


def test_a_path_is_checked_as_a_teacher_from_files(digits, tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    with pytest.raises(TeacherError, match=r"outputs 3 classes|has 3 classes|the dataset has 10"):
        study_of(digits, tmp_path / "run", bundle).check()


@pytest.mark.slow
def test_an_interrupted_run_goes_on_with_the_same_function(digits, weight, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, stage="cohort0", epoch=0)
        with pytest.raises(Killed):
            study_of(digits, out, Counting(weight)).run()
    with pytest.raises(TeacherError, match="the teacher has changed since this run was started"):
        study_of(digits, out, Counting(weight * 2), resume=True).run()
    study_of(digits, out, Counting(weight * (1 + 1e-6)), resume=True).run()
    study_of(digits, tmp_path / "whole", Counting(weight)).run()
    assert same_students(out, tmp_path / "whole")


@pytest.mark.slow
def test_a_changed_onnx_file_does_not_go_on(digits, weight, tmp_path, monkeypatch):
    file, out = tmp_path / "digits.onnx", tmp_path / "run"
    file.write_bytes(content(weight=weight, shape=("N", 1, 8, 8)))
    with monkeypatch.context() as patch:
        interrupt(patch, stage="cohort0", epoch=0)
        with pytest.raises(Killed):
            study_of(digits, out, Teacher(source=[file])).run()
    file.write_bytes(content(weight=weight * 2, shape=("N", 1, 8, 8)))
    with pytest.raises(TeacherError, match="the teacher has changed"):
        study_of(digits, out, Teacher(source=[file]), resume=True).run()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": np.zeros((64, 9), np.float32)}, "outputs 9 classes, but the dataset has 10"),
        ({"shape": ("N", 63), "weight": FEW}, r"takes inputs of shape \[any, 63\]"),
        ({"kind": TensorProto.INT32}, "takes whole numbers"),
    ],
)
def test_onnx_models_that_do_not_fit_stop_before_training(
    digits, weight, tmp_path, options, message
):
    file = tmp_path / "digits.onnx"
    file.write_bytes(content(**{"weight": weight, "shape": ("N", 1, 8, 8), **options}))
    with pytest.raises(TeacherError, match=message):
        study_of(digits, tmp_path / "run", Teacher(source=[file])).check()
    assert not (tmp_path / "run").exists()


def test_a_function_of_other_classes_is_stopped_with_the_line_that_mends_it(
    digits, weight, tmp_path
):
    reverse = torch.from_numpy(weight).flip(1)
    study = study_of(digits, tmp_path / "run", lambda x: x.flatten(1) @ reverse)
    with pytest.raises(TeacherError, match=r"teacher = lambda x, f=teacher: f\(x\)\[:, \[9, 8, 7"):
        study.run()


def test_hints_and_generators_need_a_module(digits, weight, tmp_path):
    hint = {"kind": "hint", "student": "layers", "teacher": "layers", "weight": 1.0}
    arms = {"soft": Arm(objective=Objective(features=[hint]))}
    study = make_study(
        digits, arms, tmp_path / "run", student=small, teacher=Counting(weight), epochs=1, seeds=1
    )
    with pytest.raises(ConfigError, match=r"the teacher has no layer layers\. It has no layers"):
        study.check()
    arms = {"soft": Arm(objective=Objective(), transfer=TransferSet(source=Generated(samples=8)))}
    study = make_study(
        digits, arms, tmp_path / "other", student=small, teacher=Counting(weight), epochs=1, seeds=1
    )
    with pytest.raises(TeacherError, match="learns from the gradients of its teacher"):
        study.run()
