"""The whole detector as an ONNX model, written operator by operator."""
