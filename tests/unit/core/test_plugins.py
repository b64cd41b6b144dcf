"""Entry points are read once for each state of the folders on the path."""

import importlib
import importlib.metadata

import pytest

from morphogen.core import plugins


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def put(site, name):
    """A package with the method `name`, whole at once, as pip moves it there."""
    whole = site.parent / f"{name}-1.0.dist-info"
    whole.mkdir()
    (whole / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (whole / "entry_points.txt").write_text(f"[morphogen.methods]\n{name} = json\n")
    whole.rename(site / whole.name)
    importlib.invalidate_caches()


def test_a_package_that_comes_to_a_folder_already_read_is_found(site):
    before = plugins.names("methods")
    put(site, "first")
    assert plugins.names("methods") == tuple(sorted([*before, "first"]))
    put(site, "second")
    assert plugins.names("methods") == tuple(sorted([*before, "first", "second"]))
    assert plugins.load("methods") == ()


def test_a_package_that_is_taken_away_is_gone(site):
    before = plugins.names("methods")
    put(site, "first")
    assert "first" in plugins.names("methods")
    (site / "first-1.0.dist-info").rename(site.parent / "elsewhere")
    importlib.invalidate_caches()
    assert plugins.names("methods") == before


def test_what_did_not_change_is_not_read_again(site, monkeypatch):
    put(site, "first")
    known = plugins.names("methods")

    def refuse(**_):
        raise AssertionError("read again")

    monkeypatch.setattr(importlib.metadata, "entry_points", refuse)
    assert plugins.names("methods") == known
