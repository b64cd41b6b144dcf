"""Settings and methods' options are flags side by side: no two may have one name."""

import dataclasses

import pytest

from morphogen.engine.search.settings import Settings
from morphogen.methods import find, methods

SETTINGS = {field.name for field in dataclasses.fields(Settings)}


@pytest.mark.parametrize("name", methods())
def test_no_option_of_a_method_has_the_name_of_a_setting(name):
    options = {field.name for field in dataclasses.fields(find(name).config)}
    assert not options & SETTINGS
