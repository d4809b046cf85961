"""Results of a study on a text of known entropy."""

import json
import math

import numpy as np
import pytest
from support.text_studies import BLOCK, SYMBOLS

from limbeck.run.summary import parse_summary


@pytest.mark.slow
def test_all_models_reach_the_entropy_of_the_source(text_source, text_data, text_run):
    _, entropy, transitions = text_source
    summary = text_run[1]
    reached = [summary.teacher.test.nll] + [s.test.nll for arm in summary.arms for s in arm.seeds]
    # The loss of the true source on this text: the entropy, up to chance in 3,000 bytes.
    place = np.zeros(256, dtype=int)
    place[list(SYMBOLS.encode())] = range(len(SYMBOLS))
    test = text_data.open_test()
    least = float(
        -np.log(transitions[place[test.inputs.numpy()], place[test.labels.numpy()]]).mean()
    )
    assert len(reached) == 5
    assert least == pytest.approx(entropy, rel=0.05)
    assert reached == pytest.approx([least] * 5, rel=0.01)


def test_the_summary_counts_bytes_and_tokens(text_data, text_run):
    out, summary = text_run
    assert parse_summary(json.loads((out / "summary.json").read_text())) == summary
    assert summary.measure == "bits_per_byte"
    tokens = text_data.test_size * BLOCK
    assert summary.data.tokens["test"] == summary.data.bytes["test"] == tokens
    assert (summary.data.tokenizer, summary.data.block) == ("bytes", BLOCK)
    for scores in (summary.teacher.test, summary.arms[0].seeds[0].test, summary.arms[1].mean):
        # Each token is one byte.
        assert scores.bits_per_byte == pytest.approx(scores.nll / math.log(2))
    seed = summary.arms[0].seeds[0].test
    assert seed.perplexity == pytest.approx(math.exp(seed.nll))
    with np.load(out / "predictions.npz", allow_pickle=False) as predictions:
        nll = predictions["nll/students/soft/seed1"]
        assert nll.shape == (text_data.test_size, BLOCK)
        assert nll.mean() == pytest.approx(summary.arms[1].seeds[1].test.nll, rel=1e-5)


def test_the_comparison_of_text_is_in_bits_per_byte(text_run):
    _, summary = text_run
    (comparison,) = summary.comparisons
    delta = comparison.delta_bits_per_byte
    arms = {arm.name: [s.test.bits_per_byte for s in arm.seeds] for arm in summary.arms}
    assert delta.per_seed == pytest.approx(
        [a - c for a, c in zip(arms["soft"], arms["hard"], strict=True)], abs=1e-6
    )
    assert (
        delta.ci95_total[0] <= delta.ci95[0] <= delta.mean <= delta.ci95[1] <= delta.ci95_total[1]
    )
    assert comparison.mcnemar_by_seed is None
    assert 0 <= comparison.p_value <= 1
