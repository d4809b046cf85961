"""Searches for a student, made by hand."""

from limbeck.run.search import Search, Trial


def make_trial(number, share, value, state="trained", **fields):
    """A trial that uses a share of the budget and has a result on the validation split."""
    settings = {"student": "mlp", "width": 8, "temperature": 4.21, "soft_weight": 0.9, "lr": 0.012}
    return Trial(
        **{
            "number": number,
            "round": 0,
            "settings": settings,
            "architecture": f"mlp{number}",
            "params": 1234,
            "macs": 1200,
            "size": 1000 * share,
            "share": share,
            "state": state,
            "value": value,
            **fields,
        }
    )


def make_search(*trials, choice=None, **limits):
    """A search among 200 validation samples with these limits."""
    return Search(
        measure="errors",
        validation=200,
        limits=limits,
        seed=5,
        seconds=67.0,
        trials=trials,
        choice=choice,
    )
