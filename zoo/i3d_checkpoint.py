"""The published I3D weights: reads a TensorFlow checkpoint in DeepMind's naming into any model with I3D towers.

The checkpoint trained on ImageNet and Kinetics-400 is published with the code of the paper (Carreira and Zisserman,
CVPR 2017) at https://github.com/google-deepmind/kinetics-i3d, folder ``data/checkpoints/rgb_imagenet``:
``model.ckpt.data-00000-of-00001``, ``model.ckpt.index`` and ``checkpoint``. Its variables are called
``RGB/inception_i3d/<endpoint>/.../conv_3d/w`` and ``.../batch_norm/{beta,moving_mean,moving_variance}``; our layers
have the same names with "." for "/".
"""

import re

import tensorflow as tf

from zoo.registry import ZooError

SCOPE = "RGB/inception_i3d"
HEAD = "Logits/Conv3d_0c_1x1/conv_3d"
_VARIABLES = {"conv_3d": ("w",), "batch_norm": ("beta", "moving_mean", "moving_variance")}
_LAYER = re.compile(r"(?:^|\.)((?:Conv3d|Mixed)_.*\.(conv_3d|batch_norm))$")  # any tower's prefix, then the endpoint
_NOT_WEIGHTS = ("global_step",)
_NAMED = 5  # variables an error names before it only counts


def variable_names(layer):
    """Names in the checkpoint of a layer's weights, in the layer's order; none if it is no layer of I3D.

    Example:
        >>> import zoo
        >>> model = zoo.build("i3d", num_classes=4, frames=8, size=32, width=0.125)
        >>> variable_names(model.get_layer("Mixed_3b.Branch_0.Conv3d_0a_1x1.conv_3d"))
        ['RGB/inception_i3d/Mixed_3b/Branch_0/Conv3d_0a_1x1/conv_3d/w']
    """
    match = _LAYER.search(layer.name)
    if not match:
        return []
    path, kind = match.groups()
    return [f"{SCOPE}/{path.replace('.', '/')}/{variable}" for variable in _VARIABLES[kind]]


def load(model, path):
    """Reads a checkpoint into every I3D tower of a model.

    A classifier with as many classes and inputs as the checkpoint's is read too; another keeps its weights, as do all
    layers that are not I3D's.

    Args:
        model: A model of full width with I3D layers.
        path: The checkpoint, without ``.index``.

    Returns:
        Whether the classifier was read too.

    Raises:
        ZooError: No such checkpoint, a variable is missing, of another shape or not known; the model is unchanged.
    """
    try:
        reader = tf.train.load_checkpoint(str(path))
        shapes = reader.get_variable_to_shape_map()
    except (tf.errors.OpError, ValueError) as error:
        raise ZooError(f"{path}: not a TensorFlow checkpoint that can be read: {_one_line(error)}") from error
    shapes = {name: tuple(shape) for name, shape in shapes.items() if name not in _NOT_WEIGHTS}
    wanted = {layer.name: variable_names(layer) for layer in model.layers if variable_names(layer)}
    if not wanted:
        raise ZooError(f"{model.name} has no I3D layers to read {path} into")
    head = [f"{SCOPE}/{HEAD}/{variable}" for variable in ("w", "b")]
    classifier = model.get_layer("classifier")
    head_fits = [tuple(weight.shape) for weight in classifier.weights] == [shapes.get(name) for name in head]
    _compare({name for names in wanted.values() for name in names} | set(head), set(shapes), path)
    values = {}
    for layer, names in wanted.items():
        want = [tuple(weight.shape) for weight in model.get_layer(layer).weights]
        for name, shape in zip(names, want):
            if shapes[name] != shape:
                raise ZooError(f"{path}: {name} is {list(shapes[name])}, but layer {layer} expects {list(shape)}")
        try:
            values[layer] = [reader.get_tensor(name) for name in names]
        except tf.errors.OpError as error:
            raise ZooError(f"{path}: {names[0]} cannot be read: {_one_line(error)}") from error
    if head_fits:
        values["classifier"] = [reader.get_tensor(name) for name in head]
    for layer, weights in values.items():
        model.get_layer(layer).set_weights(weights)
    return head_fits


def _compare(expected, found, path):
    missing, extra = sorted(expected - found), sorted(found - expected)
    for what, names in (("lacks", missing), ("has the unknown", extra)):
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            raise ZooError(f"{path}: {what} {', '.join(names[:_NAMED])}{more}: not the published I3D checkpoint")


def _one_line(error):
    return " ".join(str(error).split())[:300]
