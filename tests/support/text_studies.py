"""Studies of a text of known entropy."""

from functools import partial

from safetensors.torch import load_file

from limbeck import Arm, Objective, Optimizer, Teacher
from limbeck.models import GPT
from support.studies import make_study

BLOCK = 32
SYMBOLS = "abcdef"
HARD = Objective(hard_weight=1.0, soft_weight=0.0)
SOFT = Objective(hard_weight=0.0, soft_weight=1.0, temperature=1.0)
FAST = Optimizer(name="adamw", lr=0.01, schedule="one_cycle")
gpt = partial(GPT, width=32, layers=1, heads=1)


def study_of(data, out, **options):
    arms = {"hard": Arm(objective=HARD), "soft": Arm(objective=SOFT)}
    settings = {
        "student": gpt,
        "teacher": Teacher(model=gpt, epochs=6, batch_size=32, optimizer=FAST),
        "seeds": 2,
        "epochs": 6,
        "batch_size": 32,
        "optimizer": FAST,
        "store": {"folder": out.parent / "store"},
    }
    return make_study(data, options.pop("arms", arms), out, **{**settings, **options})


def weights(run):
    files = sorted(run.glob("students/*/*/model.safetensors"))
    return {str(file.relative_to(run)): load_file(file) for file in files}
