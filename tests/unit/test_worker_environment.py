"""What a worker process gets of the user's environment: what libraries need, and no secret."""

from __future__ import annotations

import subprocess
import sys

import pytest
from matrices import a_matrix

from bench.prepare import worker_environment
from bench.prepare.worker_code import child_environment
from bench.prepare.worker_environment import inherited, named_by

# fmt: off
SECRETS = [
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "GITHUB_TOKEN", "GH_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
    "AWS_PROFILE", "AZURE_CLIENT_SECRET", "OPENAI_API_KEY", "PIP_INDEX_URL", "UV_INDEX", "NVIDIA_API_KEY",
    "TORCH_HUB_PASSWORD", "SSH_AUTH_SOCK", "ACTIONS_RUNTIME_TOKEN", "KUBECONFIG", "NGC_APIKEY", "CUDA_LICENSE_KEY",
    "DATABASE_URL", "MY_SERVER_KEY",
]
# fmt: on
# fmt: off
NEEDED = [
    "PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD", "CUDA_VISIBLE_DEVICES", "CUDA_HOME",
    "OMP_NUM_THREADS", "KMP_AFFINITY", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "HF_HOME", "XDG_CACHE_HOME",
    "VK_DRIVER_FILES", "VK_ICD_FILENAMES", "MESA_SHADER_CACHE_DIR", "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER",
    "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ADSP_LIBRARY_PATH", "OPENVINO_LIB_PATHS",
    "TORCHINDUCTOR_CACHE_DIR", "TOKENIZERS_PARALLELISM", "LANG", "LC_ALL", "TZ", "SystemRoot", "SYSTEMDRIVE",
    "USERPROFILE", "PATHEXT", "CC", "SSL_CERT_FILE", "DYLD_LIBRARY_PATH", "ASCEND_HOME_PATH", "CONDA_PREFIX",
    "GGML_CUDA_NO_PINNED", "LP_NUM_THREADS", "TBBROOT", "MKLROOT", "NVTOOLSEXT_PATH",
]
# Of a Windows 11 and a macOS 15, where nothing was installed.
WINDOWS = {
    "needed": [
        "ALLUSERSPROFILE", "APPDATA", "CommonProgramFiles", "CommonProgramFiles(x86)", "CommonProgramW6432", "ComSpec",
        "DriverData", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "NUMBER_OF_PROCESSORS", "OS", "Path", "PATHEXT",
        "PROCESSOR_ARCHITECTURE", "PROCESSOR_IDENTIFIER", "PROCESSOR_LEVEL", "PROCESSOR_REVISION", "ProgramData",
        "ProgramFiles", "ProgramFiles(x86)", "ProgramW6432", "PUBLIC", "SystemDrive", "SystemRoot", "TEMP", "TMP",
        "USERNAME", "USERPROFILE", "windir", "NoDefaultCurrentDirectoryInExePath",
    ],
    "left out": [
        "COMPUTERNAME", "LOGONSERVER", "OneDrive", "PSModulePath", "SESSIONNAME", "USERDOMAIN",
        "USERDOMAIN_ROAMINGPROFILE", "WT_SESSION", "CLIENTNAME",
    ],
}
MACOS = {
    "needed": ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER", "__CF_USER_TEXT_ENCODING"],
    "left out": ["COMMAND_MODE", "SSH_AUTH_SOCK", "TERM_PROGRAM", "TERM_SESSION_ID", "XPC_FLAGS", "XPC_SERVICE_NAME"],
}
# fmt: on


@pytest.mark.parametrize("system", [WINDOWS, MACOS], ids=["windows", "macos"])
def test_what_other_systems_have_is_passed_by_the_same_rule(system):
    """By their documentation: nobody has started a worker there yet."""
    given = dict.fromkeys((*system["needed"], *system["left out"]), "value")
    assert sorted(inherited(given)) == sorted(system["needed"])


def test_an_address_is_passed_without_its_user():
    assert inherited({"HF_ENDPOINT": "https://me:pass@hub.example/x"}) == {"HF_ENDPOINT": "https://hub.example/x"}


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_passed(name):
    assert inherited({name: "s3cret"}) == {}


@pytest.mark.parametrize("name", NEEDED)
def test_what_engines_need_is_passed(name):
    assert inherited({name: "value"}) == {name: "value"}


def test_what_nobody_needs_is_not_passed():
    assert inherited({"MY_APPLICATION": "x", "GITHUB_ACTIONS": "true", "VSCODE_GIT_ASKPASS_NODE": "/x"}) == {}


def test_a_proxy_is_passed_without_its_user():
    given = {"https_proxy": "http://me:pass@proxy:3128", "HTTP_PROXY": "http://proxy:80", "ALL_PROXY": "me:pass@proxy"}
    assert inherited(given) == {
        "https_proxy": "http://proxy:3128",
        "HTTP_PROXY": "http://proxy:80",
        "ALL_PROXY": "proxy",
    }


def test_the_user_may_pass_more_and_no_setting_of_python():
    given = {
        worker_environment.PASSED_VARIABLE: "MY_DRIVER, SDK_*,PYTHON*",
        "MY_DRIVER": "a",
        "SDK_ROOT": "b",
        "MY": "c",
    }
    assert inherited({**given, "PYTHONPATH": "/x"}) == {"MY_DRIVER": "a", "SDK_ROOT": "b"}


def test_the_variable_that_a_matrix_names_as_a_key_is_passed_to_that_target_alone():
    options = 'options = { url = "http://127.0.0.1:8000", key = "MY_SERVER_KEY" }'
    matrix = a_matrix(more=f'[baselines.server]\nengine = "openai-http"\n{options}')
    assert named_by(matrix.targets["server"]) == ("MY_SERVER_KEY",)
    assert inherited({"MY_SERVER_KEY": "s3cret"}, named_by(matrix.targets["server"])) == {"MY_SERVER_KEY": "s3cret"}
    assert all(not named_by(target) for name, target in matrix.targets.items() if name != "server")


def test_a_process_sees_no_secret_of_the_user(tmp_path, monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "s3cret")
    script = "import os; print(sorted(name for name, value in os.environ.items() if 's3cret' in value))"
    done = subprocess.run(
        [sys.executable, "-c", script], env=child_environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
