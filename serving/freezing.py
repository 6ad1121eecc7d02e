"""A network's graph with its weights at half the size, or frozen: constants of a graph made ready for a CPU.

Half the size means the kernels: tensors of two axes and more are stored as float16 or bfloat16 and cast back, so all is
still computed in float32. Biases and the statistics of batch normalisation stay as they are; they are few, and a
variance may not fit into float16. The cast is part of the graph: of a frozen one TensorFlow folds casts away when it
warms up, but for the largest kernels.

Freezing turns variables into constants, folds what depends on them alone (batch normalisation becomes part of the
convolution before it), and leaves out what inference does not need.
"""

import itertools

PRECISIONS = ("float32", "float16", "bfloat16")
_KERNEL_AXES = 2
_count = itertools.count()  # of rewritten functions in this process


def rewrite(function, *, precision="float32", freeze=False):
    """The same function of a rewritten graph.

    Args:
        function: A concrete function of a dictionary of tensors that returns a dictionary of tensors.
        precision: How kernels are stored, one of :data:`PRECISIONS`.
        freeze: Whether weights become constants of an optimised graph. Without it kernels are variables still.

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
    from tensorflow.python.framework import convert_to_constants  # the one place it has

    specs = function.structured_input_signature[0][0]
    outputs = sorted(function.structured_outputs)  # the order in which TensorFlow flattens dictionaries
    frozen = convert_to_constants.convert_variables_to_constants_v2(function, lower_control_flow=False)
    fetches = [tensor.name for tensor in frozen.outputs]
    feeds = [tensor.name for tensor in frozen.inputs]
    graph = _optimised(frozen, fetches) if freeze else frozen.graph.as_graph_def()
    _rename_functions(graph, f"rewritten_{next(_count)}")
    stored = {} if precision == "float32" else _kernels(graph, tf.as_dtype(precision))
    if not freeze:
        stored = {name: tf.Variable(value, trainable=False) for name, value in stored.items()}

    @tf.function(input_signature=[specs])
    def rewritten(fed):
        given = {name: fed[key] for name, key in zip(feeds, sorted(fed))}
        given.update({f"{name}:0": tf.cast(value, tf.float32) for name, value in stored.items()})
        return dict(zip(outputs, tf.graph_util.import_graph_def(graph, given, fetches, name="network")))

    for called in graph.library.function:  # importing a graph makes them known to that graph alone
        context.context().add_function_def(called)
    rewritten.get_concrete_function()
    return rewritten


def _rename_functions(graph, suffix):
    """Gives the functions of a graph (bodies of loops) other names: those they have belong to the unchanged ones."""
    names = {function.signature.name: f"{function.signature.name}_{suffix}" for function in graph.library.function}
    for function in graph.library.function:
        function.signature.name = names[function.signature.name]
    for node in [*graph.node, *(node for function in graph.library.function for node in function.node_def)]:
        node.op = names.get(node.op, node.op)
        for value in node.attr.values():
            for called in [value.func, *value.list.func] if value.HasField("func") else value.list.func:
                called.name = names.get(called.name, called.name)


def _kernels(graph, dtype):
    """Name -> value of the graph's kernels, in another type; they are taken out of the graph.

    The nodes stay, with nothing in them: an edge into the graph takes the place of each.
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
