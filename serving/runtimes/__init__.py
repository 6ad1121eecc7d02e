"""Other formats of an exported model, one module per runtime (OpenVINO, ONNX, LiteRT); empty so far."""
