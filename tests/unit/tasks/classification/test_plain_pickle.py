"""A pickle without its power: plain values as Python reads them, and nothing else, at no cost."""

import pickle
import pickletools
import time

import numpy as np
import pytest

from morphogen.tasks.classification.readers.plain_pickle import Call, Name, unpickle

DTYPE = Name("numpy", "dtype")
NOTHING: frozenset[Name] = frozenset()


def value(rng: np.random.Generator, depth: int = 0):
    """Any plain value."""
    kind = rng.integers(12 if depth < 3 else 9)
    if kind < 3:
        bound = 2 ** int(rng.choice([3, 7, 15, 31, 62]))
        return int(rng.integers(-bound, bound)) * (10**60 if rng.integers(9) == 0 else 1)
    if kind == 3:
        return float(rng.normal())
    if kind == 4:
        return [None, True, False, "", (), [], {}][rng.integers(7)]
    if kind < 7:
        return "".join(chr(c) for c in rng.integers(1, 0x2000, rng.integers(300)))
    if kind < 9:
        return "plain\\text 'quoted'\n" * int(rng.integers(4))
    inside = [value(rng, depth + 1) for _ in range(rng.integers(5))]
    if kind == 9:
        return inside
    return tuple(inside) if kind == 10 else {f"key {i}": v for i, v in enumerate(inside)}


@pytest.mark.parametrize("protocol", range(5))
def test_plain_values_are_what_pickle_reads(protocol):
    rng = np.random.default_rng(protocol)
    for _ in range(200):
        expected = value(rng)
        found = unpickle(pickle.dumps(expected, protocol), NOTHING)
        assert found == expected
        assert repr(found) == repr(expected)  # True is not 1


@pytest.mark.parametrize("length", [0, 9, 300])
@pytest.mark.parametrize("protocol", [3, 4])
def test_bytes_are_bytes(length, protocol):
    expected = bytes(range(256)) * 2
    assert unpickle(pickle.dumps(expected[:length], protocol), NOTHING) == expected[:length]


def test_text_of_python_2_is_bytes():
    for data in (b"S'a\\xe9\\n'\n.", b"U\x03a\xe9\n.", b"T\3\0\0\0a\xe9\n."):
        assert unpickle(data, NOTHING) == b"a\xe9\n" == pickle.loads(data, encoding="bytes")


def test_shared_values_stay_shared():
    inner = [1]
    found = unpickle(pickle.dumps([inner, inner], 2), NOTHING)
    assert found[0] is found[1]


def test_an_admitted_call_is_noted_and_not_made():
    found = unpickle(pickle.dumps(np.dtype("u1"), 2), frozenset({DTYPE}))
    assert isinstance(found, Call)
    assert found.name == DTYPE
    assert found.arguments == ("u1", False, True)
    assert found.state[1] == "|"


POWERS = {
    *("PERSID", "BINPERSID", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"),
    *("EMPTY_SET", "ADDITEMS", "FROZENSET", "BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER"),
}


def test_instructions_with_power_are_unknown():
    unknown = set()
    for op in pickletools.opcodes:
        code = op.code.encode("latin-1")
        try:
            unpickle(code + bytes(20), NOTHING)
        except ValueError as error:
            if f"it asks for the instruction {code!r}," in str(error):
                unknown.add(op.name)
    assert unknown == POWERS


BINPUT = b"\x80\x02Nr\xff\xff\xff\x7f."
KEYS = b"\x80\x02}(" + b")" + b"q\0h\0\x86" * 200 + b"Nu."  # a tuple whose hash takes 2^200 steps


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (KEYS, "a tuple as a key"),
        (b"\x8d" + b"\xff" * 8, "breaks off"),
        (b"T\xff\xff\xff\xff.", "breaks off"),
        (b"T\xff\xff\xff\x7f.", "breaks off"),
        (b"\x8b\xff\xff\xff\x7f.", "breaks off"),
        (b"I" + b"9" * 10_000 + b"\n.", "Exceeds the limit"),
        (b"e.", "is not there"),
        (b"(e.", "is not there"),
        (b"N(0R.", "is not there"),
        (b"NNR.", "calls what is no name"),
        (b"N}b.", "has a NoneType where a Call belongs"),
        (b"}(Nu.", "a key without a value"),
        (b"cos\nsystem\n.", "asks for 'os.system'"),
        (b"\x8c\x02os\x8c\x07sys\x1b[0m\x93.", r"asks for 'os.sys\\x1b\[0m'"),
        (b"NN\x93.", "a name that is no text"),
        (b"j\0\0\0\1.", "is not there"),
        (b"", "breaks off"),
    ],
)
def test_attacks_are_one_sentence_at_once(data, says):
    start = time.process_time()
    with pytest.raises(ValueError, match=says):
        unpickle(data, NOTHING)
    assert time.process_time() - start < 1


def test_a_place_in_memory_costs_no_more_than_itself():
    assert unpickle(BINPUT, NOTHING) is None  # Python's own unpickler takes 32 GiB for it


def test_depth_and_shared_references_cost_their_length():
    deep = unpickle(b"(" * 100_000 + b"t" * 100_000 + b".", NOTHING)
    laughs = unpickle(b"]" + b"q\0]h\0ah\0a" * 500 + b".", NOTHING)  # lists of twice the one before
    assert len(deep) == 1
    assert len(laughs) == 2


def test_damage_anywhere_is_a_value_or_a_refusal():
    rng = np.random.default_rng(0)
    whole = pickle.dumps({"data": np.arange(9, dtype=np.uint8), "labels": list(range(9))}, 2)
    admitted = frozenset({DTYPE, Name("_codecs", "encode"), Name("numpy", "ndarray")})
    outcomes = set()
    for _ in range(2000):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 3):
            data[at] = rng.integers(256)
        try:
            unpickle(bytes(data), admitted)
            outcomes.add("value")
        except ValueError:
            outcomes.add("refusal")
    assert "refusal" in outcomes
