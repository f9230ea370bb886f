"""Records for tests: each builder gives a healthy one, and takes what the test is about by name."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from bench.records import (
    Cell,
    Cpu,
    Device,
    Effort,
    Energy,
    Executed,
    Failure,
    Generation,
    Interval,
    Machine,
    MachineState,
    Observation,
    Outcome,
    Parity,
    Placement,
    Recipe,
    Run,
    Speed,
    Start,
    TargetFacts,
    Timing,
    Tolerance,
    Traits,
    note,
)

WEBGPU = "WebGpuExecutionProvider"
CPU = "CPUExecutionProvider"


def a_cell(path: str = "minilm/fp32/webgpu/b1-s128", **said: Any) -> Cell:
    """A text encoder's cell on WebGPU; `path` is its id."""
    model, precision, target, workload = path.split("/")
    cell = Cell(
        model=model,
        precision=precision,
        target=target,
        workload=workload,
        family="text-encoder",
        source="hub:sentence-transformers/all-MiniLM-L6-v2",
        engine="ort",
        runtime="default",
        sizes={"batch": 1, "sequence": 128},
        rates={"sequences": 1.0, "tokens": 128.0},
        recipe=Recipe(precision, number_format=precision),
        provider=WEBGPU,
    )
    return replace(cell, **said)


def a_control(path: str = "minilm/fp32/torch-eager/b1-s128", **said: Any) -> Cell:
    """A cell of the baseline that ratios are reported against."""
    return replace(a_cell(path, engine="torch", provider=None, control=True), **said)


def a_timing(samples_ns: Any = (2_000_000,) * 10, **said: Any) -> Timing:
    """A steady burst of ten calls of 2 ms."""
    timing = Timing(first_call_ns=50_000_000, warmup_ns=(3_000_000,), steady=True, samples_ns=tuple(samples_ns))
    return replace(timing, **said)


def a_generator(path: str = "llama/fp32/cpu/b1-p128-n64", **said: Any) -> Cell:
    """A text generator's cell on onnxruntime-genai: a prompt of 128 tokens, and 64 new ones."""
    sizes = {"batch": 1, "prompt": 128, "new": 64}
    cell = a_cell(path, family="text-generator", source="config:llama", engine="genai", provider=CPU, sizes=sizes)
    return replace(cell, rates={"tokens": 64.0}, **said)


def a_generation(first_ms: float = 128.0, token_ms: float = 10.0, tokens: int = 64, **said: Any) -> Generation:
    """A prompt of 128 tokens at 1000 a second, and 63 tokens after the first at 100 a second."""
    steps = (round(token_ms * 1e6),) * (tokens - 1)
    return replace(Generation(first_ns=round(first_ms * 1e6), token_ns=steps, tokens=tokens), **said)


def generating(*generations: Generation, **said: Any) -> Timing:
    """A burst of some generations, one if none is given; the first call was twice as slow."""
    made = generations or (a_generation(),)
    samples = tuple(one.total_ns for one in made)
    first = {"first_call_ns": 2 * samples[0], "first_token_ns": 2 * made[0].first_ns}
    return a_timing(samples, **{"generations": made, **first, **said})


def some_traits(**said: Any) -> Traits:
    """What onnxruntime-genai says of a model of 100 million weights in FP32."""
    traits = Traits(
        kv_type="fp32",
        kv_bytes=4_718_592,
        logits="last token",
        weights="FP32",
        declared_bits=32.0,
        weight_bytes=400_000_000,
        parameters=100_000_000,
    )
    return replace(traits, **said)


def a_parity_of_tokens(**said: Any) -> Parity:
    """A generator in FP32 whose logits are those of the reference, and whose tokens are the reference's."""
    fine = a_parity(tolerance=Tolerance(max_kl=1e-4, min_top1=0.99, same_tokens=True))
    said = {"kl_divergence": 1e-9, "top1_agreement": 1.0, "tokens_compared": 64, "tokens_same": 64, **said}
    return replace(fine, **said)


def a_parity(**said: Any) -> Parity:
    """Answers as FP32 arithmetic gives them, within a tolerance that also bounds the relative error."""
    parity = Parity(
        samples=8,
        finite=True,
        max_abs_error=1e-6,
        relative_error=1e-6,
        cosine=0.9999999,
        effective_bits=19.9,
        tolerance=Tolerance(min_cosine=0.99, max_relative_error=0.05),
        reference="PyTorch 2.13.0, FP32",
    )
    return replace(parity, **said)


def a_placement(**nodes: dict[str, int]) -> Placement:
    """Nodes by provider and op type: `a_placement(WebGpu={"MatMul": 3})`; all on WebGPU if nothing is said."""
    placed = {f"{name}ExecutionProvider": ops for name, ops in nodes.items()}
    return Placement(nodes=placed or {WEBGPU: {"MatMul": 12, "Add": 6}}, source="assignment-info")


def a_device(label: str = "gpu.0", **said: Any) -> Device:
    """A GPU with a name, by the label that a matrix would ask for."""
    kind, index = label.split(".")
    device = Device(type=kind, index=int(index), vendor="NVIDIA", name="NVIDIA H100", driver="580.65.06")  # type: ignore[arg-type]
    return replace(device, **said)


def a_start(kind: Any = "cold", **said: Any) -> Start:
    """A process that answers after 4.76 s, most of it in the first call."""
    start = Start(kind=kind, import_ns=60_000_000, load_ns=700_000_000, first_call_ns=4_000_000_000)
    return replace(start, **said)


def an_energy(joules: float = 5.0, calls: int = 100, source: str = "RAPL package") -> Energy:
    """Fifty millijoules a call."""
    return Energy(joules, calls, source)


def some_facts(*executes: tuple[str, str], **said: Any) -> TargetFacts:
    """A target that is there, checks its options, and computes in what the pairs (asked, found) say."""
    facts = TargetFacts(
        available=True,
        versions={"onnxruntime": "1.31.1"},
        device=a_device(),
        executes=tuple(Executed(asked, found) for asked, found in executes),
        checks_options=True,
    )
    return replace(facts, **said)


def a_failure(status: Any = "failed", **said: Any) -> Failure:
    """A session that could not be created."""
    failure = Failure(
        status=status, stage="session", kind="RuntimeError", message="no kernel for Foo", remedy="drop Foo"
    )
    return replace(failure, **said)


def an_observation(cell: Cell | str = "minilm/fp32/webgpu/b1-s128", round: int = 0, **said: Any) -> Observation:  # noqa: A002
    """A healthy round; `samples_ns` is a short way to its timing."""
    if "samples_ns" in said:
        said["timing"] = a_timing(said.pop("samples_ns"))
    observation = Observation(
        cell=cell if isinstance(cell, str) else cell.id,
        round=round,
        started="2026-11-02T10:00:00Z",
        timing=a_timing(),
        parity=a_parity(),
        placement=a_placement(),
        import_ns=60_000_000,
        load_ns=300_000_000,
        peak_rss_bytes=200_000_000,
        threads=2,
        versions={"onnxruntime": "1.31.1"},
    )
    return replace(observation, **said)


def a_generated(cell: Cell | str = "llama/fp32/cpu/b1-p128-n64", round: int = 0, **said: Any) -> Observation:  # noqa: A002
    """A healthy round of a text generator; `generations` is a short way to its timing."""
    if "generations" in said:
        said["timing"] = generating(*said.pop("generations"))
    healthy: dict[str, Any] = {"timing": generating(), "parity": a_parity_of_tokens(), "traits": some_traits()}
    healthy |= {"placement": a_placement(CPU={"MatMul": 12, "Add": 6}), "versions": {"onnxruntime-genai": "0.18.0"}}
    return an_observation(cell, round, **{**healthy, **said})


def a_failed(cell: Cell | str = "minilm/fp32/webgpu/b1-s128", round: int = 0, **said: Any) -> Observation:  # noqa: A002
    """A round that ended in a failure, with nothing else seen."""
    failure = said.pop("failure", None) or a_failure(**said)
    return Observation(
        cell=cell if isinstance(cell, str) else cell.id, round=round, started="2026-11-02T10:00:00Z", failure=failure
    )


def rounds_of(cell: Cell | str, medians_ms: Any, **said: Any) -> list[Observation]:
    """One healthy round for each median, each of ten equal calls."""
    return [
        an_observation(cell, number, samples_ns=[int(value * 1e6)] * 10, **said)
        for number, value in enumerate(medians_ms)
    ]


def an_effort(**said: Any) -> Effort:
    """The standard budget."""
    effort = Effort(
        name="standard",
        min_rounds=5,
        max_rounds=10,
        half_width=0.02,
        warmup_calls=10,
        warmup_s=1.0,
        warmup_limit_s=10.0,
        burst_s=0.25,
        cell_limit_s=60.0,
    )
    return replace(effort, **said)


def a_machine(**said: Any) -> Machine:
    """A small virtual machine."""
    machine = Machine(
        cpu=Cpu("AMD EPYC", "x86_64", ("avx2",), 2, 2, 2.0, {"L2": 1_048_576}),
        memory_bytes=8_000_000_000,
        accelerators=(),
        os="Linux",
        os_version="Debian 12",
        kernel="6.1",
        hypervisor="KVM",
        container=None,
        python="3.11.7",
        key="0123456789ab",
    )
    return replace(machine, **said)


def a_run(*cells: Cell, **said: Any) -> Run:
    """A standard run of some cells with two threads; one cell if none is given."""
    run = Run(
        schema=2,
        bench_version="0.1",
        created="2026-11-02T10:00:00Z",
        name="vm-20261102",
        seed=0,
        effort=an_effort(),
        threads=2,
        command="bench run",
        matrix_path="matrix.toml",
        matrix_text="",
        cells=cells or (a_cell(),),
        machine=a_machine(),
        runtimes={},
        artifacts={"minilm/fp32": "abc123"},
        weights={"minilm": "pretrained"},
    )
    return replace(run, **said)


def a_state(**said: Any) -> MachineState:
    """A quiet machine on mains."""
    quiet = MachineState(
        load_1min=1.0, frequency_mhz=3000.0, on_battery=False, steal_percent=0.0, other_cpu_percent=1.0
    )
    return replace(quiet, **said)


def a_speed(latency_ms: float = 2.0, **said: Any) -> Speed:
    """A speed with an interval of one percent."""
    speed = Speed(
        latency_ms=Interval(latency_ms, latency_ms * 0.99, latency_ms * 1.01),
        p90_ms=None,
        p95_ms=None,
        p99_ms=None,
        throughput={"sequences": Interval(1000 / latency_ms, 990 / latency_ms, 1010 / latency_ms)},
        ratio_to_control=None,
        control=None,
        resolvable=0.02,
        rounds_ms=(latency_ms,) * 5,
    )
    return replace(speed, **said)


def an_outcome(cell: Cell | None = None, **said: Any) -> Outcome:
    """An `ok` with a speed."""
    outcome = Outcome(cell=cell or a_cell(), status="ok", reason=note("within-tolerance"), speed=a_speed())
    return replace(outcome, **as_facts(said))


def as_facts(said: dict[str, Any]) -> dict[str, Any]:
    """What an outcome is changed by, with short forms: words for notes of the kind `text`, and kinds for flags."""
    made = dict(said)
    for name in {"reason", "remedy"} & said.keys():
        made[name] = text_note(said[name])
    if "notes" in said:
        made["notes"] = tuple(map(text_note, said["notes"]))
    if "flags" in said:
        made["flags"] = tuple(note(flag) if isinstance(flag, str) else flag for flag in said["flags"])
    return made


def text_note(said: Any) -> Any:
    """Words as a note; nothing for no words."""
    return (note("text", text=said) if said else None) if isinstance(said, str) else said
