"""From two files of lines to what a network makes of a new word."""

import json

import pytest
import torch
from safetensors.torch import save_file

import morphogen
import sounds
import tiny
from morphogen import Training, spaces
from morphogen.cli import main
from morphogen.core.errors import DataError
from morphogen.runs.directory import RunDirectory
from morphogen.runs.weights import KEY, read_weights
from morphogen.spaces.transformer import USUAL

ARCH = "norm=pre;heads=2;feed_forward=2x;activation=relu"
TASK = {
    "name": "sequences",
    "source": "word",
    "target": "sound",
    "source_tokens": "characters",
    "target_tokens": "words",
}


def protocol(epochs, dropout=0.0):
    """Of a small Transformer."""
    return Training(
        epochs=epochs,
        batch_size=16,
        optimiser="adam",
        lr=0.01,
        warm_up=60,
        weight_decay=0.0,
        task=TASK,
        network={"channels": 32, "depth": 1, "dropout": dropout},
        hardware={"threads": 1},
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run of a training on two files, and their folder."""
    folder = tmp_path_factory.mktemp("sounds")
    data = sounds.written(folder / "data", {"train": 300, "val": 16, "test": 16})
    run = folder / "run"
    morphogen.train(ARCH, space="transformer", data=str(data), training=protocol(12), run=run)
    return run, data


def test_a_training_reaches_an_accuracy_and_error_rates(trained):
    run, _ = trained
    result = RunDirectory(run).result()
    names = [figure["name"] for figure in result["figures"]]
    assert names == ["token error rate", "sequence error rate", "repetition"]
    # Letters are turned around by a rule that this network learns: an error rate of chance is 80 %.
    assert result["test_token_accuracy"]["mean"] > 70
    assert result["figures"][0]["reached"]["mean"] < 50
    shown, _ = RunDirectory(run).inspect_examples()
    assert shown["head"] == ["word", "sound", "said"]
    held = sounds.pairs(16, seed=1)
    assert shown["rows"][0][:2] == [held.sources[0], held.targets[0]]
    page = morphogen.report(run).path.read_text()
    for text in ("token error rate", "edits over tokens", shown["rows"][0][2]):
        assert text in page


def test_a_file_that_says_something_else_of_its_texts_is_refused(trained, tmp_path):
    run, _ = trained
    tensors, signature = read_weights(run / "seed-0-best.safetensors")
    written = json.loads(signature.to_json())
    held = written["preparation"]
    large = json.loads(held["source"])
    words = large["model"]["vocab"]
    words["Ж"] = len(words)  # for which the network has no weights
    file = tmp_path / "model.safetensors"
    for changed, said in (
        (None, "longest None"),
        ({**held, "beam": 10**9}, "beam 1000000000"),
        ({**held, "source": "{}"}, "vocabulary of the file"),
        ({**held, "source": json.dumps(large)}, "fewer tokens"),
    ):
        other = json.dumps({**written, "preparation": changed})
        save_file(tensors, file, {KEY: other})
        with pytest.raises(DataError, match=said):
            morphogen.load(file).predict(["Ж"])


@pytest.mark.slow
def test_its_files_say_what_the_run_says(trained, capsys, tmp_path):
    run, _ = trained
    pytest.importorskip("onnxruntime")
    done = morphogen.export(run, ["onnx", "safetensors"])
    assert all(one.difference <= one.tolerance for one in done)
    lines = tmp_path / "words.txt"
    lines.write_text("abc\n\nfedc\n")
    assert main(["predict", str(run), "ddea", str(lines)]) == 0
    said = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    said = {word: text.strip() for word, text in said.items()}
    assert set(said) == {"ddea", "abc", "fedc"}
    for one in done:
        found = morphogen.predict(one.path, ["ddea", "fedc"])
        assert [answer.said for answer in found] == [said["ddea"], said["fedc"]]
    assert main(["predict", str(run), "abc", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["predictions"]
    assert written == [{"text": "abc", "said": said["abc"]}]
    with pytest.raises(DataError, match="a text is 3"):
        morphogen.load(run).predict([3])


def test_the_transformer_is_the_reference_and_counts_what_the_paper_counts():
    """Parameters of a layer by Vaswani et al.: 4 d^2 of attention, 2 d d_ff, norms and biases."""
    from morphogen.supernets import NetworkSpec, network

    space, d, v = spaces.make("transformer"), 64, 30
    net = network(space, space.parse(USUAL), NetworkSpec(channels=d, depth=2, classes=v,
                                                         in_channels=v))  # fmt: skip
    attention, feed, norm = 4 * (d * d + d), 2 * 4 * d * d + 5 * d, 2 * d
    layers = 2 * (attention + feed + 2 * norm) + 2 * (2 * attention + feed + 3 * norm)
    assert sum(p.numel() for p in net.parameters()) == layers + 2 * norm + 2 * v * d + v
    assert spaces.reference_of(space).architecture == space.parse(USUAL)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_no_score_depends_on_a_later_token_or_on_padding(norm):
    from morphogen.supernets import NetworkSpec, network

    space = spaces.make("transformer")
    torch.manual_seed(0)
    spec = NetworkSpec(channels=16, depth=2, classes=9, in_channels=9)
    arch = space.parse(f"norm={norm};heads=4;feed_forward=1x;activation=swish")
    net = network(space, arch, spec).eval()
    source, decoder = torch.tensor([[4, 5, 2]]), torch.tensor([[1, 6, 7, 8]])
    with torch.no_grad():
        scores = net(source, decoder)
        longer = net(torch.tensor([[4, 5, 2, 0, 0]]), torch.tensor([[1, 6, 4, 8, 0]]))
        cache, steps = net.start(net.encode(source)), []
        for ids in decoder.T:
            step, cache = net.step(ids, cache)
            steps.append(step)
    assert torch.allclose(longer[:, :2], scores[:, :2], atol=1e-5)
    assert not torch.allclose(longer[:, 2], scores[:, 2], atol=1e-3)
    assert torch.allclose(torch.stack(steps, 1), scores, atol=1e-5)


@pytest.mark.slow
def test_a_training_that_was_cut_off_ends_in_the_same_bits(tmp_path):
    data = sounds.written(tmp_path / "data", {"train": 80, "val": 8})
    given = {"space": "transformer", "data": str(data), "training": protocol(3, dropout=0.3)}
    morphogen.train(ARCH, run=tmp_path / "whole", **given)
    with pytest.raises(KeyboardInterrupt):
        morphogen.train(ARCH, run=tmp_path / "cut", watcher=tiny.Stop(epochs=1, steps=2), **given)
    morphogen.resume(tmp_path / "cut")
    tiny.assert_same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
def test_a_search_of_candidates_one_by_one_takes_pairs(tmp_path):
    """The space has no supernet: a gradient method says so, and random search trains networks."""
    data = sounds.written(tmp_path / "data", {"train": 80})
    words = ["--space", "transformer", "--data", str(data), "--channels", "16", "--threads", "1"]
    words += ["--source", "word", "--target", "sound", "--source-tokens", "characters"]
    words += ["--target-tokens", "words", "--batch-size", "8", "--run", str(tmp_path / "run")]
    assert main(["search", "gdas", *words]) == 2
    assert main(["search", "random", "--evaluations", "2", "--evaluation-epochs", "1", *words]) == 0
    assert RunDirectory(tmp_path / "run").result()["architecture"].startswith("norm=")
