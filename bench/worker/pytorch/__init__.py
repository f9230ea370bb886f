"""PyTorch models: loading, generation of text and transcription of speech for the engine `torch`."""
