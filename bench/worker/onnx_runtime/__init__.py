"""Everything about ONNX Runtime that its engine and its operator tests share; one file for each subject."""
