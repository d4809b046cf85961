"""The words and the table of a plan, for the terminal."""

from limbeck.evaluation.plan import Plan
from limbeck.report.formats import percent, seconds, seeds_and_splits
from limbeck.report.measure_wording import wording_of
from limbeck.run.summary import Summary


def plan_sentence(plan: Plan, summary: Summary) -> str:
    """What the pilot saw, and what the table shows."""
    words, comparison = wording_of(summary), plan.comparison
    pilot = seeds_and_splits(len(words.measure.delta(comparison).per_seed), summary.splits)
    amount = f"{words.difference(plan.effect)} {words.unit}"
    if plan.is_margin:
        question = (
            f"If {comparison.arm} is as good as {comparison.control}, this is the probability of "
            f"the verdict that it is not worse by {amount}"
        )
    else:
        question = f"The probability of a verdict if the real difference is {amount}"
    return f"Pilot: {words.finding(comparison, summary)}, with {pilot}. {question}:"


def plan_table(plan: Plan, summary: Summary) -> list[list[str]]:
    """The heading and a row for each number of seeds."""
    test = summary.data.test
    name = "test blocks" if summary.measure == "bits_per_byte" else "samples"
    heading = ["seeds", *(f"{test * factor:,} {name}" for factor in plan.factors)]
    rows = [
        [str(number), *(percent(share, 0) for share in shares)]
        for number, shares in zip(plan.seeds, plan.power, strict=True)
    ]
    enough = ["over 100" if number is None else str(number) for number in plan.enough]
    return [heading, *rows, ["for 80 %", *(f"{number} seeds" for number in enough)]]


def plan_cost(summary: Summary) -> str:
    """How long one more seed takes, if that is known, and how rough the numbers are."""
    doubt = "The numbers are rough: they take what the pilot saw for the truth."
    if summary.splits is not None:
        doubt += " The number of splits grows with that of the seeds."
    most = max((len(arm.seeds) for arm in summary.arms), default=0)
    if not most or not summary.seconds.training:
        return doubt
    time = seconds(summary.seconds.training / most)
    return f"One more seed of all arms takes about {time} of training, as in the pilot. {doubt}"
