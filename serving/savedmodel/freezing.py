"""Rewrites a network's graph: stores weights in half the size, or freezes them into a graph optimised for a CPU.

Half the size applies to kernels, the tensors with two or more axes. They are stored as float16 or bfloat16, and the
graph casts them back, so the computation stays in float32. Biases and the statistics of batch normalisation keep their
type: they are few, and a variance may not fit into float16. In a frozen graph TensorFlow folds the casts when it warms
up, except those of the largest kernels.

Freezing turns variables into constants, folds what depends on them alone (batch normalisation becomes part of the
convolution before it), and removes what inference does not need. The convolutions of a frozen graph, and the layers
between them, can be computed in bfloat16, for processors that have instructions for it. Attention, recurrent and linear
layers stay in float32.
"""

from __future__ import annotations

import collections
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

PRECISIONS = ("float32", "float16", "bfloat16")
COMPUTED = ("float32", "bfloat16")
_KERNEL_AXES = 2
_CONVOLUTIONS = ("Conv2D", "Conv3D")
_BETWEEN = ("BiasAdd", "Relu", "MaxPool", "MaxPool3D", "ConcatV2")  # between convolutions; at least as exact as these
_count = itertools.count()  # of rewritten functions in this process


def as_stored(
    function: tf.types.experimental.GenericFunction,
    *,
    precision: str = "float32",
    freeze: bool = False,
    compute: str = "float32",
) -> tf.types.experimental.GenericFunction:
    """A function as an export stores it: rewritten, or unchanged if nothing is to be rewritten.

    Args:
        function: A ``tf.function`` with an input signature, as :func:`rewrite` takes its concrete function.
        precision: As for :func:`rewrite`, as are the other two.
        freeze: The same.
        compute: The same.

    Returns:
        A ``tf.function`` of the same signature.
    """
    if precision == "float32" and not freeze:
        return function
    return rewrite(function.get_concrete_function(), precision=precision, freeze=freeze, compute=compute)


def rewrite(
    function: Any, *, precision: str = "float32", freeze: bool = False, compute: str = "float32"
) -> tf.types.experimental.GenericFunction:
    """The same function with a rewritten graph.

    Args:
        function: A concrete function of a dictionary of tensors that returns a dictionary of tensors.
        precision: How kernels are stored, one of :data:`PRECISIONS`.
        freeze: Whether weights become constants of an optimised graph. Without it kernels stay variables.
        compute: Type that convolutions of a frozen graph are computed in, one of :data:`COMPUTED`.

    Returns:
        A ``tf.function`` of the same signature.

    Example:
        >>> import tensorflow as tf
        >>> kernel = tf.Variable([[2.0], [1.0]])
        >>> double = tf.function(lambda fed: {"y": tf.matmul(fed["x"], kernel)})
        >>> traced = double.get_concrete_function({"x": tf.TensorSpec([None, 2], tf.float32, "x")})
        >>> rewrite(traced, freeze=True)({"x": tf.constant([[1.0, 3.0]])})["y"].numpy().tolist()
        [[5.0]]
    """
    import tensorflow as tf
    from tensorflow.python.eager import context
    from tensorflow.python.framework import convert_to_constants  # not in TensorFlow's public API

    specs = function.structured_input_signature[0][0]
    outputs = sorted(function.structured_outputs)  # the order in which TensorFlow flattens dictionaries
    frozen = convert_to_constants.convert_variables_to_constants_v2(function, lower_control_flow=False)
    fetches = [tensor.name for tensor in frozen.outputs]
    feeds = [tensor.name for tensor in frozen.inputs]
    graph = _folded(_optimised(frozen, fetches)) if freeze else frozen.graph.as_graph_def()
    if compute == "bfloat16":
        _convolve_in_bfloat16(graph, {name.partition(":")[0] for name in fetches})
    _rename_functions(graph, f"rewritten_{next(_count)}")
    stored = {} if precision == "float32" else _kernels(graph, tf.as_dtype(precision))
    if not freeze:
        stored = {name: tf.Variable(value, trainable=False) for name, value in stored.items()}

    @tf.function(input_signature=[specs])
    def rewritten(fed):
        given = {name: fed[key] for name, key in zip(feeds, sorted(fed))}
        given.update({f"{name}:0": tf.cast(value, tf.float32) for name, value in stored.items()})
        return dict(zip(outputs, tf.graph_util.import_graph_def(graph, given, fetches, name="network")))

    for called in graph.library.function:  # importing a graph registers them in that graph alone
        context.context().add_function_def(called)
    rewritten.get_concrete_function()
    return rewritten


def _rename_functions(graph, suffix):
    """Renames the functions of a graph (bodies of loops), whose names the unchanged graph uses already."""
    names = {function.signature.name: f"{function.signature.name}_{suffix}" for function in graph.library.function}
    for function in graph.library.function:
        function.signature.name = names[function.signature.name]
    for node in [*graph.node, *(node for function in graph.library.function for node in function.node_def)]:
        node.op = names.get(node.op, node.op)
        for value in node.attr.values():
            for called in [value.func, *value.list.func] if value.HasField("func") else value.list.func:
                called.name = names.get(called.name, called.name)


def _kernels(graph, dtype):
    """Name -> value of the graph's kernels, in another type; their values are removed from the graph.

    The nodes stay as placeholders: an input replaces each when the graph is imported.
    """
    import tensorflow as tf

    kernels = {}
    for node in graph.node:
        tensor = node.attr["value"].tensor if node.op == "Const" else None
        if tensor and tensor.dtype == tf.float32.as_datatype_enum and len(tensor.tensor_shape.dim) >= _KERNEL_AXES:
            kernels[node.name] = tf.cast(tf.make_ndarray(tensor), dtype).numpy()
            tensor.CopyFrom(tf.make_tensor_proto(0.0))
    return kernels


def _optimised(frozen, fetches):
    """The ``GraphDef`` of a function without variables, constants folded."""
    import tensorflow as tf
    from tensorflow.python.grappler import tf_optimizer

    graph = tf.compat.v1.train.export_meta_graph(graph_def=frozen.graph.as_graph_def(), graph=frozen.graph)
    kept = graph.collection_def["train_op"].node_list.value  # where grappler looks for what it must keep
    kept.extend(name.partition(":")[0] for name in fetches)
    config = tf.compat.v1.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    rewriting.min_graph_nodes = -1
    rewriting.optimizers.extend(["constfold", "dependency"])
    return tf_optimizer.OptimizeGraph(config, graph)


def _folded(graph):
    """A frozen graph whose batch normalisations are part of the convolution before them: its kernel and a bias.

    Constant folding has done this where Keras writes them as products and sums; this does it for the fused operation.
    """
    import tensorflow as tf

    nodes = {node.name: node for node in graph.node}
    uses = collections.Counter(_owner(name) for node in graph.node for name in node.input)
    for node in list(graph.node):
        if node.op != "FusedBatchNormV3" or node.attr["T"].type != tf.float32:
            continue
        convolution, *statistics = (nodes[_owner(name)] for name in node.input[:5])
        if convolution.op not in _CONVOLUTIONS or uses[convolution.name] > 1:
            continue
        given = [nodes[convolution.input[1]], *statistics]
        if any(tensor.op != "Const" for tensor in given):
            continue
        kernel, gamma, beta, mean, variance = (tf.make_ndarray(tensor.attr["value"].tensor) for tensor in given)
        scale = gamma / np.sqrt(variance + node.attr["epsilon"].f)
        convolution.input[1] = _constant(graph, f"{node.name}/kernel", kernel * scale)  # its last axis: the filters
        bias = _constant(graph, f"{node.name}/bias", beta - mean * scale)
        del node.input[1:5]
        node.input.insert(1, bias)
        _change_operation(node, "BiasAdd")
    _remove_unused(graph)
    return graph


def _convolve_in_bfloat16(graph, fetched):
    """Computes a frozen graph's convolutions, and what is between them, in bfloat16.

    TensorFlow can do this itself, but then the machine that runs the graph decides, and attention is included.

    Args:
        graph: The ``GraphDef``, which is changed.
        fetched: Names of nodes whose outputs stay float32.
    """
    import tensorflow as tf

    nodes = {node.name: node for node in graph.node}
    for node in graph.node:  # Keras 3 writes a bias as a sum, and a sum is not fused with the convolution
        if node.op == "AddV2":
            left, right = (nodes[_owner(name)] for name in node.input[:2])
            if (
                left.op in _CONVOLUTIONS
                and _shape(right)
                and _shape(right) == _shape(nodes[_owner(left.input[1])])[-1:]
            ):
                _change_operation(node, "BiasAdd")

    chosen = {node.name for node in graph.node if node.op in _CONVOLUTIONS and node.attr["T"].type == tf.float32}
    chosen -= fetched
    size = 0
    while len(chosen) > size:
        size = len(chosen)
        for node in graph.node:
            data = [name for name in node.input if name[0] != "^" and nodes[_owner(name)].op != "Const"]
            if data and node.op in _BETWEEN and node.name not in fetched and chosen.issuperset(data):
                chosen.add(node.name)

    casts = {}

    def cast(name, dtype):
        if name not in casts:
            node = graph.node.add(name=f"{name.replace(':', '_')}/{dtype.name}", op="Cast", input=[name])
            node.attr["SrcT"].type = (tf.float32 if dtype == tf.bfloat16 else tf.bfloat16).as_datatype_enum
            node.attr["DstT"].type = dtype.as_datatype_enum
            casts[name] = node.name
        return casts[name]

    for node in list(graph.node):
        for i, name in enumerate(node.input):
            given = nodes[_owner(name)]
            if name[0] == "^":  # a control input, no tensor
                continue
            if node.name not in chosen:
                node.input[i] = cast(name, tf.float32) if given.name in chosen else name
            elif given.op != "Const":
                node.input[i] = name if given.name in chosen else cast(name, tf.bfloat16)
            elif given.attr["dtype"].type == tf.float32:
                value = tf.make_ndarray(given.attr["value"].tensor)
                node.input[i] = _constant(graph, f"{node.name}/{i}", value, tf.bfloat16)
        if node.name in chosen:
            node.attr["T"].type = tf.bfloat16.as_datatype_enum
    _remove_unused(graph)


def _owner(name):
    """Name of the node that an input comes from."""
    return name.lstrip("^").partition(":")[0]


def _shape(node):
    """Sizes of a constant's axes; empty for another node."""
    return [dim.size for dim in node.attr["value"].tensor.tensor_shape.dim] if node.op == "Const" else []


def _change_operation(node, op):
    """Changes the operation of a node and keeps no attribute but its type."""
    dtype = node.attr["T"].type
    node.op = op
    node.attr.clear()
    node.attr["T"].type = dtype


def _constant(graph, name, value, dtype="float32"):
    """Adds a constant to a graph and returns its name."""
    import tensorflow as tf

    dtype = tf.as_dtype(dtype)
    node = graph.node.add(name=name, op="Const")
    node.attr["dtype"].type = dtype.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value.astype(dtype.as_numpy_dtype)))
    return name


def _remove_unused(graph):
    """Removes constants that no node uses."""
    used = {_owner(name) for node in graph.node for name in node.input}
    kept = [node for node in graph.node if node.op != "Const" or node.name in used]
    del graph.node[:]
    graph.node.extend(kept)
