"""A package that is not ours adds a space in one file: that of the page on adding a space."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tiny
from documents import blocks
from morphogen import spaces
from morphogen.cli import main
from morphogen.core import ConfigError, UnknownNameError
from morphogen.engine.search.search import resume, search
from morphogen.spaces import registry
from morphogen.supernets import Gates, NetworkSpec, base, build, network

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-space.md"
SETTINGS = tiny.changed(
    tiny.SETTINGS, epochs=1, steps_per_epoch=1, evaluations=2, evaluation_epochs=1
)

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a package of one module where pip would, with its entry point."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", f"{site}:{':'.join(sys.path)}")  # of processes, too
    monkeypatch.setattr(registry, "_REGISTRY", dict(spaces.registered()))
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))
    modules = []

    def put(name: str, code: str) -> None:
        info = site / f"nas_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: nas-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[morphogen.spaces]\n{name} = nas_{name}\n")
        (site / f"nas_{name}.py").write_text(code)
        importlib.invalidate_caches()
        modules.append(f"nas_{name}")

    yield put
    for module in modules:
        sys.modules.pop(module, None)


def test_it_is_made_listed_searched_trained_and_reported(
    install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("pyramid", blocks(PAGE.read_text(encoding="utf-8"))[0])
    assert "nas_pyramid" not in sys.modules
    space = spaces.make("pyramid")
    assert space.size() == len(space.enumerate()) == 27
    assert spaces.read(json.loads(json.dumps(space.to_mapping()))) == space
    arch = space.parse("5-3")
    assert space.format(arch) == "5-3"

    # The supernet at a vertex is the architecture's own network with its weights.
    spec = NetworkSpec(channels=2, classes=4, in_channels=1)
    supernet, alone = build(space, spec).eval(), network(space, arch, spec).eval()
    held = supernet.state_dict()
    for key, value in alone.state_dict().items():
        first, _, rest = key.partition(".")
        own = {"0": "stem", "6": "classifier"}.get(first, "")
        own = own or f"layers.{int(first) - 1}.{arch.one(f'layer_{first}')}"
        value.copy_(held[f"{own}.{rest}"])
    x = tiny.images(8).pixels.float()
    assert (alone(x) - supernet(x, Gates.of(space, arch, "cpu"))).abs().max() < 1e-4

    for method in ("random", tiny.config("gdas")):
        run = tmp_path / f"run-{method if isinstance(method, str) else 'gdas'}"
        data = tiny.images()
        found = search(method, space="pyramid", data=data, settings=SETTINGS, run=run)
        assert resume(run, data=data).text == found.text
        assert main(["report", str(run)]) == 0
        assert "Layers from input to output" in (run / "report.html").read_text()
    capsys.readouterr()
    assert main(["list", "spaces"]) == 0
    out, err = capsys.readouterr()
    (line,) = [line for line in out.splitlines() if line.startswith("  pyramid ")]
    assert "Three layers: a convolution of 3x3 or 5x5 in each, or none; 27 architectures" in line
    assert err == ""


def test_a_package_that_cannot_be_imported_breaks_nothing_but_itself(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("broken", "import no_such_module\n")
    install("leaves", "raise SystemExit\n")
    install("taken", "from morphogen import spaces\n\n@spaces.register('darts')\ndef mine(): ...\n")
    assert spaces.make("darts").name == "darts"
    assert main(["list", "spaces"]) == 0
    out, err = capsys.readouterr()
    assert "  darts " in out
    first, second, third = err.splitlines()
    assert first.startswith("morphogen: warning: nas-broken adds 'broken' to morphogen.spaces and")
    assert "No module named 'no_such_module'" in first
    assert "SystemExit" in second
    assert "space 'darts' is registered twice" in third
    with pytest.raises(ConfigError, match="nas-broken adds 'broken'"):
        spaces.make("broken")
    with pytest.raises(UnknownNameError, match="unknown space 'hexagon'"):
        spaces.make("hexagon")


def test_nothing_of_others_is_imported_for_a_name_of_ours(install: Install) -> None:
    install("loud", "print('imported')\n")
    code = "from morphogen import spaces; print(spaces.make('darts').name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "darts\n"
