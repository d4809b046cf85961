"""``limbeck sample``: what models write, token by token by hand, and how it is shown."""

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

from limbeck import Arm, Objective, Optimizer, Study, Teacher
from limbeck._base.errors import ConfigError, DataError
from limbeck.data import text_file
from limbeck.deploy import sample as module
from limbeck.deploy.sample import Sampled, print_sampled, sample
from limbeck.deploy.shown import Shown
from limbeck.models import GPT, load_model

BLOCK = 8
few = settings(max_examples=40, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
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
    Study(
        data,
        arms,
        student=gpt,
        teacher=Teacher(model=gpt, epochs=2, batch_size=32, optimizer=fast),
        seeds=1,
        epochs=2,
        batch_size=32,
        optimizer=fast,
        out=place / "run",
        store="off",
        progress=False,
    ).run()
    return data, place / "run"


@pytest.fixture
def writes(monkeypatch, written):
    """Let models of the test's own write: functions from ids ``[1, t]`` to logits ``[1, t, 256]``."""

    def run(answers, prompt="ab", **options):
        shown = [Shown("student", f"m{n}", "", answer) for n, answer in enumerate(answers)]
        monkeypatch.setattr(module, "shown_models", lambda *_, **__: shown)
        found = sample(written[1], written[0], prompt, progress=False, **options)
        return [part.text for part in found]

    return run


def constant(probabilities):
    """A model that thinks of some characters always the same, and of no others."""
    logits = torch.full((256,), -torch.inf)
    logits[list(map(ord, probabilities))] = torch.tensor(list(probabilities.values())).log()
    return lambda ids: logits.expand(*ids.shape, 256)


def after(table):
    """A model that is sure what follows each character, if not quite."""
    weights = torch.zeros(256, 256)
    for one, other in table.items():
        weights[ord(one), ord(other)] = 1.0
    return lambda ids: weights[ids]


# What is drawn ------------------------------------------------------------------------------------


def test_the_models_of_a_run_write_what_argmax_says_by_hand(written):
    data, run = written
    found = sample(run, data, "abcabcab", tokens=20, temperature=0, progress=False)
    assert [part.role for part in found] == ["teacher", "control", "student"]
    assert [part.name for part in found] == ["teacher", "hard", "soft"]
    folders = (run / "teacher", run / "students/hard/seed0", run / "students/soft/seed0")
    for part, folder in zip(found, folders, strict=True):
        model, ids = load_model(folder).model, list(b"abcabcab")
        for _ in range(20):
            with torch.no_grad():
                ids.append(int(model(torch.tensor([ids[-BLOCK:]]))[0, -1].argmax()))
        assert part.text == bytes(ids[8:]).decode()
        assert part.about.startswith(
            f"gpt-1x8, {sum(p.numel() for p in model.parameters()):,} parameters, "
        )
        assert part.about.endswith(" bits per byte")


def test_the_likeliest_token_each_time(writes):
    assert writes([after({"a": "b", "b": "c", "c": "a"})], "xab", tokens=7, temperature=0) == [
        "cabcabc"
    ]


def test_a_low_temperature_is_the_likeliest_token(writes):
    model = after({"a": "b", "b": "c", "c": "a"})
    assert writes([model], tokens=30, temperature=0.001) == writes(
        [model], tokens=30, temperature=0
    )


def test_the_same_seed_writes_the_same_for_every_model(writes):
    model = constant({"a": 0.5, "b": 0.3, "c": 0.2})
    first, twin = writes([model, model], tokens=60)
    assert first == twin
    assert writes([model], tokens=60, seed=0) == [first]
    assert writes([model], tokens=20) == [first[:20]]
    assert writes([model], tokens=60, seed=1) != [first]


@few
@given(
    probabilities=st.lists(st.floats(0.01, 1), min_size=2, max_size=6),
    temperature=st.floats(0.2, 5),
    seed=st.integers(0, 1000),
)
def test_draws_are_those_of_the_inverse_distribution_function(probabilities, temperature, seed):
    chances = dict(zip("abcdef", probabilities, strict=False))
    found = module._drawn(
        Shown("student", "", "", constant(chances)),
        torch.tensor([0]),
        12,
        BLOCK,
        temperature,
        seed,
        lambda done: None,
    )
    limits = np.cumsum(softmax(np.log(np.float32(probabilities)).astype(float) / temperature))
    uniform = torch.rand(
        12, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    ).numpy()
    near = np.abs(uniform[:, None] - limits).min(1) < 1e-6  # either neighbour may be right there
    drawn = np.array(
        ["abcdef"[i] for i in np.minimum(np.searchsorted(limits, uniform), len(chances) - 1)]
    )
    assert (np.array([chr(i) for i in found]) == drawn)[~near].all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_frequencies_are_those_of_the_softmax_at_the_temperature(writes, temperature):
    """With a chance of a false alarm of 1 in a million."""
    chances = {"a": 0.6, "b": 0.3, "c": 0.08, "d": 0.02}
    (found,) = writes([constant(chances)], tokens=3000, temperature=temperature)
    expected = softmax(np.log(list(chances.values())) / temperature)
    counts = [found.count(letter) for letter in chances]
    assert sum(counts) == 3000  # what has no chance is never drawn
    assert stats.chisquare(counts, 3000 * expected).pvalue > 1e-6
    other = softmax(np.log(list(chances.values())) / temperature / 1.5)
    assert stats.chisquare(counts, 3000 * other).pvalue < 1e-6  # and it would notice


@pytest.mark.parametrize("prompt", ["a", "abc", "abcdefgh", "abcdefghabcdefghabc"])
def test_a_model_sees_the_last_tokens_of_a_block(writes, prompt):
    seen = []

    def model(ids):
        seen.append("".join(map(chr, ids[0].tolist())))
        return after({})(ids).index_fill(-1, torch.tensor([ord("z")]), 1.0)

    assert writes([model], prompt, tokens=11, temperature=0) == ["z" * 11]
    assert seen == [(prompt + "z" * n)[-BLOCK:] for n in range(11)]


def test_bytes_that_are_no_text_are_shown_as_such(writes):
    euro = constant({"\xe2": 1.0})  # the first byte of three
    assert writes([euro], tokens=2) == ["\N{REPLACEMENT CHARACTER}" * 2]


# What is refused ----------------------------------------------------------------------------------


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
        ({"arm": "sofd"}, "did you mean soft"),
    ],
)
def test_settings_out_of_range(written, options, message):
    data, run = written
    with pytest.raises(ConfigError, match=message):
        sample(run, data, options.pop("prompt", "ab"), progress=False, **options)


def test_a_prompt_that_is_no_text(written):
    with pytest.raises(ConfigError, match="no text in UTF-8"):
        sample(written[1], written[0], "ab\udcff", progress=False)


def test_a_text_that_has_changed_since(written, tmp_path):
    (tmp_path / "chain.txt").write_text(markov_text("abcdef", 12_000, seed=3)[0])
    other = text_file(tmp_path / "chain.txt", block=BLOCK, cache=tmp_path / "cache")
    with pytest.raises(DataError, match="not that of the run"):
        sample(written[1], other, "ab", progress=False)


def test_runs_on_images_do_not_write(written):
    with pytest.raises(ConfigError, match="for runs on text; shapes is none"):
        sample(written[1], dataset(), "ab", progress=False)


# How it is shown ----------------------------------------------------------------------------------

FOUND = [
    Sampled("teacher", "teacher", "gpt-6x192, 1 bits", "one [red]two[/red]"),
    Sampled("control", "hard", "gpt-2x64, 3 bits", "three"),
    Sampled("student", "soft", "gpt-2x64, 2 bits", "four\nfive"),
]


def shown(found, width, *, terminal=True, prompt="The "):
    file = io.StringIO()
    print_sampled(
        prompt,
        found,
        Console(
            file=file, width=width, force_terminal=terminal, color_system=None, highlight=False
        ),
    )
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_side_by_side_in_a_wide_terminal():
    lines = shown(FOUND, 120)
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
    lines = shown(FOUND, width, terminal=terminal)
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
    assert shown(FOUND[:1], 30)[0] == "teacher"  # its own line: a heading of a table
    assert shown(FOUND[:1], 29)[0] == "teacher (gpt-6x192, 1 bits)"


@pytest.mark.parametrize("width", [40, 200])
def test_what_would_steer_a_terminal_is_made_visible(width):
    nasty = "a\x1b[31mb\x07c\x00d\re\x9bf\u202eg\x7fh\ud800i"
    found = [Sampled("student", "soft", "gpt", nasty)] * 3
    out = "\n".join(shown(found, width, prompt=""))
    assert not set(out) & set("\x1b\x07\x00\r\x9b\u202e\x7f\ud800")
    mark = "\N{REPLACEMENT CHARACTER}"
    assert out.count(f"a{mark}[31mb{mark}c{mark}d{mark}e{mark}f{mark}g{mark}h{mark}i") == 3


def test_line_breaks_and_other_languages_stay():
    lines = shown([Sampled("student", "soft", "gpt", "ä\n\u4e2d\u6587 é")], 20, prompt="")
    assert lines[1:3] == ["ä", "\u4e2d\u6587 é"]
