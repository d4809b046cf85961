"""Choice of a student among the results of a search, on the validation split alone."""

from collections.abc import Sequence

from limbeck._base.errors import ConfigError, DivergedError
from limbeck.run.search import Search, Trial, value_of
from limbeck.search.budget import Needs


def choose_trial(search: Search) -> Trial:
    """Choose the student to train anew.

    With a goal of errors it is the cheapest student that meets it; without one, or if no student
    meets it, the best student. Of equal ones it is the cheaper one, then the earlier one.

    Raises:
        ConfigError: If no student is within the budget.
        DivergedError: If the training of all students failed.
    """
    results = search.results
    if not results:
        failures = [trial for trial in search.trials if trial.state == "failed"]
        if failures and not any(trial.params for trial in failures):
            raise ConfigError(
                "No student of the search could be built and exported; see the messages above. "
                "Choose others with search.students."
            )
        if failures:
            raise DivergedError(
                "The training of every student in the search failed. Lower search.lr, or see "
                "the warnings above."
            )
        raise ConfigError(nearest_message(search.trials))
    goal = search.limits.get("errors")
    if goal is not None:
        sufficient = [trial for trial in results if value_of(trial) <= goal]
        if sufficient:
            return min(sufficient, key=lambda trial: (trial.share, value_of(trial), trial.number))
    return min(results, key=lambda trial: (value_of(trial), trial.share, trial.number))


def meets_goal(search: Search) -> bool | None:
    """Whether the chosen student makes few enough errors; None without such a goal."""
    goal, winner = search.limits.get("errors"), search.winner
    if goal is None or winner is None:
        return None
    return value_of(winner) <= goal


def nearest_message(trials: Sequence[Trial]) -> str:
    """Return the message for a budget that no student meets; it names the nearest student."""
    candidates = [trial for trial in trials if trial.params] or list(trials)
    nearest = min(candidates, key=lambda trial: trial.share)
    needs = Needs(nearest.size, nearest.latency, nearest.memory)
    least = "" if nearest.macs is not None else "at least "
    if nearest.is_predicted:
        least = "about "
    return (
        f"No student is within the budget. The nearest one, {nearest.architecture}, needs {least}"
        f"{needs}, "
        f"{nearest.share:.3g} times what the budget allows. Raise the budget, or allow smaller "
        "students with search.width and search.students."
    )
