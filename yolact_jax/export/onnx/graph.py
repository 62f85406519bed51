"""Builds an ONNX graph by computing with values that stand for its tensors.

    >>> graph = Graph()
    >>> x = graph.input("x", np.float32, ("n", 3))
    >>> graph.output("y", apply("Relu", x) * 2.0, np.float32, ("n", 3))

Each operation adds a node.  Numbers and arrays among its inputs become constants of the
graph: a Python float is a float32, an integer an int64, an array has its own type.
"""

import contextlib
import hashlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

OPSET = 18
"""Of ONNX 1.13, which ONNX Runtime reads from 1.14 on; newer ones bring no gain."""

IR_VERSION = 8
_BIG = 64  # bytes; larger constants are shared by their digest
_EXTRA = 'pip install "yolact_jax[onnx]"'


def library(name: str) -> Any:
    """Imports onnx or onnxruntime, which only these files need.

    Raises:
      ValueError: naming the extra, if it is missing.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ValueError(
            f".onnx files need the {package} package: {_EXTRA}."
        ) from error


class Value:
    """A tensor of a graph.  Its operators are those of NumPy, element by element."""

    def __init__(self, graph: "Graph", name: str):
        self.graph, self.name = graph, name

    def __add__(self, other: Any) -> "Value":
        return apply("Add", self, other)

    def __sub__(self, other: Any) -> "Value":
        return apply("Sub", self, other)

    def __rsub__(self, other: Any) -> "Value":
        return apply("Sub", other, self)

    def __mul__(self, other: Any) -> "Value":
        return apply("Mul", self, other)

    def __truediv__(self, other: Any) -> "Value":
        return apply("Div", self, other)

    def __floordiv__(self, other: Any) -> "Value":
        """Divides int64 values of at least 0."""
        return apply("Div", self, other)

    def __gt__(self, other: Any) -> "Value":
        return apply("Greater", self, other)

    def __ge__(self, other: Any) -> "Value":
        return apply("GreaterOrEqual", self, other)

    def __lt__(self, other: Any) -> "Value":
        return apply("Less", self, other)

    def __le__(self, other: Any) -> "Value":
        return apply("LessOrEqual", self, other)

    def __and__(self, other: Any) -> "Value":
        return apply("And", self, other)

    def __or__(self, other: Any) -> "Value":
        return apply("Or", self, other)

    def __invert__(self) -> "Value":
        return apply("Not", self)


class Graph:
    """The nodes, constants, inputs and outputs of a model while it is written."""

    def __init__(self):
        self._helper = library("onnx.helper")
        self._nodes: list[Any] = []
        self._constants: dict[Any, tuple[str, np.ndarray]] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._defaults: dict[str, np.ndarray] = {}
        self._count = 0

    def input(
        self,
        name: str,
        dtype: Any,
        shape: Sequence[int | str],
        default: np.ndarray | None = None,
    ) -> Value:
        """Adds an input; one with a default may be left out when the model runs."""
        self._inputs.append(self._info(name, dtype, shape))
        if default is not None:
            self._defaults[name] = default.astype(dtype)
        return Value(self, name)

    def output(
        self, name: str, value: Value, dtype: Any, shape: Sequence[int | str]
    ) -> None:
        """Names a value as an output."""
        self._nodes.append(self._helper.make_node("Identity", [value.name], [name]))
        self._outputs.append(self._info(name, dtype, shape))

    def constant(self, content: Any) -> Value:
        """Adds an array or a number; equal ones are stored once."""
        array = _as_array(content)
        data = array.tobytes()
        content_key = data if len(data) <= _BIG else hashlib.sha256(data).digest()
        key = (array.dtype.str, array.shape, content_key)
        if key not in self._constants:
            self._constants[key] = self._new_name("constant"), array
        return Value(self, self._constants[key][0])

    def node(
        self, kind: str, inputs: Sequence[Any], outputs: int, **attributes: Any
    ) -> list[Value]:
        """Adds a node, and returns its outputs; None leaves out an optional input."""
        names = [self._new_name(kind.lower()) for _ in range(outputs)]
        given = ["" if x is None else self._value(x).name for x in inputs]
        self._nodes.append(self._helper.make_node(kind, given, names, **attributes))
        return [Value(self, name) for name in names]

    def loop(
        self, most: int, carried: Value, body: Callable[[Value], tuple[Value, Value]]
    ) -> Value:
        """Repeats ``carried, again = body(carried)`` until not `again`.

        Args:
          most: rounds at most.
          carried: float32, of any shape, which stays.
          body: may use other values of the graph.
        """
        step, going, old = (self._new_name(n) for n in ("step", "going", "carried"))
        with self._collecting() as nodes:
            new, again = body(Value(self, old))
        make, rank_unknown = self._info, None
        graph = self._helper.make_graph(
            nodes,
            self._new_name("body"),
            [
                make(step, np.int64, ()),
                make(going, np.bool_, ()),
                make(old, np.float32, rank_unknown),
            ],
            [
                make(again.name, np.bool_, ()),
                make(new.name, np.float32, rank_unknown),
            ],
        )
        start = np.asarray(True)
        return self.node("Loop", [most, start, carried], 1, body=graph)[0]

    def model(self, name: str, metadata: dict[str, str]) -> Any:
        """Returns the `onnx.ModelProto`, checked, with the shapes of all its tensors.

        Raises:
          onnx.checker.ValidationError: if a node breaks the rules of its operator.
          onnx.shape_inference.InferenceError: if shapes or types do not fit.
        """
        to_tensor = library("onnx.numpy_helper").from_array
        constants = [*self._constants.values(), *self._defaults.items()]
        graph = self._helper.make_graph(
            self._nodes,
            name,
            self._inputs,
            self._outputs,
            [to_tensor(array, name) for name, array in constants],
        )
        model = self._helper.make_model(
            graph,
            producer_name="yolact_jax",
            opset_imports=[self._helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        self._helper.set_model_props(model, metadata)
        infer = library("onnx.shape_inference").infer_shapes
        model = infer(model, check_type=True, strict_mode=True, data_prop=True)
        library("onnx.checker").check_model(model)
        return model

    def _value(self, content: Any) -> Value:
        return content if isinstance(content, Value) else self.constant(content)

    def _new_name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"

    def _info(self, name: str, dtype: Any, shape: Sequence[int | str] | None) -> Any:
        kind = self._helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self._helper.make_tensor_value_info(name, kind, shape)

    @contextlib.contextmanager
    def _collecting(self) -> Iterator[list[Any]]:
        """Collects the nodes of the body of a loop apart."""
        outer, self._nodes = self._nodes, []
        yield self._nodes
        self._nodes = outer


def apply(kind: str, *inputs: Any, **attributes: Any) -> Value:
    """Adds a node of one output, at least one of whose inputs is a `Value`."""
    return apply_many(kind, *inputs, outputs=1, **attributes)[0]


def apply_many(kind: str, *inputs: Any, outputs: int, **attributes: Any) -> list[Value]:
    """Adds a node of several outputs."""
    graph = next(x.graph for x in inputs if isinstance(x, Value))
    return graph.node(kind, inputs, outputs, **attributes)


def _as_array(content: Any) -> np.ndarray:
    dtype = np.float32 if isinstance(content, float) else None
    return np.asarray(content, dtype, order="C")
