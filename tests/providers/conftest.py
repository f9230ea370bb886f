"""Real providers, each tested by the interpreter of its own runtime: elsewhere its file is not collected.

A run that names a file whose provider is missing collects nothing, which pytest counts as a failure.
"""

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
        return False
    import onnxruntime

    return "OpenVINOExecutionProvider" in onnxruntime.get_available_providers()


HERE = {
    "test_openvino.py": _has_openvino(),
    "test_qnn.py": find_spec("onnxruntime_qnn") is not None,
    "test_webgpu.py": find_spec("onnxruntime_ep_webgpu") is not None,
}
collect_ignore = [name for name, here in HERE.items() if not here]
