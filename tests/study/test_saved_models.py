"""Models of a resumed run that are damaged, exchanged or not listed are trained again."""

import json
import shutil
import warnings

import pytest
from support.image_studies import same_students, study_of

from limbeck import Study, Teacher
from limbeck._base.errors import LimbeckWarning, TeacherError
from limbeck.models import MLP
from limbeck.study.engine import Engine

SOFT = "students/soft"


def study(data, out, **options):
    teacher = Teacher(model=lambda **shape: MLP(**shape, hidden=[8]), epochs=1, batch_size=32)
    return study_of(data, out, teacher=teacher, epochs=2, **options)


def stop(*_):
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def stopped(data, tmp_path_factory):
    """A run whose models are all trained, stopped before they are scored."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "_summarize", stop)
        with pytest.raises(KeyboardInterrupt):
            study(data, out).run()
    return out


@pytest.fixture
def run(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "run")


@pytest.fixture
def stages(monkeypatch):
    """Names of the stages that are trained."""
    names, fit = [], Engine.fit

    def fit_and_record(self, job):
        names.append(job.stage)
        fit(self, job)

    monkeypatch.setattr(Engine, "fit", fit_and_record)
    return names


def change_byte(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def shorten(file):
    file.write_bytes(file.read_bytes()[:-8])


def exchange(folder):
    """Replace a model by that of another seed, which is sound by itself."""
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("seed0"), folder)


def test_sound_models_are_not_trained_again(data, run, stopped, stages):
    with warnings.catch_warnings():
        warnings.simplefilter("error", LimbeckWarning)
        study(data, run, resume=True).run()
    assert stages == []
    assert same_students(run, stopped)


@pytest.mark.parametrize(
    ("damage", "place", "reason"),
    [
        (change_byte, f"{SOFT}/seed1/model.safetensors", "is damaged, or not the file"),
        (change_byte, f"{SOFT}/seed1/model.json", "is damaged, or not the file"),
        (shorten, f"{SOFT}/seed1/model.safetensors", "is damaged, or not the file"),
        (exchange, f"{SOFT}/seed1", r"model\.safetensors is damaged, or not the file"),
        (lambda file: file.unlink(), f"{SOFT}/seed1/model.safetensors", "is missing"),
    ],
)
def test_a_damaged_student_is_trained_again(
    data, run, stopped, stages, damage, place, reason, tmp_path
):
    damage(run / place)
    with pytest.warns(LimbeckWarning, match=rf"{reason}.*hard, soft x 2 seeds\) are trained again"):
        study(data, run, resume=True).run()
    assert stages == ["cohort0"]
    assert same_students(run, stopped)


def test_a_damaged_teacher_is_trained_again(data, run, stopped, stages):
    change_byte(run / "teacher" / "model.safetensors")
    with pytest.warns(LimbeckWarning, match="The teacher is trained again"):
        study(data, run, resume=True).run()
    assert stages == ["teacher0"]
    files = [folder / "teacher" / "model.safetensors" for folder in (run, stopped)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_teacher_that_comes_out_differently_is_refused(data, run):
    change_byte(run / "teacher" / "model.safetensors")
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    manifest["digests"]["teacher"] = "0" * 64
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with (
        pytest.warns(LimbeckWarning, match="The teacher is trained again"),
        pytest.raises(TeacherError, match="the teacher has changed since this run was started"),
    ):
        study(data, run, resume=True).run()


def test_a_student_saved_just_before_a_kill_is_trained_again(data, run, stopped, stages):
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    files = {name: file for name, file in manifest["files"].items() if "soft" not in name}
    (run / "manifest.json").write_text(json.dumps({**manifest, "files": files}), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error", LimbeckWarning)
        study(data, run, resume=True).run()
    assert stages == ["cohort0"]
    assert same_students(run, stopped)


def test_a_run_of_an_earlier_version_is_resumed_with_its_sound_models(data, run, stopped, stages):
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    digests = manifest.pop("files")
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    change_byte(run / SOFT / "seed0" / "model.safetensors")
    study(data, run, resume=True).run()
    assert stages == ["cohort0"]
    files = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["files"]
    assert files.items() >= digests.items()
    assert same_students(run, stopped)
