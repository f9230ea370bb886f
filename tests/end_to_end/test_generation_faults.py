"""Models that generate, and faults on purpose: each has a verdict with its stage and remedy, and the run goes on."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.end_to_end.conftest import CPU, REPO, call_bench, outcomes_of
from tests.shared import make_once

pytestmark = pytest.mark.end_to_end

CONFIGS = REPO / "bench" / "worker" / "configs"
SERVED = '[precisions.served]\nopenai-http = "served-fp32"\ntolerance = { min_top1 = 0.0 }\n'
"""A script cannot know the model's words: here it is timed, whatever it says."""
MANNERS = ("obeys", "hides-usage", "hangs-up", "babbles", "fails")
ELSEWHERE = "192.0.2.1"
"""An address that belongs to nobody (RFC 5737): whatever reaches for it waits in vain."""


# --- a server that does what its path says ----------------------------------------------------------------------------


class Scripted(BaseHTTPRequestHandler):
    """`/obeys/v1`, `/hides-usage/v1`, `/hangs-up/v1`, `/babbles/v1`, `/fails/v1`: an OpenAI-compatible server each."""

    protocol_version = "HTTP/1.1"

    @property
    def manner(self) -> str:
        return self.path.split("/")[1]

    def do_GET(self) -> None:
        """The list of models, which every one of them knows."""
        self.say(200, {"object": "list", "data": [{"id": "scripted", "object": "model"}]})

    def do_POST(self) -> None:
        """A completion of as many tokens as are asked for, or what the manner makes of it."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        count = asked.get("max_tokens") or asked.get("max_completion_tokens") or 1
        if self.manner == "fails":
            self.say(500, {"error": {"message": "the scripted server is out of order"}})
        elif not asked.get("stream"):
            self.say(200, {"choices": [self.choice("a " * count)], "usage": usage(count)})
        else:
            self.stream(count)

    def stream(self, count: int) -> None:
        """Server-sent events, one a token."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(count):
            if number == 2 and self.manner == "hangs-up":
                self.close_connection = True
                return
            if number == 2 and self.manner == "babbles":
                self.event("{this was never JSON")
            self.event(json.dumps({"id": "1", "choices": [self.choice(" a")]}))
        if self.manner != "hides-usage":
            self.event(json.dumps({"id": "1", "choices": [], "usage": usage(count)}))
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def choice(self, text: str) -> dict[str, object]:
        """In the words of the endpoint that was asked."""
        if "chat" in self.path:
            message = {"role": "assistant", "content": text}
            return {"index": 0, "delta": message, "message": message, "finish_reason": None}
        return {"index": 0, "text": text, "finish_reason": None}

    def event(self, data: str) -> None:
        line = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()

    def say(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


def usage(count: int) -> dict[str, int]:
    return {"prompt_tokens": 12, "completion_tokens": count, "total_tokens": 12 + count}


@contextlib.contextmanager
def scripted_server() -> Iterator[str]:
    """The address of the scripted server."""
    serving = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{serving.server_address[1]}"
    finally:
        serving.shutdown()
        serving.server_close()
        thread.join()


def a_closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


# --- matrices ---------------------------------------------------------------------------------------------------------


def write_matrix(folder: Path, models: str, targets: str = CPU, more: str = "", measure: str = "") -> Path:
    """A matrix of models that generate, with the runtimes of the default one."""
    default = (REPO / "matrix.toml").read_text(encoding="utf-8")
    text = f"""schema = 1
[measure]
threads = 1
{measure}
{models}
[precisions.fp32]
text-generator = "genai-fp32"
speech-recognizer = "genai-fp32"
optimum = "fp32"
{more}
{targets}
{default[default.index("[runtimes.ort]") :]}
"""
    path = folder / "matrix.toml"
    path.write_text(text, encoding="utf-8")
    return path


def a_model(name: str, source: str, workloads: str = "{ prompt = 12, new = 6 }", family: str = "text-generator") -> str:
    lines = (f'family = "{family}"', f'source = "{source}"', f"workloads = [{workloads}]")
    return "\n".join([f"[models.{name}]", *lines, ""])


def a_server(name: str, url: str) -> str:
    return f'[baselines.{name}]\nengine = "openai-http"\nruntime = "http"\noptions = {{ url = "{url}" }}\n'


def run(folder: Path, environment: dict[str, str]) -> None:
    """A run of the matrix in a folder, beside it."""
    arguments = ("--matrix", folder / "matrix.toml", "--out", folder / "run", "--format", "json,html")
    done = call_bench(folder, environment, "run", *arguments)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def verdicts(folder: Path) -> dict[str, dict]:
    """The verdicts of that run, by the id of their cell."""
    return outcomes_of(folder / "run", "model", "precision", "target", "workload")


def refused(outcome: dict, status: str, *stages: str) -> str:
    """What a verdict without a speed says: its reason and its remedy."""
    assert outcome["status"] == status, (outcome["status"], outcome["reason"])
    assert outcome["speed"] is None
    assert outcome["failure"]["stage"] in stages, outcome["failure"]
    assert outcome["remedy"], outcome["reason"]
    return f"{outcome['reason']}; {outcome['remedy']}"


# --- faults of models -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def of_models(shared: Path, environment: dict[str, str]) -> dict[str, dict]:
    """The verdicts over models that nothing can be done with, beside one that is fine."""
    return verdicts(make_once(shared / "models", lambda folder: run_models(folder, environment)))


def run_models(folder: Path, environment: dict[str, str]) -> None:
    (folder / "made-up.json").write_text(json.dumps({"model_type": "made-up", "vocab_size": 64}), encoding="utf-8")
    write_deaf(folder / "deaf")
    models = (
        a_model("tiny", "config:llama-tiny", "{ prompt = 12, new = 6 }, { prompt = 300, new = 6 }"),
        a_model("made-up", "config:made-up.json"),
        a_model("encoder", "config:bert-base"),
        a_model("deaf", "path:deaf", "{ audio = 30, new = 6 }", "speech-recognizer"),
        a_model("whisper", "config:whisper-nano", "{ audio = 30, new = 6 }", "speech-recognizer"),
    )
    broken = '[precisions.broken]\ntext-generator = { recipe = "genai-fp16", ep = "cpu" }\n'
    targets = f'{CPU}[baselines.optimum]\nengine = "optimum"\n'
    write_matrix(folder, "\n".join(models), targets, broken)
    run(folder, environment)


def write_deaf(folder: Path) -> None:
    """A Whisper whose tokenizer is one of plain text: none of the special tokens is in it."""
    folder.mkdir()
    (folder / "config.json").write_bytes((CONFIGS / "whisper-nano.json").read_bytes())
    vocabulary = {letter: number for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    tokenizer = {"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    words = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(words), encoding="utf-8")


def test_what_is_fine_is_measured_beside_what_is_not(of_models):
    fine = {name: found["status"] for name, found in of_models.items() if found["speed"] is not None}
    assert fine == {
        "tiny/fp32/cpu/b1-p12-n6": "ok",
        "tiny/fp32/optimum/b1-p12-n6": "ok",
        "whisper/fp32/cpu/b1-a30-n6": "ok",
        "whisper/fp32/optimum/b1-a30-n6": "ok",
    }


@pytest.mark.parametrize("target", ["cpu", "optimum"])
def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(of_models, target):
    said = refused(of_models[f"tiny/fp32/{target}/b1-p300-n6"], "unsupported", "reference")
    assert "306" in said
    assert "256" in said


def test_a_config_that_nobody_knows_is_refused_by_its_type(of_models):
    assert "made-up" in refused(of_models["made-up/fp32/cpu/b1-p12-n6"], "unsupported", "source", "reference")


def test_an_encoder_does_not_generate_text(of_models):
    assert "bert" in refused(of_models["encoder/fp32/cpu/b1-p12-n6"], "unsupported", "reference")


def test_a_tokenizer_without_the_special_tokens_is_refused_by_the_first_of_them(of_models):
    said = refused(of_models["deaf/fp32/cpu/b1-a30-n6"], "unsupported", "reference")
    assert "<|startoftranscript|>" in said


def test_an_export_that_ends_well_and_cannot_run_is_no_artifact(of_models):
    said = refused(of_models["tiny/broken/cpu/b1-p12-n6"], "unsupported", "export", "convert")
    assert "does not run" in said
    assert 'ep = "cuda"' in said


# --- faults of servers ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def of_servers(shared: Path, environment: dict[str, str]) -> dict[str, dict]:
    """The verdicts over servers that misbehave, by target, beside one that obeys and ONNX Runtime itself."""
    found = verdicts(make_once(shared / "servers", lambda folder: run_servers(folder, environment)))
    measured = {name.split("/")[2]: outcome for name, outcome in found.items() if outcome["status"] != "excluded"}
    assert set(measured) == {"cpu", *MANNERS, "absent", "elsewhere"}
    return measured


def run_servers(folder: Path, environment: dict[str, str]) -> None:
    with scripted_server() as server:
        urls = {manner: f"{server}/{manner}/v1" for manner in MANNERS}
        urls |= {"absent": f"http://127.0.0.1:{a_closed_port()}/v1", "elsewhere": f"http://{ELSEWHERE}:1234/v1"}
        targets = CPU + "".join(a_server(name, url) for name, url in urls.items())
        write_matrix(folder, a_model("tiny", "config:llama-tiny"), targets, SERVED)
        run(folder, environment)


def test_the_servers_that_answer_are_measured_and_so_is_everything_else(of_servers):
    fine = {name: found["status"] for name, found in of_servers.items() if found["speed"] is not None}
    assert fine == {"cpu": "ok", "obeys": "ok", "hides-usage": "ok"}


def test_who_counted_the_tokens_is_said(of_servers):
    assert {name: of_servers[name]["traits"]["counted_by"] for name in ("cpu", "obeys", "hides-usage")} == {
        "cpu": "engine",
        "obeys": "server",
        "hides-usage": "chunks",
    }


def test_a_server_that_closes_the_stream_has_failed_and_not_finished_early(of_servers):
    said = refused(of_servers["hangs-up"], "failed", "bind", "time")
    assert "closed" in said


def test_garbage_in_the_stream_is_told_as_such(of_servers):
    said = refused(of_servers["babbles"], "failed", "bind", "time")
    assert "this was never JSON" in said


def test_an_error_of_the_server_is_told_in_its_own_words(of_servers):
    said = refused(of_servers["fails"], "failed", "bind", "time")
    assert "the scripted server is out of order" in said


def test_a_server_that_is_not_there_is_unavailable_and_says_what_to_start(of_servers):
    said = refused(of_servers["absent"], "unavailable", "target")
    assert "127.0.0.1" in said
    assert "start" in said


def test_a_server_on_another_machine_is_asked_for_by_name_or_not_at_all(of_servers):
    said = refused(of_servers["elsewhere"], "unsupported", "target")
    assert ELSEWHERE in said
    assert "remote = true" in said


# --- memory -----------------------------------------------------------------------------------------------------------

LIMIT_MB = 450


@pytest.fixture(scope="session")
def of_memory(shared: Path, environment: dict[str, str]) -> dict[str, dict]:
    """The verdicts of a model whose cache takes 64 KiB a token, under a limit that 32 prompts are too much for."""
    return verdicts(make_once(shared / "memory", lambda folder: run_memory(folder, environment)))


def run_memory(folder: Path, environment: dict[str, str]) -> None:
    tiny = json.loads((CONFIGS / "llama-tiny.json").read_text(encoding="utf-8"))
    wide = {"num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128}
    (folder / "wide.json").write_text(json.dumps(tiny | wide), encoding="utf-8")
    models = a_model("tiny", "config:llama-tiny") + a_model(
        "wide", "config:wide.json", "{ prompt = 12, new = 6 }, { batch = 32, prompt = 192, new = 6 }"
    )
    write_matrix(folder, models, measure=f"memory_limit_mb = {LIMIT_MB}")
    run(folder, environment)


def test_a_cache_that_does_not_fit_is_out_of_memory_and_says_the_limit(of_memory):
    stages = ("bind", "time", "lead-in", "burst", "parity")
    said = refused(of_memory["wide/fp32/cpu/b32-p192-n6"], "out-of-memory", *stages)
    assert f"over the limit of {LIMIT_MB} MiB" in said
    assert "smaller workload" in said


def test_it_costs_neither_another_workload_nor_another_model(of_memory):
    fine = {name: found["status"] for name, found in of_memory.items() if found["speed"] is not None}
    assert fine == {"tiny/fp32/cpu/b1-p12-n6": "ok", "wide/fp32/cpu/b1-p12-n6": "ok"}
