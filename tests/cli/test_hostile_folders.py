"""Every verb, with hostile folders of each kind: no file that it reads runs code."""

import json

import pytest
import yaml
from support.bundles import write_bundle, write_sums
from support.commands import TINY, call
from support.payloads import KINDS, Canaries
from support.run_files import copy_run, manifest

from limbeck.cli.main import parsers

DOCUMENTED = {0, 2, 3, 4, 5, 6, 7}
RUNS = ("pickle", "yaml", "object")
VERBS_OF_RUNS = {
    "resume": (),
    "report": (),
    "export": ("overwrite=true",),
    "cost": (),
    "demo": ("port=0",),
    "sample": ("The ",),
    "answers": ("to=answers.npz",),
}
VERBS_OF_RESULTS = {"compare", "runs", "open", "plan"}
VERBS_OF_OTHERS = {
    "run",
    "train",
    "distill",
    "fit",
    "check",
    "predict",
    "verify",
    "bench",
    "store",
    "recipes",
}


@pytest.fixture
def canaries(tmp_path):
    return Canaries(tmp_path / "canaries")


@pytest.fixture
def hostile(quick_run, tmp_path, canaries):
    """Function that makes a hostile run folder of a kind."""

    def make(kind, state="finished"):
        run = tmp_path / "run"
        copy_run(quick_run, run)
        content = {**manifest(run), "files": None, "state": state, "folder": str(run)}
        if kind == "pickle":
            content["overrides"] = ["teacher.from=evil.pt", "teacher.trust_pickle=true"]
            write_pickles(run, canaries)
        elif kind == "yaml":
            (run / "config.yaml").write_text(canaries.yaml(), encoding="utf-8")
        else:
            add_objects(run / "config.yaml", canaries.object())
            content["overrides"] = [f"data._target_={canaries.object()['_target_']}"]
        (run / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
        for name in ("limbeck", "torch", "sitecustomize", "evil"):
            (run / f"{name}.py").write_text(canaries.module(), encoding="utf-8")
        return run

    return make


def write_pickles(run, canaries):
    """Put a pickle in place of every file of weights, checkpoint and array of a run."""
    for folder in ("teacher0", "cohort0"):
        (run / "checkpoints" / folder).mkdir(parents=True)
        (run / "checkpoints" / folder / "last.ckpt").write_bytes(canaries.pickled())
        (run / "checkpoints" / folder / "step10.ckpt").write_bytes(canaries.pickled())
    (run / "evil.pt").write_bytes(canaries.pickled())
    for file in run.rglob("*.safetensors"):
        file.write_bytes(canaries.pickled())
        description = json.loads(file.with_name("model.json").read_text(encoding="utf-8"))
        description["sha256"] = None
        file.with_name("model.json").write_text(json.dumps(description), encoding="utf-8")
    for name in ("predictions.npz", "examples.npz"):
        canaries.save_array(run / name)


def add_objects(file, settings):
    """Name an object that is called wherever settings of a run can name one."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    for section in ("data", "student", "views"):
        content[section] = {**settings, **{"nested": settings}}
    content["teacher"] |= {"model": settings, "trust_pickle": True, "from": "evil.pt"}
    content["logger"] = {"evil": settings}
    content["transfer"]["source"] = settings
    content["arms"]["soft"] = {"student": settings, "views": settings}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")


def attack(canaries, *words, cwd=".", code=None):
    """Call a verb, and check that it ends as documented and that every canary stays away."""
    exit_code, _, err = call(*words, cwd=cwd)
    assert exit_code in (DOCUMENTED if code is None else {code}), (exit_code, err)
    assert "Traceback" not in err
    assert canaries.alive == []


def test_every_verb_is_attacked():
    known = {*VERBS_OF_RUNS, *VERBS_OF_RESULTS, *VERBS_OF_OTHERS}
    assert known == set(parsers()[1])


@pytest.mark.parametrize("kind", KINDS)
def test_an_unsafe_program_would_create_the_canary(tmp_path, canaries, kind):
    """Otherwise the other tests could not fail."""
    folder = tmp_path / "folder"
    folder.mkdir()
    canaries.read_unsafely(kind, folder)
    assert canaries.alive == [kind]


def attacks_on_runs():
    """Every verb with every kind; a report that is written in spite of it takes seconds."""
    for verb in VERBS_OF_RUNS:
        for kind in RUNS:
            is_slow = verb == "report" and kind != "pickle"
            yield pytest.param(verb, kind, marks=[pytest.mark.slow] if is_slow else [])


@pytest.mark.parametrize(("verb", "kind"), attacks_on_runs())
def test_verbs_of_runs(hostile, canaries, tmp_path, verb, kind):
    run = hostile(kind, state="interrupted" if verb in ("resume", "report") else "finished")
    if verb == "resume":
        (run / "summary.json").unlink()
    # the report of a finished run needs no settings, and classifiers give no samples
    code = 2 if verb == "sample" and kind == "pickle" else 7
    if verb in ("report", "resume", "demo"):
        code = None
    attack(canaries, verb, run, *VERBS_OF_RUNS[verb], cwd=tmp_path, code=code)
    if verb != "report":  # it would write the same report
        attack(canaries, verb, ".", *VERBS_OF_RUNS[verb], cwd=run)


@pytest.mark.parametrize("kind", RUNS)
def test_lists_and_reports_with_a_run_of_others(hostile, canaries, tmp_path, kind, monkeypatch):
    pages = []
    monkeypatch.setattr("webbrowser.open", lambda page: pages.append(page) or True)
    run = hostile(kind)
    attack(canaries, "runs", tmp_path, cwd=tmp_path, code=0)
    attack(canaries, "runs", ".", cwd=run, code=0)
    attack(canaries, "open", ".", cwd=run, code=0)
    assert pages == [(run / "report.html").as_uri()]


@pytest.mark.parametrize("kind", RUNS)
def test_a_comparison_with_a_run_of_others(hostile, quick_run, canaries, tmp_path, kind):
    run, own = hostile(kind), copy_run(quick_run, tmp_path / "own")
    code = 7 if kind == "pickle" else 0  # it reads no settings
    attack(canaries, "compare", own, run, "to=page.html", cwd=tmp_path, code=code)
    attack(canaries, "compare", ".", own, cwd=run, code=code)


@pytest.mark.parametrize(
    "verb",
    [
        "run",
        pytest.param("distill", marks=pytest.mark.slow),
        pytest.param("train", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", ["evil.pt", "teacher/model.safetensors", ""])
def test_teachers_of_others(hostile, canaries, tmp_path, verb, name):
    teacher = hostile("pickle") / name
    attack(canaries, verb, f"teacher.from={teacher}", *TINY, "out=new", cwd=tmp_path, code=7)


SLOW_DATA = ("image_csv", "image_table", "table", "mnist", "cifar10", "text")


@pytest.mark.parametrize(
    "data", ["image_folder", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_DATA)]
)
def test_data_of_others(canaries, tmp_path, data):
    root = tmp_path / "data"
    for folder in ("a", "b", "cifar-10-batches-py", "cifar-10-batches-bin", "MNIST/raw"):
        (root / folder).mkdir(parents=True)
    names = [
        "a/1.png",
        "b/2.png",
        "b/3.npy",
        "data_batch_1.bin",
        "MNIST/raw/train-images-idx3-ubyte",
    ]
    for name in (*names, *(f"cifar-10-batches-py/data_batch_{n}" for n in range(1, 6))):
        (root / name).write_bytes(canaries.pickled())
    (root / "tokenizer.json").write_bytes(canaries.pickled())
    (root / "table.csv").write_text("image,label\na/1.png,=1+1\nb/2.png,x\n", encoding="utf-8")
    words = [f"data={data}", f"data.root={root}"]
    if data == "image_csv":
        words = [f"data={data}", f"data.images={root}", f"data.table={root / 'table.csv'}"]
    if data == "table":
        words = [f"data={data}", f"data.path={root / 'table.csv'}"]
    if data == "text":
        words = [f"data={data}", f"data.path={root / 'a/1.png'}", f"data.tokenizer={root}"]
    attack(canaries, "run", *words, "logger=csv", "out=new", cwd=tmp_path)
    assert not (tmp_path / "new" / "summary.json").exists()


def test_bundles_of_others(canaries, tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    (bundle / "run.py").write_text(canaries.module(), encoding="utf-8")
    (bundle / "image.png").write_bytes(canaries.pickled())
    write_sums(bundle)
    attack(canaries, "predict", bundle, bundle / "image.png", cwd=bundle)
    attack(canaries, "verify", bundle, cwd=bundle)
    attack(canaries, "bench", bundle, "--seconds", "0.01", cwd=bundle)
    canaries.save_array(bundle / "golden.npz")
    write_sums(bundle)
    attack(canaries, "verify", bundle, cwd=bundle, code=7)
    attack(canaries, "bench", bundle, cwd=bundle, code=7)
    (bundle / "model.onnx").write_bytes(canaries.pickled())
    write_sums(bundle)
    attack(canaries, "verify", bundle, code=7)
    attack(canaries, "bench", bundle, code=7)


def test_stores_of_others(canaries, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("precious", encoding="utf-8")
    root = tmp_path / "stores"
    for digit in "12":
        (root / (digit * 32)).mkdir(parents=True)
        for name in ("store.json", "header.json", "answers.bin", "checksums.json"):
            (root / (digit * 32) / name).write_bytes(canaries.pickled())
    (root / ("3" * 32)).symlink_to(victim)
    for action in ("list", "verify", "clear"):
        words = ["--all"] if action == "clear" else []
        attack(canaries, "store", action, *words, "--folder", root)
    assert (victim / "file").read_text(encoding="utf-8") == "precious"


def test_recipes_of_others(canaries, tmp_path):
    (tmp_path / "recipe").mkdir()
    text = f"# @package _global_\n# {'x' * 9}\n{canaries.yaml()}"
    (tmp_path / "recipe" / "evil.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "evil.py").write_text(canaries.module(), encoding="utf-8")
    attack(canaries, "recipes", "--config-dir", tmp_path, cwd=tmp_path, code=0)
    attack(canaries, "run", "--config-dir", tmp_path, "recipe=evil", cwd=tmp_path, code=2)


@pytest.mark.slow
def test_a_run_in_a_repository_of_others(canaries, tmp_path):
    canaries.make_repository(tmp_path)
    canaries.path("git").unlink(missing_ok=True)
    attack(canaries, "run", "quick=true", *TINY, "out=new", cwd=tmp_path, code=0)
    assert manifest(tmp_path / "new")["git_commit"]


@pytest.mark.slow
def test_language_models_of_others(canaries, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "evil.py").write_text(canaries.module(), encoding="utf-8")
    names = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    settings = {"model_type": "gpt2", "auto_map": names, "trust_remote_code": True}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "pytorch_model.bin").write_bytes(canaries.pickled())
    (tmp_path / "book.txt").write_text("to be or not to be. " * 2000, encoding="utf-8")
    words = ["data=text", "data.path=book.txt", f"teacher.from={folder}", "out=new"]
    attack(canaries, "run", *words, cwd=tmp_path, code=7)
    attack(canaries, "distill", *words, cwd=tmp_path, code=7)
    with pytest.raises(Exception):  # noqa: B017 - the code runs, and then lacks the class
        transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)
    assert canaries.alive == ["module"]
