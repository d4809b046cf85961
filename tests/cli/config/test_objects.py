"""Objects named by ``_target_``: their class is checked, and equal settings share one object."""

import pytest

from limbeck._base.errors import ConfigError, ResourceError
from limbeck.cli.config.objects import ObjectFactory
from limbeck.data import Shift, Views

SHIFT = {"_target_": "limbeck.data.Shift", "pixels": 2}


def run_out_of_memory():
    raise MemoryError


def test_equal_settings_share_an_object():
    objects = ObjectFactory()
    shift = objects.create(SHIFT, Views, "views")
    assert isinstance(shift, Shift)
    assert objects.create(dict(SHIFT), Views, "views") is shift


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (None, r"views=None should be a group of settings with _target_"),
        ([None], r"views=\[None\] should be a group of settings with _target_"),
        ({}, r"views=\{\} should be a group of settings with _target_"),
        ({"_target_": 3}, "should be a group of settings with _target_"),
        ({"_target_": "builtins.dict"}, "builtins.dict returned an object of type dict, .* Views"),
        ({"_target_": "os.getcwd"}, "os.getcwd returned an object of type str"),
        ({"_target_": "nowhere.Nothing"}, "views: nowhere.Nothing could not be built"),
        (SHIFT | {"_partial_": 1}, r"views\._partial_=1 should be true or false"),
        (SHIFT | {"_recursive_": 1}, "could not be built"),
        (SHIFT | {"pixels": "???"}, r"views\.pixels is not set"),
        (SHIFT | {"pixel": 2}, "views: limbeck.data.Shift could not be built"),
    ],
)
def test_settings_of_no_object_of_the_class_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ObjectFactory().create(settings, Views, "views")


def test_a_function_is_not_a_model():
    objects = ObjectFactory()
    mlp = {"_target_": "limbeck.models.MLP", "shape": [1, 2, 2], "classes": 2, "hidden": [3]}
    with pytest.raises(ConfigError, match=r"a function was expected\. Set student\._partial_=true"):
        objects.create_function(mlp, "student")
    with pytest.raises(ConfigError, match=r"os\.getpid returned an object of type int"):
        objects.create_function({"_target_": "os.getpid"}, "student")
    assert objects.create_function(mlp | {"_partial_": True}, "student")()


def test_a_lack_of_memory_is_named():
    with pytest.raises(ResourceError, match="Memory ran out while data was created"):
        ObjectFactory().create({"_target_": f"{__name__}.run_out_of_memory"}, Views, "data")
