"""The command line: what it says, what it refuses, and that a search survives an interrupt."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from morphogen import methods, spaces
from morphogen.cli import main
from morphogen.cli.catalogue import method_entries
from morphogen.cli.options import sections
from morphogen.engine.search.planning import speed
from morphogen.engine.search.presets import quick_config
from morphogen.proxies import PROXIES
from morphogen.tasks.configs import task_configs

SKIPS = (
    "|skip_connect~0|+|skip_connect~0|skip_connect~1|"
    "+|skip_connect~0|skip_connect~1|skip_connect~2|"
)
TINY = ["--epochs", "1", "--steps-per-epoch", "2", "--image-size", "8", "--channels", "4"]
TINY += ["--train-images", "200", "--valid-images", "200", "--diagnostic-images", "100"]
TINY += ["--threads", "1"]
NAMES = sorted(methods.methods())


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    """The one sentence that a mistake ends in."""
    assert main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("morphogen: ")
    assert err.count("\n") == 1
    return err


def flags(held: Any, prefix: str = "") -> list[str]:
    """The flags of a configuration; a switch's is the one that changes what holds without it."""
    out = []
    for field in dataclasses.fields(held):
        default = getattr(held, field.name)
        if dataclasses.is_dataclass(default):
            out += flags(default, f"{prefix}{field.name}.")
        else:
            off = "no-" if default is True else ""
            out.append(f"--{prefix}{off}{field.name.replace('_', '-')}")
    return out


BEYOND = {
    "cost": ["--channels", "--depth", "--classes", "--batch", "--rounds", "--threads"],
    "score": ["--sample", "--batch-size", "--image-size", "--channels", "--seed", "--workers"],
    "rank": ["--seed", "--bootstrap", "--sample", "--threads"],
    "compare": ["--seeds", "--budget", "--round-size", "--workers"],
    "predict": ["--top"],
}
"""Commands -> their numbers."""


@pytest.mark.parametrize(
    ("command", "flag"), [(name, flag) for name, known in BEYOND.items() for flag in known]
)
def test_a_number_beyond_all_reason_is_refused_at_once(command, flag, capsys):
    first = {
        "cost": ["nasbench201", SKIPS, "--latency"],
        "score": ["nasbench201", *([] if flag == "--sample" else ["--sample", "3"])],
        "rank": ["--column", "cifar10_valid_12"],
        "compare": ["random"],
        "predict": ["model.onnx", "image.png"],
    }[command]
    for value in ("9" * 30, "9" * 5000, "-1", "1e3", "\u0663", " 3", "nan"):
        text = refused(capsys, command, *first, flag, value)
        assert f"{flag} is " in text
        assert "accepted: a whole number from " in text
        assert len(text) < 500


# -- help and lists --------------------------------------------------------------------------------


SETTINGS = """
    --seed --epochs --steps-per-epoch --batch-size --without --limit --loggers --train-images
    --valid-images --image-size --no-flip --no-crop --label-smoothing --class-weights --channels
    --depth --execution --accelerator --devices --precision --threads --select --select-order
    --evaluator --evaluations --objectives --evaluation-epochs --evaluation-patience
    --evaluation-images --evaluation-norms --evaluation-recalibration --evaluation-proxy --table
    --metric --executor
    --workers --round-size --timeout --retries --ray-address --diagnostic-images"""
"""Of every search: they keep their names, whatever part of the settings holds them."""


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_method_has_every_field_of_its_configuration(name, capsys):
    text = said(capsys, "search", name, "--help")
    words = text.split()
    for flag in [*SETTINGS.split(), *flags(quick_config(methods.find(name)))]:
        assert flag in words
    assert method_entries()[name].algorithm in text
    assert all(len(line) <= 110 for line in text.splitlines())


def test_help_says_docstring_default_and_paper_value_of_an_option(capsys):
    text = " ".join(said(capsys, "search", "idarts", "--help").split())
    assert "T, weight steps per alpha step (paper: 4; NAS-Bench-1Shot1: 5) [default: 4]" in text
    assert "[default: 0.01; with --preset paper: 0.0003]" in text
    channels = spaces.info("nasbench201").search["network.channels"]
    assert f"[default: 8; with --preset paper: {channels}]" in text


@pytest.mark.parametrize("words", [(), ("--help",), ("help",)])
def test_help_without_a_command_names_every_command(words, capsys):
    text = said(capsys, *words)
    for command in ("search", "resume", "query", "list", "--version"):
        assert command in text


@pytest.mark.parametrize("command", ["search", "resume", "query", "list"])
def test_every_command_explains_itself(command, capsys):
    text = said(capsys, command, "--help")
    assert text.startswith(f"Usage: morphogen {command} ")
    assert "Examples:" in text


def test_catalogue_read_from_the_files_equals_the_registry():
    entries = method_entries()
    assert list(entries) == NAMES
    for name, info in methods.methods().items():
        entry = entries[name]
        assert (entry.paper, entry.reference, entry.epochs) == (
            info.paper,
            info.reference,
            info.epochs,
        )
        assert entry.needs == tuple(c.__name__ for c in info.needs)


def test_list_has_every_method_and_space_with_its_paper(capsys):
    for kind, names in (("methods", NAMES), ("spaces", list(spaces.registered()))):
        lines = said(capsys, "list", kind).splitlines()[1:]
        assert [line.split()[0] for line in lines] == names
        assert all("arXiv" in line for line in lines)
    shown = len(NAMES) + len(spaces.registered()) + len(PROXIES)
    shown += len(task_configs())
    assert len(said(capsys, "list").splitlines()) == shown + 7
    content = json.loads(said(capsys, "list", "--json"))
    assert [m["name"] for m in content["methods"]] == NAMES
    assert [s["name"] for s in content["spaces"]] == list(spaces.registered())
    known = {
        n: tuple(o.flags[0] for s in sections("", c(), name="") for o in s.options)
        for n, c in task_configs().items()
    }
    assert {d["name"]: tuple(d["options"]) for d in content["data"]} == known
    assert "methods" not in json.loads(said(capsys, "list", "spaces", "--json"))


def test_version(capsys):
    assert said(capsys, "--version").startswith("morphogen 0.")


# -- query -----------------------------------------------------------------------------------------


def test_query_of_the_cell_of_skips(capsys):
    text = said(capsys, "query", "nasbench201", SKIPS)
    (line,) = [row for row in text.splitlines() if row.startswith("  cifar10_test_200 ")]
    assert line.split() == ["cifar10_test_200", "54.30", "15,231", "2.5", "%", "94.37", "40.08"]
    assert "CIFAR-10 test; 200 epochs" in text
    assert "arXiv 2001.00326" in text
    assert "\x1b" not in text


def test_query_as_json(capsys):
    content = json.loads(
        said(capsys, "query", "nasbench201", SKIPS, "--json", "--metric=cifar10_test_200")
    )
    assert content["architecture"] == SKIPS
    (metric,) = content["metrics"].values()
    assert metric["value"] == pytest.approx(54.2967, abs=1e-4)
    assert (metric["rank"], metric["of"], metric["split"]) == (15231, 15625, "test")
    assert metric["regret"] == pytest.approx(metric["optimum"] - metric["value"])


def test_query_says_that_a_cell_is_disconnected(capsys):
    text = said(capsys, "query", "nasbench201", SKIPS.replace("skip_connect", "none"))
    assert "Note: the cell is disconnected" in text


def test_query_list_and_help_import_no_torch():
    program = (
        "import sys; from morphogen.cli import main; main([])\n"
        "assert not {'numpy', 'pydantic', 'rich'} & set(sys.modules)\n"  # the overview is at once
        f"main(['query', 'nasbench201', '{SKIPS}']); main(['list']); main(['search', '-h'])\n"
        "main(['search', 'nothing']); main(['query', 'nothing', 'x'])\n"
        "sys.exit('torch' in sys.modules or 'tyro' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, "54.30" in done.stdout) == (0, True)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("serch idarts", ["unknown command 'serch'", "did you mean 'search'?"]),
        ("search idart", ["unknown method 'idart'", "did you mean 'idarts'?"]),
        ("search --space dart", ["unknown space 'dart'", "did you mean 'darts'?"]),
        ("search --time soon", ["time is 'soon'", "accepted: 20s to 30 days"]),
        ("search gdas --time 2m", ["unknown option --time"]),
        ("search idarts --epoch 3", ["unknown option --epoch;", "did you mean --epochs?"]),
        ("search idarts --weights.lrr 3", ["did you mean --weights.lr?"]),
        ("search idarts --epochs x", ["--epochs is 'x'", "a whole number"]),
        ("search idarts --epochs", ["--epochs has no value"]),
        ("search idarts --epochs 0", ["epochs is 0", "greater than or equal to 1"]),
        ("search idarts --alpha.lr -1", ["lr is -1.0", "greater than 0"]),
        ("search idarts --preset qick", ["--preset is 'qick'", "quick, paper"]),
        ("search idarts extra", ["unexpected argument extra"]),
        ("search idarts --space nasbench20", ["unknown space", "did you mean 'nasbench201'?"]),
        ("search random --preset paper --space shufflenet-small", ["preset 'paper' has no sizes"]),
        ("search idarts --data nowhere/at/all", ["nowhere/at/all", "no such file or folder"]),
        ("query nasbench201", ["ARCH missing"]),
        ("query nasbench20 x", ["unknown space", "did you mean 'nasbench201'?"]),
        ("query darts DARTS_V2", ["no benchmark table", "nasbench-macro"]),
        ("query nasbench-macro 1212", ["1212"]),
        ("query nasbench-macro 12121212 --metric test_ac", ["did you mean 'test_acc'?"]),
        ("query nasbench-macro 12121212 x", ["unexpected argument 'x'"]),
        ("query nasbench-macro 12121212 --jsn", ["did you mean --json?"]),
        ("query nasbench-macro 12121212 --metric", ["--metric has no value"]),
        ("query nasbench-macro 12121212 --json=1", ["--json takes no value"]),
        ("query nasbench-macro 12121212 --metric=", ["--metric is empty; accepted: a value, or"]),
        ("query nasbench-macro 12121212 --metric --json", ["--metric has no value"]),
        ("search idarts --limit=", ["--limit is empty"]),
        ("search idarts --epochs=", ["--epochs is empty"]),
        ("search idarts --run --json", ["--run has no value"]),
        ("search idarts @options", ["unexpected argument @options"]),
        ("search idarts --accelerator tpu", ["--accelerator is 'tpu'", "cpu, cuda, mps, auto"]),
        ("search idarts --precision 16-true", ["--precision is '16-true'", "bf16-mixed"]),
        ("search idarts --weights.lr 1e300", ["lr is 1e+300; accepted: less than or equal to"]),
        ("search idarts --weights.lr nan", ["lr is nan; accepted: "]),
        ("search random --timeout inf", ["timeout is inf; accepted: "]),
        ("list method", ["unknown list 'method'", "did you mean 'methods'?"]),
    ],
)
def test_a_mistake_is_one_sentence(words, parts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sentence = refused(capsys, *words.split())
    for part in parts:
        assert part in sentence
    assert not list(tmp_path.glob("runs/*"))  # nothing is left behind


def test_empty_words_are_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "RUN... is empty" in refused(capsys, "report", "")
    assert "ARCH is empty" in refused(capsys, "query", "nasbench201", "")
    assert "--limit is empty" in refused(capsys, "search", "random", "--limit", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
def test_words_that_no_shell_passes_are_refused(word, capsys):
    assert "is no text" in refused(capsys, "report", "run", "--out", word)
    assert "is no text" in refused(capsys, word)


def test_folders_deeper_than_python_calls_are_looked_into(tmp_path, capsys):
    made = [tmp_path / "d"]
    made[0].mkdir()
    for _ in range(sys.getrecursionlimit() + 200):
        made.append(Path(f"{made[-1]}/d"))
        os.mkdir(made[-1])
    try:
        assert json.loads(said(capsys, "runs", str(tmp_path), "--json")) == {
            "runs": [],
            "damaged": [],
        }
    finally:
        for path in reversed(made):
            os.rmdir(path)


def test_of_an_option_given_twice_the_last_counts_and_it_is_said(capsys):
    words = ["query", "nasbench-macro", "12121212", "--metric", "params", "--metric=test_acc"]
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    assert list(json.loads(out)["metrics"]) == ["test_acc"]
    assert err == "note: --metric is given twice; the last counts\n"


def test_underscores_are_dashes_in_every_command(capsys):
    words = ["compare", "random", "--seeds", "1", "--budget", "2", "--round_size", "2"]
    assert json.loads(said(capsys, *words, "--workers", "1", "--json"))["round_size"] == 2


def test_resume_of_nothing_is_refused(capsys, tmp_path):
    assert "holds no run" in refused(capsys, "resume", str(tmp_path / "none"), code=4)


# -- searching -------------------------------------------------------------------------------------


def test_search_reports_what_it_found_and_refuses_to_write_over_it(capsys, tmp_path):
    run = str(tmp_path / "run")
    text = said(capsys, "search", "idarts", "--run", run, *TINY)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert f"\n  {result['architecture']}\n" in text
    assert "epoch 1/1  train loss " in text
    words = " ".join(text.split())
    own = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())["recalibrated_accuracy"]
    own_place = words.index(f"on the search-validation part: {own:.4g} (one seed, no interval)")
    assert own_place < words.index("table says of it, on other data than these (accuracy")
    assert "looked up now, never during the search" in words
    for data in ("CIFAR-10 ", "CIFAR-100 ", "ImageNet16-120 "):
        assert f"\n  {data}" in text
    assert f"Run directory: {run}" in text
    assert "\x1b" not in text
    assert "holds a run already" in refused(capsys, "search", "idarts", "--run", run, code=4)
    again = json.loads(said(capsys, "resume", run, "--json"))  # finished: shown again
    assert again["architecture"] == result["architecture"]


def test_a_search_says_when_its_table_has_most_before_what_it_found(capsys, tmp_path):
    words = ["search", "random", "--evaluator", "table", "--evaluations", "1", "--seed", "2"]
    assert main([*words, "--run", str(tmp_path / "run")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    (rank,) = re.findall(r"CIFAR-10 [0-9.]+ ([0-9,]+) of 15,625", said)
    before = f"{int(rank.replace(',', '')) - 1:,}"
    assert f"has {before} of its 15,625 architectures before this one (CIFAR-10 test" in said
    assert "table says of it (accuracy" in said
    assert "On these data" not in said  # those of the table


def test_search_as_json_keeps_stdout_for_the_result(capsys, tmp_path):
    words = ["search", "random", "--run", str(tmp_path / "run"), "--json"]
    assert main([*words, "--evaluator", "table", "--evaluations", "5"]) == 0
    out, err = capsys.readouterr()
    content = json.loads(out)
    assert content["method"] == "random"
    assert content["run"] == str(tmp_path / "run")
    assert set(content["table"]) == {
        "cifar10_test_200",
        "cifar100_test_200",
        "imagenet16_120_test_200",
    }
    assert err.count("\narchitecture ") == 5


def test_flags_override_a_preset(capsys, tmp_path):
    run = tmp_path / "run"
    words = ["search", "darts", "--preset", "paper", "--depth", "1", "--alpha.betas", "0.1", "0.9"]
    said(capsys, *words, "--weights.no-nesterov", "--run", str(run), *TINY)
    config = (run / "config.yaml").read_text()
    assert "lr: 0.0003" in config  # the paper's alpha, where quick has 0.01
    assert "nesterov: false" in config
    assert "depth: 1" in config
    assert "- 0.1\n" in config


def test_what_was_typed_is_kept_by_a_plan_though_it_is_as_usual(monkeypatch, capsys, tmp_path):
    """The usual values, as words and with `=`, underscores and a switch; and the next seed's."""
    for name in ("step", "pace"):
        monkeypatch.setattr(speed.Speed, name, lambda *_, **__: 1e-3)
    usual = ["--channels", "8", "--image_size=16", "--flip", "--seeds=3", "--weights.lr", "0.05"]
    path = tmp_path / "run"
    short = ["--epochs", "1", "--candidates", "0", "--threads", "1", "--steps-per-epoch", "2"]
    text = said(capsys, "search", "--time", "20s", *usual, *short, "--run", str(path))
    values = yaml.safe_load((path / "config.yaml").read_text())
    names = {"network.channels", "task.image_size", "task.flip", "seeds", "weights.lr"}
    assert names <= set(values["kept"])
    assert not names & set(values["planned"])
    assert values["settings"]["network"]["channels"] == 8
    assert values["settings"]["task"]["image_size"] == 16
    assert (values["config"]["seeds"], values["config"]["weights"]["lr"]) == (3, 0.05)
    (again,) = (line for line in text.splitlines() if line.startswith("  morphogen search"))
    for words in ("--channels 8", "--image-size 16", "--flip", "--seeds 3", "--weights.lr 0.05"):
        assert words in again


def test_report_names_the_command_for_another_seed(capsys, tmp_path):
    words = ["search", "idarts", *TINY, "--alpha.betas", "0.1", "0.9", "--weights.no-nesterov"]
    text = said(capsys, *words, "--official-noise", "--run", str(tmp_path / "a"))
    again = text.splitlines()[-1].split()
    assert again[:3] == ["morphogen", "search", "idarts"]
    assert again[again.index("--seed") + 1] == "1"
    said(capsys, *again[1:], "--run", str(tmp_path / "b"))
    first, second = (yaml.safe_load((tmp_path / r / "config.yaml").read_text()) for r in ("a", "b"))
    assert first["config"] == second["config"]
    assert {**first["settings"], "seed": 1} == second["settings"]


def test_interrupted_search_names_the_command_that_finishes_it(tmp_path, capsys):
    words = [sys.executable, "-m", "morphogen", "search", "darts", "--run", "run", *TINY]
    words[words.index("--diagnostic-images") + 1] = "0"
    words[words.index("--epochs") + 1] = "6"  # long enough not to end before the signal comes
    search = subprocess.Popen(
        words,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell runs in the background inherit that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    search.send_signal(signal.SIGINT)
    out, err = search.communicate(timeout=60)
    assert search.returncode == 130
    assert err == (
        "morphogen: interrupted; nothing finished is lost; continue with: morphogen resume run\n"
    )
    assert "\x1b" not in out
    text = said(capsys, "resume", str(tmp_path / "run"))
    assert "epoch 6/6" in text
    assert "after 6 epochs" in text


def test_a_fault_in_a_run_is_told_in_its_directory(tmp_path, capsys, monkeypatch):
    from morphogen.cli.command import Command
    from morphogen.cli.commands import list as listing
    from morphogen.cli.interruptible import interruptible

    (tmp_path / "config.yaml").write_text("{}")

    def fail(given: Any) -> int:
        with interruptible(tmp_path):
            raise ZeroDivisionError("no way")

    monkeypatch.setattr(listing, "COMMAND", Command("list", "", "", (), fail))
    assert str(tmp_path / "fault.txt") in refused(capsys, "list", code=70)
    assert "ZeroDivisionError: no way" in (tmp_path / "fault.txt").read_text()


def test_the_same_in_five_lines_of_python(tmp_path):
    import morphogen

    tiny = morphogen.Settings(
        epochs=1,
        steps_per_epoch=1,
        split={"train_images": 200, "valid_images": 200},
        task={"image_size": 8},
        network={"channels": 4},
        diagnostics={"images": 0},
    )
    result = morphogen.search("darts", settings=tiny, run=tmp_path / "run")
    record = morphogen.benchmarks.of(result.space).query(result.architecture)
    assert record.text == result.text


def test_import_of_the_package_waits_for_torch_and_offers_its_names():
    program = (
        "import sys, morphogen; assert 'torch' not in sys.modules\n"
        "assert all(getattr(morphogen, n) is not None for n in morphogen.__all__)\n"
        "assert set(morphogen.__all__) <= set(dir(morphogen))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent)
