"""Short trainings with odd but legal combinations of settings."""

import json

from hypothesis import strategies as st
from support.commands import TINY
from support.fuzz import attempt, examples, fuzz

from limbeck.losses import SOFT_LOSSES

SMALL = (*TINY, "epochs=1", "seeds=1", "data.val=20", "data.test=40", "out=run")
CHOICES = {
    "objective": [*sorted(SOFT_LOSSES), "standardised"],
    "objective.temperature": ["0.5", "1", "20"],
    "objective.hard_weight": ["0", "1"],
    "objective.soft_weight": ["0", "0.5"],
    "objective.hard": ["squared_error"],
    "objective.standardise": ["true"],
    "objective.scale_by_t2": ["false"],
    "objective.shuffled": ["true"],
    "objective.class_weights": ["balanced", "[1,1,1,1,1,1,1,1,1,9]"],
    "objective.label_smoothing": ["0.1"],
    "views": ["shift", "crop", "crop_flip", "flip", "affine", "elastic", "mixup", "none"],
    "store": ["off", "auto", "topk", "sampled"],
    "store.dtype": ["float32", "float16"],
    "logger": ["csv", "default"],
    "optimizer.name": ["sgd", "adam", "adamw"],
    "optimizer.schedule": ["constant", "cosine", "one_cycle"],
    "optimizer.weight_decay": ["0.1"],
    "batch_size": ["7", "5000"],
    "seeds": ["2", "[3,1]"],
    "examples": ["0", "1"],
    "bias": ["prior"],
    "quick": ["true"],
    "teacher": ["mlp", "none"],
    "teacher.model.hidden": ["[]", "[2,2]"],
    "student": ["mlp", "convnet"],
    "student.hidden": ["[]", "[1]", "[4,4]"],
    "student.dropout": ["0.5"],
    "transfer.samples": ["10", "0.1"],
    "transfer.labelled": ["0", "1", "0.5"],
    "transfer.without": ["[3]", "[0,1,2,4,5,6,7,8,9]"],
    "transfer.classes": ["[7,8]"],
    "transfer.source": ["{_target_:limbeck.data.UniformNoise,samples:30}"],
    "sweep": [
        "{objective.temperature:[1,4]}",
        "{student.hidden:[[],[3]]}",
        "{objective.soft_weight:[0.5,1.0],transfer.labelled:[20,null]}",
    ],
    "arms": ["{only:{}}", "{hard:{seeds:1}}", "{more:{objective:{temperature:2}}}"],
    "trainer.precision": ["bf16-mixed", "32-true"],
}


@st.composite
def settings(draw):
    """Values of up to four settings."""
    keys = draw(st.lists(st.sampled_from(sorted(CHOICES)), max_size=4, unique=True))
    return [f"{key}={draw(st.sampled_from(CHOICES[key]))}" for key in keys]


@examples(0.01, is_quick=False)
def test_studies_end_complete_or_with_an_exit_code(count):
    def check(folder, words, exports):
        outcome = attempt(folder, "run", *SMALL, *words)
        run = folder / "run"
        if outcome.code != 0:
            return
        manifest = json.loads((run / "manifest.json").read_text())
        assert manifest["state"] == "finished"
        for name in ("config.yaml", "summary.json", "report.html", "predictions.npz"):
            assert (run / name).stat().st_size, name
        assert attempt(folder, "report", "run").code == 0
        assert "already finished" in attempt(folder, "resume", "run").err
        if exports and attempt(folder, "export", "run", "int8=false", "zipped=false").code == 0:
            assert attempt(folder, "verify", "run/bundle").code == 0

    exports = st.integers(0, 9).map(lambda number: number == 9)
    fuzz(count, check, settings(), exports)
