"""Other formats of an exported model, each run by a library that needs no TensorFlow for the network.

A version folder holds the network alone, from input features to probabilities: these libraries decode no JPEG file and
read no record. Whoever opens the folder prepares a clip with the TensorFlow code of
:mod:`serving.savedmodel.signatures`, as the SavedModel does.

* :mod:`~serving.runtimes.openvino`, :mod:`~serving.runtimes.onnx`, :mod:`~serving.runtimes.litert`: one module per
  format, which converts a network and runs it.
* :mod:`~serving.runtimes.int8`: networks in 8-bit integers, and the clips that they are calibrated with.
* :mod:`~serving.runtimes.converting`: writes a version of a format.
* :mod:`~serving.runtimes.loading`: opens a version of any of them.
* :mod:`~serving.runtimes.remote`, :mod:`~serving.runtimes.protocol`: a network that a server of the open inference
  protocol runs; tensors of that protocol. :mod:`~serving.runtimes.remote_grpc`,
  :mod:`~serving.runtimes.grpc_protocol`: the same over gRPC.
* :mod:`~serving.runtimes.settings`: the recorded properties of a version; packages that may be missing.
"""
