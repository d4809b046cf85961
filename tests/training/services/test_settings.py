"""Settings as services show them."""

import pytest

from limbeck.training.services.settings import HIDDEN, loggable_settings


def test_settings_are_flat_values_by_path():
    settings = {
        "seeds": [0, 1],
        "objective": {"temperature": 4.0, "soft": "kl", "features": None},
        "logger": {"wandb": {"entity": "me"}},
        "out": "/home/me/run",
    }
    assert loggable_settings(settings) == {
        "seeds": "[0, 1]",
        "objective.temperature": 4.0,
        "objective.soft": "kl",
    }


@pytest.mark.parametrize(
    "name",
    ["token", "hf_token", "password", "api_key", "apikey", "aws_secret", "auth", "credentials"],
)
def test_secrets_are_hidden(name):
    assert loggable_settings({"data": {name: "s3cr3t"}}) == {f"data.{name}": HIDDEN}


def test_words_of_the_trade_are_no_secrets():
    settings = {"data.tokenizer": "bytes", "keys": 3, "author": "me"}
    assert loggable_settings(settings) == settings


def test_addresses_lose_their_users_and_queries():
    address = "s3://me:s3cr3t@store.example/data?X-Amz-Signature=s3cr3t"
    values = loggable_settings({"store": {"folder": address, "more": [address]}})
    assert values["store.folder"] == f"s3://{HIDDEN}@store.example/data"
    assert "s3cr3t" not in str(values)
