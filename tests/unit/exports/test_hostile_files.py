"""A file from elsewhere runs no code, reaches no other file, and takes no more than it holds."""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open
from safetensors.torch import save_file

import morphogen
from morphogen import spaces
from morphogen.core import DataError
from morphogen.exports import onnxfile
from morphogen.runs.weights import Signature, Size, write_weights
from morphogen.supernets import network

ARCH = "|skip_connect~0|+|none~0|none~1|+|none~0|none~1|nor_conv_1x1~2|"
SIGNATURE = Signature(
    space={"name": "nasbench201"},
    architecture=ARCH,
    spec=Size(channels=2, depth=1, classes=3, in_channels=1),
    classes=("a", "b", "c"),
    kind="images",
    channels=1,
    size=8,
    mean=(0.25,),
    std=(0.5,),
    origin={},
)
IMAGE = np.arange(64, dtype=np.uint8).reshape(8, 8)


# -- ONNX ------------------------------------------------------------------------------------------


def graph() -> onnx.ModelProto:
    """Scores `mean * (1, 2, 3)` of an image's mean after normalisation, in four operators."""
    weights = numpy_helper.from_array(np.array([[1, 2, 3]], np.float32), "w")
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["scores"]),
    ]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])],
        initializer=[weights],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"morphogen": SIGNATURE.to_json()})
    return model


def onnx_file(path: Path, change: Callable[[onnx.ModelProto], Any] = lambda model: None) -> Path:
    """The graph in a file, after a change."""
    model = graph()
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def elsewhere(name: str = "w") -> TensorProto:
    """A tensor whose data are in a file of the user's."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1, 3])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "secret"), ("offset", "0"), ("length", "12")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def in_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(elsewhere())


def said_only_half(model: onnx.ModelProto) -> None:
    """A place without the mark that it holds, which one reader may heed and another not."""
    model.graph.initializer[0].external_data.add(key="location", value="secret")


def in_constant(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=elsewhere("c")))


def in_list_of_tensors(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("spare", [elsewhere("c")]))


def branch(name: str) -> onnx.GraphProto:
    out = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3])
    return helper.make_graph([], name, [], [out], initializer=[elsewhere(name)])


def in_subgraph(model: onnx.ModelProto) -> None:
    yes = numpy_helper.from_array(np.array(True), "yes")
    model.graph.initializer.append(yes)
    model.graph.node.append(
        helper.make_node("If", ["yes"], ["c"], then_branch=branch("p"), else_branch=branch("q"))
    )


def in_function(model: onnx.ModelProto) -> None:
    opset = [helper.make_opsetid("", 18)]
    body = [helper.make_node("Constant", [], ["y"], value=elsewhere("y"))]
    model.functions.append(helper.make_function("mine", "f", [], ["y"], body, opset))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.graph.node.append(helper.make_node("f", [], ["c"], domain="mine"))


def in_sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add(values=elsewhere("s"), dims=[10**6, 10**6])


@pytest.mark.parametrize(
    "change",
    [
        in_initializer,
        said_only_half,
        in_constant,
        in_list_of_tensors,
        in_subgraph,
        in_function,
        in_sparse,
    ],
)
def test_onnx_reads_no_other_file(
    change: Callable[[onnx.ModelProto], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where onnxruntime would look
    np.array([7, 8, 9], np.float32).tofile("secret")
    path = onnx_file(tmp_path / "m.onnx", change)
    with pytest.raises(DataError, match=r"in another file|sparse tensor"):
        morphogen.load(path)


def test_an_honest_graph_runs(tmp_path: Path) -> None:
    """Also with a function of its own; by hand: the mean of 0..63 is 31.5."""
    mean = (31.5 / 255 - 0.25) / 0.5
    expected = np.exp(mean * np.array([1, 2, 3]))
    for name, change in (("plain", lambda model: None), ("function", with_function)):
        model = morphogen.load(onnx_file(tmp_path / f"{name}.onnx", change))
        (found,) = model.predict([IMAGE])
        assert list(found.probabilities.values()) == pytest.approx(expected / expected.sum())


def with_function(model: onnx.ModelProto) -> None:
    opset = [helper.make_opsetid("", 18)]
    body = [helper.make_node("MatMul", ["a", "b"], ["c"])]
    model.functions.append(helper.make_function("mine", "product", ["a", "b"], ["c"], body, opset))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.graph.node[2].op_type, model.graph.node[2].domain = "product", "mine"


def foreign_operator(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node.append(helper.make_node("EPContext", [], ["c"], domain="com.microsoft"))


def other_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 10**9


def two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def other_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4


def fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def no_shape(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.Clear()


def no_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Nothing"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (foreign_operator, "'EPContext' of 'com.microsoft'"),
        (other_input, "takes images of shape .*1000000000"),
        (two_inputs, "takes 'images', 'more' where"),
        (other_output, r"gives scores of shape \[4\]"),
        (fixed_batch, "takes images"),
        (no_shape, "takes images"),
        (no_operator, "cannot be run"),
    ],
)
def test_onnx_of_another_kind_is_a_sentence(
    change: Callable[[onnx.ModelProto], Any], message: str, tmp_path: Path
) -> None:
    path = onnx_file(tmp_path / "m.onnx", change)
    with pytest.raises(DataError, match=f"{message}.*; accepted: "):
        morphogen.load(path)


def test_a_graph_that_asks_for_memory_it_cannot_have(tmp_path: Path) -> None:
    def terabytes(model: onnx.ModelProto) -> None:
        shape = numpy_helper.from_array(np.array([10**13], np.int64), "s")
        model.graph.initializer.append(shape)
        model.graph.node.pop()
        model.graph.node.append(helper.make_node("ConstantOfShape", ["s"], ["much"]))
        model.graph.node.append(helper.make_node("ReduceSum", ["much"], ["one"], keepdims=1))
        model.graph.node.append(helper.make_node("MatMul", ["flat", "w"], ["all"]))
        model.graph.node.append(helper.make_node("Add", ["all", "one"], ["scores"]))

    with pytest.raises(DataError, match=r"fails|cannot be run"):
        morphogen.load(onnx_file(tmp_path / "m.onnx", terabytes)).predict([IMAGE])


def test_scores_that_are_no_numbers_are_a_sentence(tmp_path: Path) -> None:
    def infinite(model: onnx.ModelProto) -> None:
        weights = np.array([[1, np.inf, 3]], np.float32)
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))

    with pytest.raises(DataError, match="not finite"):
        morphogen.load(onnx_file(tmp_path / "m.onnx", infinite)).predict([IMAGE])


# -- the description -------------------------------------------------------------------------------


def weights_file(
    path: Path, about: Any = None, change: Callable[[dict[str, Any]], Any] = lambda tensors: None
) -> Path:
    """A file of weights with another description, or other tensors."""
    space = spaces.make("nasbench201")
    net = network(space, space.parse(ARCH), SIGNATURE.network_spec)
    write_weights(path, net, SIGNATURE, set(net.state_dict()))
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors)
    text = SIGNATURE.to_json() if about is None else about
    save_file(tensors, path, {"morphogen": text if isinstance(text, str) else json.dumps(text)})
    return path


def described(*, spec: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The honest description with some entries changed."""
    held: dict[str, Any] = json.loads(SIGNATURE.to_json())
    return held | changes | {"spec": held["spec"] | (spec or {})}


HUGE = 10**9
DESCRIPTIONS: dict[str, Any] = {
    "channels of the network": described(spec={"channels": HUGE}),
    "depth": described(spec={"depth": HUGE}),
    "classes of the network": described(spec={"classes": HUGE}),
    "channels of the image": described(channels=HUGE, spec={"in_channels": HUGE}),
    "image size": described(size=HUGE),
    "no size": described(size=0),
    "size of another type": described(size="8"),
    "size is true": described(size=True),
    "stem": described(spec={"stem": "__import__"}),
    "std of zero": described(std=[0.0]),
    "std is no number": '{"std": [NaN]}',
    "mean is infinite": SIGNATURE.to_json().replace("[0.25]", "[Infinity]"),
    "mean of two channels": described(mean=[0.5, 0.5]),
    "number of classes": described(classes=["a", "b"]),
    "class twice": described(classes=["a", "b", "b"]),
    "class is a number": described(classes=["a", "b", 3]),
    "class of ten megabytes": described(classes=["a", "b", "c" * 10**7]),
    "no classes": described(classes=[]),
    "another format": described(format=1),
    "unknown entry": described(more=1),
    "a list": [],
    "no JSON": "{",
    "nested": "[" * 100_000,
    "nested origin": SIGNATURE.to_json().replace("{}", '{"a":' * 5000 + "1" + "}" * 5000),
    "number of thousands of digits": SIGNATURE.to_json().replace(
        '"size": 8', f'"size": {"9" * 9999}'
    ),
}


@pytest.mark.parametrize("about", DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_a_description_is_checked_before_anything_is_built(about: Any, tmp_path: Path) -> None:
    path = weights_file(tmp_path / "m.safetensors", about)
    with pytest.raises(DataError, match="no readable description of its network") as caught:
        morphogen.load(path)
    assert len(str(caught.value)) < 2000


def test_an_honest_description_is_read(tmp_path: Path) -> None:
    model = morphogen.load(weights_file(tmp_path / "m.safetensors"))
    assert model.classes == ("a", "b", "c")
    assert sum(model.predict([IMAGE])[0].probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (described(spec={"channels": 9999}), r"torch\.float32 \[9999, "),  # gigabytes, if built
        (described(spec={"depth": 1000}), "no network of depth 1000"),
        (described(architecture=ARCH.replace("none", "nor_conv_3x3")), "is missing"),
        (described(architecture="|" * 10**5), "accepted"),
        (described(space={"name": "mine", "code": "module", "choices": []}), "of your own module"),
    ],
)
def test_a_description_of_another_network(about: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(morphogen.MorphogenError, match=message):
        morphogen.load(weights_file(tmp_path / "m.safetensors", about))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(more=torch.zeros(1)), "'more' is none of its own"),
        (lambda t: t.pop("stem.0.weight"), r"'stem.0.weight' is missing"),
        (lambda t: t.update({"stem.0.weight": torch.zeros(2, 1, 5, 5)}), r"\[2, 1, 5, 5\], of"),
        (lambda t: t.update({"stem.0.weight": t["stem.0.weight"].double()}), "is torch.float64"),
        (lambda t: t["stem.0.weight"].fill_(float("nan")), "not finite"),
    ],
)
def test_weights_that_do_not_fit(change: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        morphogen.load(weights_file(tmp_path / "m.safetensors", change=change))


# -- torch.export ----------------------------------------------------------------------------------


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (self.trace.touch, ())


def test_a_program_is_not_loaded(tmp_path: Path) -> None:
    """It is not even opened; beside another format it is passed over."""
    path, trace = tmp_path / "model.pt2", tmp_path / "trace"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data/constants/custom_obj_0", pickle.dumps(Bomb(trace)))
        archive.writestr("model/data/sample_inputs/model.pt", pickle.dumps(Bomb(trace)))
    for given in (path, tmp_path):
        with pytest.raises(DataError, match=r"a program.*accepted: an \.onnx or \.safetensors"):
            morphogen.load(given)
    weights_file(tmp_path / "model.safetensors")
    assert morphogen.load(tmp_path).path.name == "model.safetensors"
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors", ".pt", ".pth", ".PT2", ".zip"])
def test_a_program_under_another_name(suffix: str, tmp_path: Path) -> None:
    path, trace = tmp_path / f"model{suffix}", tmp_path / "trace"
    torch.save({"w": Bomb(trace)}, path)
    with pytest.raises(DataError, match="accepted"):
        morphogen.load(path)
    assert not trace.exists()


def test_a_folder_gives_what_can_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx_file(tmp_path / "model.onnx")
    weights_file(tmp_path / "model.safetensors")
    assert morphogen.load(tmp_path).path.suffix == ".onnx"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    monkeypatch.setattr(onnxfile, "find_spec", lambda name: None)
    assert morphogen.load(tmp_path).path.suffix == ".safetensors"


# -- inputs of a task of one's own -----------------------------------------------------------------


def tensors(example: Any) -> dict[str, Any]:
    """The description of a network with such inputs."""
    size = {"channels": 1, "depth": 1, "classes": 0, "in_channels": 0}
    return {
        **{"space": {"name": "own"}, "architecture": "a=b", "spec": size, "classes": []},
        **{"kind": "tensors", "example": example, "origin": {}},
    }


def test_described_inputs_name_those_of_a_graph() -> None:
    example = {"tokens": "int64 [*]", "more": ["float32 [3, 4]", "bool []"]}
    signature = Signature.from_json(json.dumps(tensors(example)), "a file")
    assert onnxfile.inputs(signature) == {
        "input_tokens": [None],
        "input_more_0": [3, 4],
        "input_more_1": [],
    }


@pytest.mark.parametrize(
    "example",
    [
        None,
        "float32 [3",
        "object [3]",
        "float32 [100000000]",
        [],
        json.loads("[" * 400 + "]" * 400),
    ],
)
def test_described_inputs_take_no_more_than_networks_do(example: Any) -> None:
    with pytest.raises(DataError, match="no readable description of its network"):
        Signature.from_json(json.dumps(tensors(example)), "a file")
