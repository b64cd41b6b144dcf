"""Settings in parts: as plain values and back, as flags without a prefix, refused in a sentence."""

import dataclasses
from collections import Counter

import pytest

from morphogen.cli.searching import option_sections, preset
from morphogen.core import ConfigError, UnknownNameError
from morphogen.core.config import altered, from_mapping, to_mapping
from morphogen.engine.search.settings import Settings
from morphogen.methods import find, methods
from morphogen.tasks.classification.config import ImageConfig

PARTS = {field.name for field in dataclasses.fields(Settings)}


@pytest.mark.parametrize("name", methods())
def test_no_two_flags_of_a_search_have_one_name(name):
    info = find(name)
    known = option_sections(info, preset("quick", info, "nasbench201"))
    flags = Counter(flag for s in known for o in s.options for flag in o.flags)
    assert [flag for flag, count in flags.items() if count > 1] == []
    # The numbers of a publication are told apart by their first word.
    assert not {field.name for field in dataclasses.fields(info.config)} & PARTS


def test_settings_come_back_from_plain_values_with_what_is_of_the_data():
    asked = Settings(network={"depth": 3}, task=ImageConfig(flip=False), workers={"count": 2})
    plain = to_mapping(asked)
    assert plain["task"]["name"] == "images"
    assert from_mapping(Settings, plain) == asked
    assert Settings(task={"flip": False}).task == ImageConfig(flip=False)
    assert altered(asked, {"task.flip": True, "epochs": 2}).task == ImageConfig()
    assert from_mapping(Settings, to_mapping(Settings())) == Settings()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"channels": 8}, UnknownNameError, "field of Settings 'channels'"),
        ({"network": {"chanels": 8}}, UnknownNameError, "field of Settings.network 'chanels'"),
        ({"network": {"depth": 0}}, ConfigError, "network.depth is 0; accepted: "),
        ({"task": {"name": "images", "jitter": 1}}, UnknownNameError, "jitter"),
        ({"task": {"name": "sounds"}}, UnknownNameError, "'sounds'; .*images"),
        ({"task": {"image_size": -1}}, ConfigError, "image_size is -1"),
    ],
)
def test_what_is_no_setting_is_refused_in_a_sentence(given, error, message):
    with pytest.raises(error, match=message):
        from_mapping(Settings, given)
