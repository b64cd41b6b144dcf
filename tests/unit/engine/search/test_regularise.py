"""Methods combined with regularisers: refused where it means nothing, resumed to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tiny
from morphogen.bilevel.regularisation import EVERY, Regularisation
from morphogen.core import MorphogenError
from morphogen.engine.search.regularise import regularised, remarks
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.settings import Settings
from morphogen.methods import find, methods
from morphogen.spaces import make
from morphogen.testing import MethodChecks

STOP = {"stop_by_eigenvalue": True, "eigenvalue_every": 1, "eigenvalue_examples": 8}
EVERYTHING = {
    "partial_channels": 2,
    "perturb": "random",
    "skip_penalty": "beta",
    "alpha_warmup": 0.1,
    **STOP,
}
OF_ANY_SPACE = {"perturb": "adversarial", "perturb_steps": 2, "skip_penalty": "auxiliary", **STOP}

SHORT = {"channels": 4, "epochs": 2, "steps_per_epoch": 2, "diagnostic_images": 16}


def settings(**options: Any) -> Settings:
    return tiny.changed(tiny.SETTINGS, **options)


def run(path: Path, method: str = "darts", *, watcher: Any = tiny.Told, **options: Any) -> Any:
    """A search of NAS-Bench-201 of a second."""
    return search(
        tiny.config(method),
        space="nasbench201",
        data=tiny.images(),
        settings=settings(**{**SHORT, **options}),
        run=path,
        watcher=watcher,
    )


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("darts", EVERYTHING),
        pytest.param(
            "gdas",
            {"partial_channels": 2, "skip_penalty": "auxiliary", **STOP},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "darts-pt",
            {"partial_channels": 2, "perturb": "adversarial", "perturb_steps": 2},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "snas", {"partial_channels": 2, "skip_penalty": "beta", **STOP}, marks=pytest.mark.slow
        ),
        pytest.param(
            "darts-prime",
            {"partial_channels": 2, "perturb": "random", "skip_penalty": "auxiliary", **STOP},
            marks=pytest.mark.slow,
        ),
        pytest.param("sd-darts", EVERYTHING, marks=pytest.mark.slow),
        pytest.param(
            "idarts",
            {"edge_normalisation": "on", "perturb": "random", **STOP},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_combined_search_goes_on_to_the_same_bits(
    method: str, options: dict[str, Any], tmp_path: Path
) -> None:
    whole = run(tmp_path / "whole", method, **options)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", method, watcher=tiny.Stop(epochs=1), **options)
    tiny.assert_same_run(resume(tmp_path / "broken", data=tiny.images()).run, whole.run)
    if options.get("stop_by_eigenvalue"):
        assert all(row["eigenvalue"] != 0 for row in whole.history)
    normalised = options.get("edge_normalisation") == "on" or "partial_channels" in options
    wanted = normalised and "edge_normalisation" in find(method).taken()
    assert ("edges" in whole.history[-1]) == wanted


@pytest.mark.parametrize("check", ["after_an_epoch", "in_mid_epoch", "before_the_result"])
def test_a_users_module_is_regularised_and_resumed(check: str, tmp_path: Path) -> None:
    suite = MethodChecks(tiny.config("darts"), tmp_path, settings=settings(**OF_ANY_SPACE))
    getattr(suite, f"check_resume_{check}")()


def test_what_is_switched_on_changes_the_search(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain", epochs=1).history[-1]["alpha"]
    for number, options in enumerate(
        [{"partial_channels": 2}, {"perturb": "random"}, {"skip_penalty": "auxiliary"}]
    ):
        assert run(tmp_path / str(number), epochs=1, **options).history[-1]["alpha"] != plain


def test_a_grown_eigenvalue_ends_the_search_with_an_earlier_architecture(tmp_path: Path) -> None:
    ending = {"epochs": 12, "eigenvalue_start": 0, "eigenvalue_factor": 1.0001}
    suite = MethodChecks(
        tiny.config("darts"), tmp_path, settings=settings(**STOP, **ending, diagnostic_images=0)
    )
    result = suite.reference
    values = [row["eigenvalue"] for row in result.history]
    last = len(values) - 1
    assert result.history[-1].get("ended_early")
    assert last >= 6
    now, then = sum(values[last - 4 :]) / 5, values[max(0, last - 8) : last - 3]
    assert now > 1.0001 * sum(then) / len(then) > 0
    assert result.text == result.history[last - 6]["architecture"]


def test_every_method_says_in_a_sentence_what_it_does_not_take() -> None:
    on = {
        "partial_channels": 4,
        "edge_normalisation": "on",
        "perturb": "random",
        "stop_by_eigenvalue": True,
        "skip_penalty": "beta",
        "alpha_warmup": 0.5,
    }
    assert set(on) == set(EVERY)
    space = make("nasbench201")
    for info in methods().values():
        for name, value in on.items():
            asked = settings(**{name: value})
            if name in info.taken():
                assert regularised(info, info.config(), space, asked).regularisation.used
                continue
            with pytest.raises(MorphogenError, match=f"method '{info.name}' does not have"):
                regularised(info, info.config(), space, asked)


def test_what_a_method_takes_may_depend_on_its_configuration() -> None:
    info, space, asked = find("darts-prime"), make("nasbench201"), settings(perturb="random")
    assert regularised(info, info.config(), space, asked).regularisation.used == ("perturb",)
    with pytest.raises(MorphogenError, match="'darts-prime' does not have; accepted: one of darts"):
        regularised(info, info.config(activation="clipped"), space, asked)


def test_edges_are_normalised_with_partial_channels_where_that_is_possible() -> None:
    def made(method: str, asked: Settings) -> Settings:
        info = find(method)
        return regularised(info, info.config(), make("nasbench201"), asked)

    partial = settings(partial_channels=4)
    assert made("darts", partial).regularisation.edge_normalisation == "on"
    assert made("snas", partial).regularisation.edge_normalisation == "off"
    selected = tiny.changed(partial, select="perturbed-accuracy")
    assert made("darts", selected).regularisation.edge_normalisation == "off"
    assert made("darts", Settings()) == Settings()


def test_architectures_are_scored_in_a_supernet_of_partial_channels(tmp_path: Path) -> None:
    run(tmp_path / "trained", partial_channels=2, epochs=1)
    asked = settings(channels=4, evaluator="supernet", evaluations=2, partial_channels=2)
    found = search(
        "random",
        space="nasbench201",
        data=tiny.images(),
        settings=asked,
        start=tmp_path / "trained",
        run=tmp_path / "run",
        watcher=tiny.Told,
    )
    assert len(found.history) == 2
    with pytest.raises(MorphogenError, match="accepted: partial_channels 2"):
        search(
            "random",
            space="nasbench201",
            data=tiny.images(),
            settings=tiny.changed(asked, partial_channels=1),
            start=tmp_path / "trained",
            run=tmp_path / "other",
        )


def test_a_rule_of_selection_is_refused_where_the_strongest_alphas_are_asked_for() -> None:
    asked = settings(stop_by_eigenvalue=True, select="perturbed-accuracy")
    with pytest.raises(MorphogenError, match="accepted: select magnitude"):
        regularised(find("darts"), find("darts").config(), make("nasbench201"), asked)


def test_a_search_too_short_to_be_stopped_is_told_so() -> None:
    (said,) = remarks(settings(stop_by_eigenvalue=True, epochs=23))
    assert "after 23 epochs at the earliest" in said
    assert not list(remarks(settings(stop_by_eigenvalue=True, epochs=24)))
    assert not list(remarks(settings(epochs=3)))


def test_options_are_a_part_of_the_settings_from_python_too() -> None:
    made = Settings(regularisation={"partial_channels": 4, "perturb": "random"})  # type: ignore[arg-type]
    assert made.regularisation == Regularisation(partial_channels=4, perturb="random")
    assert made.regularisation.used == ("partial_channels", "perturb")
