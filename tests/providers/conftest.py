"""Real providers, each tested by the interpreter of its own runtime."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

# The small visits of the worker's own tests.
sys.path.insert(0, str(Path(__file__).parent.parent / "worker"))
# The plugin reads it when it is loaded; a machine with a GPU uses that all the same.
os.environ["ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER"] = "1"


def _has_openvino() -> bool:
    if find_spec("onnxruntime") is None:
        return True  # then it is skipped with the reason
    import onnxruntime

    return "OpenVINOExecutionProvider" in onnxruntime.get_available_providers()


# Every runtime of ONNX Runtime has a package of that name, but only one of them has OpenVINO in it.
collect_ignore = [] if _has_openvino() else ["test_openvino.py"]
