"""Code for ONNX Runtime that its engines and the operator tests share; one file for each subject."""
