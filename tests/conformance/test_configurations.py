"""What every configuration keeps: of each method, of a search, of a training."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_args

import annotated_types
import pytest
import yaml
from pydantic import TypeAdapter

from morphogen.bilevel.optimisers import Adam
from morphogen.core import ConfigError, UnknownNameError
from morphogen.core.config import from_mapping, to_mapping
from morphogen.engine.search.settings import Settings
from morphogen.engine.train.training import Training
from morphogen.methods import find, methods
from morphogen.tasks.configs import TaskConfig

STEPWISE = [name for name, info in methods().items() if not info.black_box]
TRAINING = [name for name in STEPWISE if hasattr(find(name).config(), "weights")]
GRADIENT = [name for name in STEPWISE if hasattr(find(name).config(), "alpha")]


def everywhere(cls: type) -> list[tuple[tuple[str, ...], Any]]:
    """(path, pydantic's field) of each field of a configuration, those of nested ones included."""
    found = []
    for name, field in cls.__pydantic_fields__.items():
        if is_dataclass(field.annotation):
            found += [((name, *path), f) for path, f in everywhere(field.annotation)]
        else:
            found.append(((name,), field))
    return found


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """{"weights": {"lr": value}} of ("weights", "lr")."""
    for name in reversed(path):
        value = {name: value}
    return value


CONFIGS = {
    **{name: info.config for name, info in methods().items()},
    "settings": Settings,
    "training": Training,
}
FIELDS = [(name, path) for name, cls in CONFIGS.items() for path, _ in everywhere(cls)]
ENDS = annotated_types.Ge | annotated_types.Gt | annotated_types.Le | annotated_types.Lt
BOUNDED = [
    (name, path, bound)
    for name, cls in CONFIGS.items()
    for path, field in everywhere(cls)
    for bound in field.metadata
    if isinstance(bound, ENDS)
]


def other(cls: type) -> dict[str, Any]:
    """A value other than the default for every field of a configuration."""

    def change(field: Any) -> Any:
        value, kind = field.default, field.annotation
        if TaskConfig in get_args(kind):  # None: until it is known what the data are
            return {"name": "images", "flip": False}
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return value + 1
        if isinstance(value, float):
            ends = [e.gt for e in field.metadata if isinstance(e, annotated_types.Gt)]
            least = max([0.0, *ends])
            return (value + least) / 2 or 0.5
        if isinstance(value, tuple):
            return [v / 2 for v in value]
        options = get_args(kind)
        if options and is_dataclass(options[-1]):  # one configuration or another
            return to_mapping(options[-1]())
        return options[-1] if options and options[-1] != value else (options or ("other",))[0]

    values: dict[str, Any] = {}
    paths = {path for path, _ in everywhere(cls)}
    for path, field in everywhere(cls):
        if path[:-1] and path[-1] == "lr_end" and (*path[:-1], "warm_up") in paths:
            continue  # an optimiser has one of the two
        at = values
        for name in path[:-1]:
            at = at.setdefault(name, {})
        at[path[-1]] = change(field)
    return values


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_survives_yaml_whatever_its_fields_are(name):
    cls = CONFIGS[name]
    for made in (cls(), from_mapping(cls, other(cls))):
        again = from_mapping(cls, yaml.safe_load(yaml.safe_dump(to_mapping(made))))
        assert again == made
        assert type(again) is cls
    assert all(
        getattr(from_mapping(cls, other(cls)), f.name) != getattr(cls(), f.name)
        for f in fields(cls)
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_cannot_be_changed(name):
    made = CONFIGS[name]()
    with pytest.raises(AttributeError):
        setattr(made, fields(made)[0].name, 1)


@pytest.mark.parametrize(
    ("name", "path"), FIELDS, ids=lambda v: v if isinstance(v, str) else ".".join(v)
)
def test_every_field_says_what_it_means(name, path):
    field = dict(everywhere(CONFIGS[name]))[path]
    assert field.description
    assert len(field.description) > 10


def sentence(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("name", "path"), FIELDS, ids=lambda v: v if isinstance(v, str) else ".".join(v)
)
def test_an_unknown_field_is_refused_with_the_nearest(name, path):
    wrong = (*path[:-1], path[-1] + "x")
    with pytest.raises(UnknownNameError) as caught:
        from_mapping(CONFIGS[name], nested(wrong, 1))
    assert f"did you mean {path[-1]!r}?" in sentence(caught.value)
    assert repr(wrong[-1]) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "path", "bound"),
    BOUNDED,
    ids=lambda v: (
        v if isinstance(v, str) else ".".join(v) if isinstance(v, tuple) else type(v).__name__
    ),
)
def test_a_number_out_of_range_is_refused(name, path, bound):
    if isinstance(bound, annotated_types.Ge):
        values = [bound.ge - 1]
    elif isinstance(bound, annotated_types.Le):
        values = [bound.le + 1 if isinstance(bound.le, int) else bound.le * 1.001]
    else:
        values = [bound.gt, bound.gt - 1] if isinstance(bound, annotated_types.Gt) else [bound.lt]
    for value in [*values, "many", float("nan"), None]:
        with pytest.raises(ConfigError) as caught:
            from_mapping(CONFIGS[name], nested(path, value))
        text = sentence(caught.value)
        assert ".".join(path) in text
        assert "accepted: " in text
        assert repr(value) in text


def numbers(schema: dict[str, Any], at: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every place in a JSON schema, definitions included, that takes a number."""
    found = [(at, schema)] if schema.get("type") in ("integer", "number") else []
    for name, part in schema.items():
        parts = part if isinstance(part, list) else [part]
        for inner in parts:
            if isinstance(inner, dict) and name != "default":
                found += numbers(inner, f"{at}/{name}")
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_every_number_of_every_configuration_has_two_ends(name):
    """As pydantic's own JSON schema has them, those in tuples and nested ones included."""
    found = numbers(TypeAdapter(CONFIGS[name]).json_schema())
    assert found or name not in (*TRAINING, "settings", "training")
    for at, schema in found:
        assert schema.keys() & {"minimum", "exclusiveMinimum"}, at
        assert schema.keys() & {"maximum", "exclusiveMaximum"}, at
    if name in GRADIENT and isinstance(find(name).config().alpha, Adam):
        assert any("betas" in at for at, _ in found)  # it looks into tuples
        with pytest.raises(ConfigError, match=r"alpha\.betas\.0 is -1.0"):
            from_mapping(CONFIGS[name], {"alpha": {"betas": [-1.0, 0.5]}})


@pytest.mark.parametrize(
    "value",
    [10**30, 10**5000, -(10**30), "9" * 5000, float("inf"), 1e308],
    ids=["30-digits", "5000-digits", "negative", "text", "inf", "1e308"],
)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_number_beyond_all_reason_is_one_short_sentence(name, value):
    for path, field in everywhere(CONFIGS[name]):
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            with pytest.raises(ConfigError) as caught:
                from_mapping(CONFIGS[name], nested(path, value))
            assert ".".join(path) in sentence(caught.value)
            assert len(str(caught.value)) < 600
