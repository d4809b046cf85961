"""Text samples: token by token against independent answers, and on the terminal."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy import stats
from scipy.special import softmax
from support.deploy_runs import dataset
from support.markov import markov_text
from support.studies import make_study

from limbeck import Arm, Objective, Optimizer, Teacher
from limbeck._base.errors import ConfigError, DataError
from limbeck.data import text_file
from limbeck.deploy import sample as module
from limbeck.deploy.models_of_run import RunModel
from limbeck.deploy.sample import Sample, SampleOptions, generate, print_samples, sample
from limbeck.models import GPT, load_model

BLOCK = 8
few = settings(max_examples=20, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    """A text data set and a finished run on it."""
    place = tmp_path_factory.mktemp("text")
    (place / "chain.txt").write_text(markov_text("abcdef", 12_000, seed=2)[0])
    data = text_file(place / "chain.txt", block=BLOCK, cache=place / "cache")
    fast = Optimizer(name="adamw", lr=0.01)

    def gpt(**shape):
        return GPT(**shape, width=8, layers=1, heads=1)

    arms = {
        "hard": Arm(objective=Objective(hard_weight=1, soft_weight=0)),
        "soft": Arm(objective=Objective()),
    }
    make_study(
        data,
        arms,
        place / "run",
        student=gpt,
        teacher=Teacher(model=gpt, epochs=2, batch_size=32, optimizer=fast),
        seeds=1,
        epochs=2,
        batch_size=32,
        optimizer=fast,
        store="off",
    ).run()
    return data, place / "run"


@pytest.fixture
def texts(monkeypatch, text_run):
    """Generate with functions from ids ``[1, T]`` to logits ``[1, T, 256]``."""

    def run(answers, prompt="ab", **options):
        models = [RunModel("student", f"m{n}", "", answer) for n, answer in enumerate(answers)]
        monkeypatch.setattr(module, "models_of_run", lambda *_, **__: models)
        samples = sample(text_run[1], text_run[0], prompt, SampleOptions(**options), progress=False)
        return [part.text for part in samples]

    return run


def constant(probabilities):
    """A model that always gives some characters the same probabilities, and others none."""
    logits = torch.full((256,), -torch.inf)
    logits[list(map(ord, probabilities))] = torch.tensor(list(probabilities.values())).log()
    return lambda ids: logits.expand(*ids.shape, 256)


def after(table):
    """A model that prefers one character after each character."""
    weights = torch.zeros(256, 256)
    for one, other in table.items():
        weights[ord(one), ord(other)] = 1.0
    return lambda ids: weights[ids]


# Tokens -------------------------------------------------------------------------------------------


def test_at_temperature_0_each_token_is_the_argmax(text_run):
    data, run = text_run
    samples = sample(run, data, "abcabcab", SampleOptions(tokens=20, temperature=0), progress=False)
    assert [part.role for part in samples] == ["teacher", "control", "student"]
    assert [part.name for part in samples] == ["teacher", "hard", "soft"]
    folders = (run / "teacher", run / "students/hard/seed0", run / "students/soft/seed0")
    for part, folder in zip(samples, folders, strict=True):
        model, ids = load_model(folder).model, list(b"abcabcab")
        for _ in range(20):
            with torch.no_grad():
                ids.append(int(model(torch.tensor([ids[-BLOCK:]]))[0, -1].argmax()))
        assert part.text == bytes(ids[8:]).decode()
        assert part.description.startswith(
            f"gpt-1x8, {sum(p.numel() for p in model.parameters()):,} parameters, "
        )
        assert part.description.endswith(" bits per byte")


def test_at_temperature_0_the_most_likely_token_follows(texts):
    assert texts([after({"a": "b", "b": "c", "c": "a"})], "xab", tokens=7, temperature=0) == [
        "cabcabc"
    ]


def test_a_low_temperature_gives_the_most_likely_token(texts):
    model = after({"a": "b", "b": "c", "c": "a"})
    assert texts([model], tokens=30, temperature=0.001) == texts([model], tokens=30, temperature=0)


def test_the_same_seed_gives_the_same_text_for_every_model(texts):
    model = constant({"a": 0.5, "b": 0.3, "c": 0.2})
    first, twin = texts([model, model], tokens=60)
    assert first == twin
    assert texts([model], tokens=60, seed=0) == [first]
    assert texts([model], tokens=20) == [first[:20]]
    assert texts([model], tokens=60, seed=1) != [first]


@few
@given(
    probabilities=st.lists(st.floats(0.01, 1), min_size=2, max_size=6),
    temperature=st.floats(0.2, 5),
    seed=st.integers(0, 1000),
)
def test_tokens_are_drawn_by_the_inverse_distribution_function(probabilities, temperature, seed):
    chances = dict(zip("abcdef", probabilities, strict=False))
    tokens = generate(
        RunModel("student", "", "", constant(chances)),
        torch.tensor([0]),
        BLOCK,
        SampleOptions(12, temperature, seed),
    )
    limits = np.cumsum(softmax(np.log(np.float32(probabilities)).astype(float) / temperature))
    uniform = torch.rand(
        12, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    ).numpy()
    near = np.abs(uniform[:, None] - limits).min(1) < 1e-6  # either neighbour may be right there
    expected = np.array(
        ["abcdef"[i] for i in np.minimum(np.searchsorted(limits, uniform), len(chances) - 1)]
    )
    assert (np.array([chr(i) for i in tokens]) == expected)[~near].all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_frequencies_are_those_of_the_softmax_at_the_temperature(texts, temperature):
    """With a chance of a false alarm of 1 in a million."""
    chances = {"a": 0.6, "b": 0.3, "c": 0.08, "d": 0.02}
    (text,) = texts([constant(chances)], tokens=3000, temperature=temperature)
    expected = softmax(np.log(list(chances.values())) / temperature)
    counts = [text.count(letter) for letter in chances]
    assert sum(counts) == 3000  # what has no chance is never drawn
    assert stats.chisquare(counts, 3000 * expected).pvalue > 1e-6
    other = softmax(np.log(list(chances.values())) / temperature / 1.5)
    assert stats.chisquare(counts, 3000 * other).pvalue < 1e-6  # and it would notice


@pytest.mark.parametrize("prompt", ["a", "abc", "abcdefgh", "abcdefghabcdefghabc"])
def test_a_model_sees_the_last_block_of_tokens(texts, prompt):
    contexts = []

    def model(ids):
        contexts.append("".join(map(chr, ids[0].tolist())))
        return after({})(ids).index_fill(-1, torch.tensor([ord("z")]), 1.0)

    assert texts([model], prompt, tokens=11, temperature=0) == ["z" * 11]
    assert contexts == [(prompt + "z" * n)[-BLOCK:] for n in range(11)]


def test_invalid_utf8_is_replaced(texts):
    euro = constant({"\xe2": 1.0})  # the first byte of three
    assert texts([euro], tokens=2) == ["\N{REPLACEMENT CHARACTER}" * 2]


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"tokens": 0}, "tokens=0"),
        ({"tokens": True}, "tokens=True"),
        ({"seed": -1}, "seed=-1"),
        ({"temperature": -0.1}, "temperature=-0.1"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"temperature": "1"}, "temperature='1'"),
        ({"arm": "sofd"}, "Did you mean soft"),
    ],
)
def test_options_out_of_range_are_refused(text_run, options, message):
    data, run = text_run
    prompt, arm = options.pop("prompt", "ab"), options.pop("arm", None)
    with pytest.raises(ConfigError, match=message):
        sample(run, data, prompt, SampleOptions(**options), arm=arm, progress=False)


def test_a_prompt_that_is_not_utf8_is_refused(text_run):
    with pytest.raises(ConfigError, match="not valid UTF-8"):
        sample(text_run[1], text_run[0], "ab\udcff", progress=False)


def test_a_changed_text_is_refused(text_run, tmp_path):
    (tmp_path / "chain.txt").write_text(markov_text("abcdef", 12_000, seed=3)[0])
    other = text_file(tmp_path / "chain.txt", block=BLOCK, cache=tmp_path / "cache")
    with pytest.raises(DataError, match="differs from the one the run used"):
        sample(text_run[1], other, "ab", progress=False)


def test_runs_on_images_are_refused(text_run):
    with pytest.raises(ConfigError, match="but shapes is for classification"):
        sample(text_run[1], dataset(), "ab", progress=False)


# On the terminal ----------------------------------------------------------------------------------

SAMPLES = [
    Sample("teacher", "teacher", "gpt-6x192, 1 bits", "one [red]two[/red]"),
    Sample("control", "hard", "gpt-2x64, 3 bits", "three"),
    Sample("student", "soft", "gpt-2x64, 2 bits", "four\nfive"),
]


def printed(samples, width, *, terminal=True, prompt="The "):
    file = io.StringIO()
    print_samples(
        prompt,
        samples,
        Console(
            file=file, width=width, force_terminal=terminal, color_system=None, highlight=False
        ),
    )
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_side_by_side_in_a_wide_terminal():
    lines = printed(SAMPLES, 120)
    heads = next(line for line in lines if "teacher" in line)
    assert [name in heads for name in ("control: hard", "student: soft")] == [True, True]
    first = next(line for line in lines if "The one" in line)
    assert first.split("  ")[0] == "The one [red]two[/red]"
    assert "The three" in first
    assert first.endswith("The four")
    after_it = lines[lines.index(first) + 1]
    assert after_it.index("five") == first.index("The four")


@pytest.mark.parametrize(("width", "terminal"), [(3 * 30 - 1, True), (120, False)])
def test_one_below_the_other_in_a_narrow_terminal_and_in_a_file(width, terminal):
    lines = printed(SAMPLES, width, terminal=terminal)
    assert lines == [
        "teacher (gpt-6x192, 1 bits)",
        "The one [red]two[/red]",
        "",
        "control: hard (gpt-2x64, 3 bits)",
        "The three",
        "",
        "student: soft (gpt-2x64, 2 bits)",
        "The four",
        "five",
        "",
    ]


def test_one_model_needs_less_width():
    assert printed(SAMPLES[:1], 30)[0] == "teacher"  # its own line: a heading of a table
    assert printed(SAMPLES[:1], 29)[0] == "teacher (gpt-6x192, 1 bits)"


@pytest.mark.parametrize("width", [40, 200])
def test_control_characters_are_replaced(width):
    controls = "a\x1b[31mb\x07c\x00d\re\x9bf\u202eg\x7fh\ud800i"
    samples = [Sample("student", "soft", "gpt", controls)] * 3
    out = "\n".join(printed(samples, width, prompt=""))
    assert not set(out) & set("\x1b\x07\x00\r\x9b\u202e\x7f\ud800")
    mark = "\N{REPLACEMENT CHARACTER}"
    assert out.count(f"a{mark}[31mb{mark}c{mark}d{mark}e{mark}f{mark}g{mark}h{mark}i") == 3


def test_line_breaks_and_other_languages_stay():
    lines = printed([Sample("student", "soft", "gpt", "ä\n\u4e2d\u6587 é")], 20, prompt="")
    assert lines[1:3] == ["ä", "\u4e2d\u6587 é"]
