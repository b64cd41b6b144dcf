"""Pairs of texts as batches of ids: vocabularies, buckets, loss, metric, files."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import sounds
from morphogen import spaces
from morphogen.core.errors import CheckpointError, ConfigError, DataError
from morphogen.supernets import Gates, NetworkSpec
from morphogen.supernets.sequences import BEGIN, END, PAD, SPECIAL, UNKNOWN, positions
from morphogen.tasks.configs import task_configs
from morphogen.tasks.cut import Parts
from morphogen.tasks.kinds import config_for
from morphogen.tasks.problem import Local, Problem
from morphogen.tasks.sequences import Pairs, SequenceConfig, SequenceTask, Vocabulary
from morphogen.tasks.sequences.buckets import Buckets, rounded

TEXTS = ["Ein Mann fährt Fahrrad.", "Zwei Hunde; ein Ball!", "Ein  Hund\tund ein Mann "]


@pytest.fixture(scope="module")
def task():
    return sounds.task()


def test_a_batch_is_source_decoder_and_what_comes_next(task):
    rows = torch.tensor([3, 0, 7])
    (source, decoder), y, size = task.batch("train", rows)
    pairs = task.examples("train").pairs
    for i, row in enumerate(rows.tolist()):
        letters = task.source.ids([pairs.sources[row]])[0]
        sounds_ = task.target.ids([pairs.targets[row]])[0]
        assert [t for t in source[i].tolist() if t != PAD] == [*letters, END]
        assert [t for t in decoder[i].tolist() if t != PAD] == [BEGIN, *sounds_]
        assert [t for t in y[i].tolist() if t != PAD] == [*sounds_, END]
        assert task.target.texts([y[i].tolist()]) == [pairs.targets[row]]
    assert decoder.shape == y.shape
    assert size == int((y != PAD).sum())
    assert task.in_channels == len(SPECIAL) + 6 == task.outputs()


@pytest.mark.parametrize("way", ["bpe", "characters", "words"])
def test_a_vocabulary_gives_texts_back_and_is_the_same_again(way):
    held = Vocabulary.trained(TEXTS, way, 60)
    again = Vocabulary(Vocabulary.trained(iter(TEXTS), way, 60).text)
    assert held.text == again.text
    expected = [" ".join(t.split()) for t in TEXTS] if way == "words" else TEXTS
    assert held.texts(again.ids(TEXTS)) == expected
    assert max(i for row in held.ids(TEXTS) for i in row) < len(held) <= 60
    assert UNKNOWN in held.ids(["§"])[0]
    assert min(held.ids(["<end> <pad>"])[0]) >= UNKNOWN
    assert held.names([*held.ids(["Hund"])[0], END, UNKNOWN])[-1] != SPECIAL[END]


def test_a_hostile_vocabulary_is_refused():
    text = Vocabulary.trained(TEXTS, "words", 60).text
    slow = text.replace('"WhitespaceSplit"', '"Split","pattern":{"Regex":"(a+)+b"},"invert":false')
    for bad in ("", "{}", "[" * 10_000, text.replace("<begin>", "<start>"), None, slow):
        with pytest.raises(DataError, match="vocabulary"):
            Vocabulary(bad)


def test_vocabularies_know_the_training_part_alone():
    pairs = Pairs(["a b", "a c", "z z"], ["x", "y", "z"])
    ways = ("words", "words")
    task = SequenceTask("pairs", pairs, Parts(torch.tensor([0, 1]), torch.tensor([2])), ways=ways)
    assert task.source.ids(["z a"])[0][0] == UNKNOWN
    task.train_on_all()
    assert UNKNOWN not in task.source.ids(["z a"])[0]


def test_batches_of_an_epoch_hold_so_many_tokens_and_every_pair_once():
    task = sounds.task(400)
    stream = task.stream("train", 16, torch.Generator().manual_seed(0))
    lengths = task.examples("train").lengths
    budget = 16 * float(lengths.double().mean())
    seen = []
    sizes = []
    for _ in range(2):
        for _ in range(stream.steps_per_epoch):
            rows = stream._draw()
            assert len(rows) * int(rounded(lengths[rows]).max()) <= max(budget, 8 * 7)
            seen += rows.tolist()
            sizes.append(len(rows))
    n = stream.steps_per_epoch
    assert n == task.steps("train", 16)
    assert sorted(sizes[:n]) == sorted(sizes[n:])
    assert len(set(seen[: sum(sizes[:n])])) == sum(sizes[:n]) > 200 - 8
    assert seen[: sum(sizes[:n])] != seen[sum(sizes[:n]) :]
    assert torch.equal(rounded(torch.tensor([1, 15, 16, 17, 31, 33, 100])),
                       torch.tensor([1, 15, 16, 18, 32, 36, 104]))  # fmt: skip
    assert Buckets.of(torch.tensor([2, 9, 2, 2]), 2).sizes.tolist() == [2, 2]


def test_a_stream_of_another_order_is_refused(task):
    stream = task.stream("train", 8, torch.Generator().manual_seed(0))
    stream.next()
    state = stream.state_dict()
    with pytest.raises(CheckpointError, match="batches out of range"):
        stream.load_state_dict({**state, "turns": state["turns"] + 1})
    with pytest.raises(ConfigError, match="1, 2, 4 or 8 processes"):
        task.stream("train", 12, torch.Generator(), world=3)


def test_loss_and_accuracy_are_those_of_all_tokens(task):
    (_, _), y, size = task.batch("train", torch.arange(5))
    scores = torch.randn(*y.shape, task.outputs(), generator=torch.Generator().manual_seed(0))
    flat, true = scores[y != PAD], y[y != PAD]
    for train, smoothing in ((True, 0.1), (False, 0.0)):
        expected = nn.CrossEntropyLoss(label_smoothing=smoothing)(flat, true)
        assert torch.allclose(task.loss(scores, y, train=train), expected)
    sums = {**task.counts(scores, y)}
    assert task.value(sums) == pytest.approx(100 * float((flat.argmax(1) == true).float().mean()))
    assert int(sums["tokens"]) == size


def test_places_are_sinusoids():
    found = positions(5, 6, start=2)
    assert found[3, 0] == pytest.approx(torch.tensor(5.0).sin().item())
    assert found[3, 3] == pytest.approx(torch.tensor(5.0 * 10_000 ** (-2 / 6)).cos().item())
    assert positions(3, 5).shape == (3, 5)


def test_pairs_are_read_from_lines_and_tables(tmp_path):
    folder = sounds.written(tmp_path / "lines", {"train": 30, "test": 8})
    table = tmp_path / "pairs.parquet"
    held = sounds.pairs(30)
    columns = {"id": list(range(30)), "word": held.sources, "sound": held.targets}
    pq.write_table(pa.table(columns), table)
    options = {"ways": ("characters", "words")}
    lines = SequenceTask.of(folder, source="word", target="sound", **options)
    rows = SequenceTask.of(table, **options)  # the first two columns of text
    assert lines.pool.sources == rows.pool.sources == held.sources
    assert lines.contents() == rows.contents()
    assert lines.has_test
    assert not rows.has_test
    back = SequenceTask.of(folder, ways=("words", "characters"))
    assert back.sides == ("sound", "word")
    for data in (folder, str(table), held):
        assert config_for(data) is SequenceConfig
    other = [cls for cls in task_configs().values() if cls is not SequenceConfig]
    assert not any(cls.takes(str(folder)) or cls.takes(table) for cls in other)


def test_mistakes_are_said_in_a_sentence(tmp_path):
    folder = sounds.written(tmp_path / "lines", {"train": 30})
    with pytest.raises(DataError, match=r"source is 'de'; accepted .*: sound, word"):
        SequenceTask.of(folder, source="de")
    with pytest.raises(DataError, match="both 'word'"):
        SequenceTask.of(folder, source="word", target="word")
    (folder / "train.word").write_text("a\nb\n")
    with pytest.raises(DataError, match="30 lines of sound and 2 of word"):
        SequenceTask.of(folder)
    (folder / "train.word").write_bytes(b"\xff" * 10)
    with pytest.raises(DataError, match="UTF-8"):
        SequenceTask.of(folder)
    with pytest.raises(DataError, match="one target for each source"):
        Pairs(["a"], [])
    with pytest.raises(DataError, match="no pairs of texts"):
        SequenceTask.of(tmp_path)


def test_pairs_of_one_source_come_to_one_part_and_empty_ones_are_left_out(tmp_path):
    words = [f"w{i % 20}" for i in range(60)]
    task = SequenceTask.of(Pairs(words, [f"t{i}" for i in range(60)]), ways=("words", "words"))
    parts = [
        {task.pool.sources[i] for i in task.rows(part).tolist()} for part in ("train", "valid")
    ]
    assert not parts[0] & parts[1]
    pq.write_table(pa.table({"a": ["x", " ", None, "y"], "b": ["1", "2", "3", "4"]}),
                   tmp_path / "t.parquet")  # fmt: skip
    task = SequenceTask.of(tmp_path / "t.parquet", ways=("words", "words"))
    assert task.pool.sources == ("x", "y")
    assert any("2 of the 4 pairs" in remark for remark in task.remarks())


class Half(Local):
    """One of two processes; what both have is known."""

    world = 2

    def __init__(self, rank: int) -> None:
        self.rank, self.sizes = rank, [0.0, 0.0]

    def mean(self, tensors):
        return [torch.tensor(sum(self.sizes) / 2)]


def test_shares_with_unequally_many_tokens_have_the_joint_mean(task):
    """The mean over processes of what each descends is the loss of the joint batch."""
    space = spaces.make("dartsformer-small")
    spec = NetworkSpec(channels=48, depth=2, classes=task.outputs(), in_channels=task.in_channels)
    arch = space.parse("ffn,ffn/self_attention,glu:ffn,ffn/self_attention,glu")
    gates = Gates.of(space, arch)
    alone = Problem(space, task, spec, batch_size=8)
    net = alone.supernet()
    joint, batches, halves = alone.batch("train"), [], [Half(0), Half(1)]
    for half in halves:
        problem = Problem(space, task, spec, batch_size=8, devices=half)
        batches.append((problem, problem.batch("train")))
    for half in halves:
        half.sizes = [float(batch.size) for _, batch in batches]
    assert halves[0].sizes[0] != halves[0].sizes[1]
    with torch.no_grad():
        shares = [problem.loss(net, gates, batch) for problem, batch in batches]
        whole = alone.loss(net, gates, joint)
    assert float(sum(shares)) / 2 == pytest.approx(float(whole), rel=1e-5)
