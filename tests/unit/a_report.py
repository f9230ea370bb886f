"""Hand-made runs and outcomes for the tests of the report: small ones to vary, and a whole one that looks like life."""

from __future__ import annotations

import itertools
from typing import Any

from builders import as_facts
from msgspec.structs import replace
from sustained_runs import a_crashed, a_sustained

from bench.records import (
    Accelerator,
    Cell,
    Comparison,
    Cpu,
    Device,
    Effort,
    Executed,
    Failure,
    Interval,
    Machine,
    Note,
    Outcome,
    Parity,
    Placement,
    Recipe,
    Run,
    RuntimeRecord,
    Speed,
    Start,
    TargetFacts,
    Tolerance,
    note,
)
from bench.report import model as grid
from bench.report.model import Report

CONTROL = "torch-eager"
WORKLOADS = {
    "minilm": [{"batch": 1, "sequence": 128}, {"batch": 8, "sequence": 128}],
    "resnet18": [{"batch": 1}],
}
RECIPES = {
    ("minilm", "fp16"): Recipe("fp16", {"keep_io_types": True}, "fp16"),
    ("minilm", "int8"): Recipe("dynamic-int8", {"per_channel": True}, "int8"),
    ("resnet18", "fp16"): Recipe("fp16", {"keep_io_types": True}, "fp16"),
    ("resnet18", "int8"): Recipe("static-qdq-int8", number_format="int8"),
}
TARGETS = {
    "torch-eager": ("torch", None, "torch"),
    "torch-compile": ("torch", None, "torch"),
    "cpu": ("ort", "CPUExecutionProvider", "default"),
    "cpu-ort-1-30": ("ort", "CPUExecutionProvider", "ort-1-30"),
    "openvino-cpu": ("ort", "OpenVINOExecutionProvider", "openvino"),
    "webgpu": ("ort", "WebGpuExecutionProvider", "default"),
    "qnn-emulator": ("ort", "QNNExecutionProvider", "qnn"),
    "cuda": ("ort", "CUDAExecutionProvider", "cuda"),
    "tensorrt": ("ort", "TensorrtExecutionProvider", "cuda"),
    "directml": ("ort", "DmlExecutionProvider", "directml"),
}
NOT_HERE = {
    "cuda": ("no-device", "no NVIDIA GPU answers on this machine", "plug one in, and install its driver"),
    "tensorrt": ("not-loaded", "libnvinfer.so.10 cannot be loaded", "install tensorrt-cu13 10.x in the runtime cuda"),
    "directml": ("no-wheel", "onnxruntime-directml has no wheel for Linux", "run it on Windows"),
}
"""Kind, message and remedy of the targets that the probe did not find."""
EMULATED = "qnn-emulator"
VERSIONS = {"cpu-ort-1-30": "1.30.0", "openvino-cpu": "1.24.1"}
TIMES_FASTER = {
    ("torch-eager", "fp32"): 1.0,
    ("torch-compile", "fp32"): 1.31,
    ("cpu", "fp32"): 1.83,
    ("cpu", "int8"): 3.42,
    ("cpu", "fp16"): 1.006,
    ("cpu-ort-1-30", "fp32"): 1.71,
    ("cpu-ort-1-30", "int8"): 2.98,
    ("cpu-ort-1-30", "fp16"): 1.004,
    ("openvino-cpu", "fp32"): 2.11,
    ("openvino-cpu", "fp16"): 2.08,
    ("openvino-cpu", "int8"): 4.4,
    ("webgpu", "fp32"): 0.41,
    ("webgpu", "fp16"): 0.52,
    ("webgpu", "int8"): 0.19,
    (EMULATED, "fp16"): 0.012,
}
QNN_STDERR = (
    "2026-11-03 10:31:07 [W:onnxruntime:, qnn_execution_provider.cc:214] Initializing QNN backend\n"
    "\x1b[0;93mQnnDsp <W> Initializing HtpProvider\x1b[m\n"
    "QnnDsp <E> Failed to find available PD for contextId 1 on deviceId 0\n"
    "Segmentation fault (core dumped)\n"
)


def a_cell(**changes: Any) -> Cell:
    cell = Cell(
        model="minilm",
        precision="int8",
        target="cpu",
        workload="b1-s128",
        family="text-encoder",
        source="hub:sentence-transformers/all-MiniLM-L6-v2",
        engine="ort",
        runtime="default",
        sizes={"batch": 1, "sequence": 128},
        rates={"sequences": 1, "tokens": 128},
        recipe=Recipe("dynamic-int8", {"per_channel": True}, "int8"),
        provider="CPUExecutionProvider",
    )
    return replace(cell, **changes)


def an_interval(value: float, share: float | None = 0.02) -> Interval:
    if share is None:
        return Interval(value, None, None)
    return Interval(value, value / (1 + share), value * (1 + share))


def a_speed(latency_ms: float = 12.3, share: float | None = 0.02, **changes: Any) -> Speed:
    speed = Speed(
        latency_ms=an_interval(latency_ms, share),
        p90_ms=an_interval(latency_ms * 1.04, share),
        p95_ms=an_interval(latency_ms * 1.07, share),
        p99_ms=None,
        throughput={
            "sequences": an_interval(1000 / latency_ms, share),
            "tokens": an_interval(128_000 / latency_ms, share),
        },
        ratio_to_control=an_interval(1.83, 0.025),
        control="minilm/fp32/torch-eager/b1-s128",
        resolvable=0.03,
        rounds_ms=_rounds(latency_ms, share),
    )
    return replace(speed, **changes)


def _rounds(latency_ms: float, share: float | None) -> tuple[float, ...]:
    """Five rounds about a latency, or the only one."""
    return tuple(latency_ms * (1 + share * step) for step in (-0.9, -0.3, 0, 0.4, 0.8)) if share else (latency_ms,)


def a_parity(cosine: float = 0.9901, relative_error: float = 0.0213, **changes: Any) -> Parity:
    parity = Parity(
        samples=8,
        finite=True,
        max_abs_error=relative_error * 1.9,
        relative_error=relative_error,
        cosine=cosine,
        effective_bits=5.55,
        tolerance=Tolerance(min_cosine=0.98),
        reference="PyTorch 2.13.0, FP32",
        decides="last_hidden_state",
    )
    return replace(parity, **changes)


def an_outcome(cell: Cell | None = None, **changes: Any) -> Outcome:
    """A cell that is fine; a status that has no speed takes it away."""
    outcome = Outcome(
        cell=cell or a_cell(),
        status="ok",
        reason=note("every-node-on-target", target="CPUExecutionProvider", shape_ops=()),
        speed=a_speed(),
        parity=a_parity(),
        placement=Placement({"CPUExecutionProvider": {"MatMulInteger": 36, "Add": 60}}, "assignment-info"),
        nodes_on_target=213,
        nodes_elsewhere=0,
        import_ms=an_interval(61.2),
        load_ms=an_interval(84.6),
        first_call_ms=an_interval(15.9),
        first_answer_ms=an_interval(161.7),
        peak_rss_bytes=212_000_000,
        threads=2,
        rounds=5,
        calls=412,
        versions={"onnxruntime": "1.31.1"},
        weights="pretrained",
        artifact="5b1e0c9fd3a7",
    )
    timed = {"ok", "partial", "approximate", "unchecked"}
    if changes.get("status", "ok") not in timed:
        changes = dict.fromkeys(("speed", "load_ms", "first_call_ms", "first_answer_ms")) | changes
    if changes.get("status", "ok") not in timed | {"inaccurate"}:
        gone = {"parity": None, "placement": None, "nodes_on_target": None, "nodes_elsewhere": None}
        changes = gone | {"import_ms": None, "peak_rss_bytes": None, "threads": None, "rounds": 0, "calls": 0} | changes
        changes = {"versions": {}} | changes
    return replace(outcome, **as_facts(changes))


def a_machine(**changes: Any) -> Machine:
    machine = Machine(
        cpu=Cpu(
            brand="AMD EPYC 9454 48-Core Processor",
            architecture="x86_64",
            isa=("avx2", "avx512f", "avx512_vnni", "avx512_bf16"),
            physical_cores=2,
            logical_cores=4,
            usable_cores=2,
            caches={"L1d": 32768, "L2": 1_048_576, "L3": 33_554_432},
        ),
        memory_bytes=8_323_000_000,
        accelerators=(),
        os="Debian GNU/Linux",
        os_version="12",
        kernel="Linux 6.1",
        hypervisor="KVM",
        container="docker",
        python="3.11.7",
        key="3f2a61c09be4",
    )
    return replace(machine, **changes)


def a_run(cells: tuple[Cell, ...] = (), **changes: Any) -> Run:
    packages = {"numpy": "2.3.4", "onnxruntime": "1.31.1", "onnxruntime-ep-webgpu": "0.4.0", "msgspec": "0.22.0"}
    run = Run(
        schema=2,
        bench_version="0.1.0",
        created="2026-11-03T10:12:44+00:00",
        name="amd-epyc-9454-20261103-1012",
        seed=20261103,
        effort=Effort("standard", 5, 10, 0.02, 10, 1.0, 10.0, 0.25, 60.0),
        threads=2,
        command="bench run --budget standard --matrix matrix.toml",
        matrix_path="matrix.toml",
        matrix_text='schema = 1\n\n[models.minilm]\nfamily = "text-encoder"  # <embeddings>\n',
        cells=cells,
        machine=a_machine(),
        runtimes={
            "default": a_runtime("default", packages),
            "torch": a_runtime("torch", {"torch": "2.13.0+cpu", "numpy": "2.3.4"}),
            "openvino": a_runtime("openvino", {"onnxruntime-openvino": "1.24.1", "numpy": "2.3.4"}),
            "ort-1-30": a_runtime("ort-1-30", {"onnxruntime": "1.30.0", "numpy": "2.3.4"}),
        },
        artifacts={"minilm/dynamic-int8": "5b1e0c9fd3a7"},
        weights={"minilm": "pretrained", "resnet18": "random"},
    )
    return replace(run, **changes)


def some_facts(*executes: Executed, **changes: Any) -> TargetFacts:
    """A target that is here and checks its options."""
    device = Device("cpu", 0, "AMD", "AMD EPYC 9454 48-Core Processor")
    facts = TargetFacts(
        available=True,
        versions={"onnxruntime": "1.31.1"},
        device=device,
        devices=(device,),
        executes=executes,
        checks_options=True,
    )
    return replace(facts, **changes)


def all_facts() -> dict[str, TargetFacts]:
    """What a probe found of every target of the whole report."""
    full, casts = Executed("fp32", "fp32", 22.9), Executed("fp16", "fp32 between casts", 11.4)
    half = Executed("fp16", "fp16", 11.1)
    llvmpipe = Device("cpu", 0, "Mesa", "llvmpipe (LLVM 19.1.7, 256 bits)", "25.0.7")
    unknown = note("unknown-option", name="powerPreference")
    webgpu = {"onnxruntime": "1.31.1", "onnxruntime-ep-webgpu": "0.4.0"}
    qnn = {"onnxruntime": "1.31.1", "onnxruntime-qnn": "2.7.0"}
    missing = {
        name: TargetFacts(available=False, kind=kind, message=message, remedy=remedy)
        for name, (kind, message, remedy) in NOT_HERE.items()
    }
    return missing | {
        "torch-eager": some_facts(full, half, versions={"torch": "2.13.0+cpu"}, checks_options=None),
        "cpu": some_facts(full, casts),
        "cpu-ort-1-30": some_facts(full, casts, versions={"onnxruntime": "1.30.0"}),
        "openvino-cpu": some_facts(Executed("fp32", "bf16", 9.2), casts, versions={"onnxruntime": "1.24.1"}),
        "webgpu": some_facts(
            full,
            half,
            versions=webgpu,
            device=llvmpipe,
            devices=(llvmpipe, Device("gpu", 0, "Intel", "Intel UHD Graphics 770")),
            checks_options=False,
            notes=(unknown,),
        ),
        EMULATED: some_facts(
            Executed("fp32", "fp16", 11.2),
            half,
            versions=qnn,
            device=Device("npu", 0, "Qualcomm"),
            checks_options=False,
        ),
    }


def a_start(kind: Any, load_ms: float, first_call_ms: float, kept: Note | None = None) -> Start:
    return Start(kind, 61_200_000, int(load_ms * 1e6), int(first_call_ms * 1e6), kept)


def a_runtime(name: str, packages: dict[str, str]) -> RuntimeRecord:
    requires = tuple(f"{package}=={version}" for package, version in packages.items())
    return RuntimeRecord(name, requires, "3.11.7", packages, f"{name}-9c01")


def a_report(*outcomes: Outcome, **run: Any) -> Report:
    """One run of these outcomes."""
    return grid.build([(a_run(tuple(outcome.cell for outcome in outcomes), **run), outcomes)])


def a_whole_report() -> Report:
    """A run with every status, two models and ten targets, as a visitor would meet it."""
    run, outcomes = a_whole_run()
    return grid.build([(run, outcomes)], [with_the_control(outcomes)])


def with_the_control(outcomes: list[Outcome]) -> list[Comparison]:
    """The comparison of each cell with its control."""
    timed = [(outcome.cell.id, outcome.speed) for outcome in outcomes if outcome.speed and not outcome.cell.emulated]
    return [
        Comparison(cell, speed.control, speed.ratio_to_control, decided=True, run="a-run")
        for cell, speed in timed
        if speed.control and speed.ratio_to_control and speed.control != cell
    ]


def two_machines() -> Report:
    """The same matrix on a second machine, which has a GPU and is faster."""
    first, outcomes = a_whole_run()
    gpu = Accelerator("gpu", "NVIDIA GeForce RTX 4070", "NVIDIA", "580.65.06", "CUDA 13.0", 12_884_901_888)
    cpu = replace(first.machine.cpu, brand="Intel Core Ultra 7 155H", usable_cores=22, logical_cores=22)
    machine = a_machine(cpu=cpu, accelerators=(gpu,), key="c81d9a0be577", memory_bytes=34_000_000_000, hypervisor=None)
    second = replace(first, machine=machine, name="core-ultra-7-20261104-0830", created="2026-11-04T08:30:02+00:00")
    return grid.build([(first, outcomes), (second, [_faster(outcome) for outcome in outcomes])])


def a_whole_run() -> tuple[Run, list[Outcome]]:
    outcomes = [_outcome_of(cell) for cell in _cells()]
    return a_run(tuple(outcome.cell for outcome in outcomes), targets=all_facts()), outcomes


def _faster(outcome: Outcome) -> Outcome:
    if outcome.speed is None or outcome.speed.ratio_to_control is None:
        return outcome
    value = outcome.speed.ratio_to_control.value
    ratio = an_interval(value if value == 1 else value * 1.22, 0 if value == 1 else 0.03)
    latency = an_interval(outcome.speed.latency_ms.value / 2.4)
    return replace(outcome, speed=replace(outcome.speed, ratio_to_control=ratio, latency_ms=latency))


def _cells() -> list[Cell]:
    found = []
    for model, precision, target in itertools.product(WORKLOADS, ("fp32", "fp16", "int8"), TARGETS):
        for sizes in WORKLOADS[model]:
            engine, provider, runtime = TARGETS[target]
            text = model == "minilm"
            batch = sizes["batch"]
            rates = {"sequences": batch, "tokens": batch * 128} if text else {"images": batch}
            cell = a_cell(
                model=model,
                precision=precision,
                target=target,
                engine=engine,
                provider=provider,
                runtime=runtime,
                workload=f"b{batch}-s128" if text else f"b{batch}",
                family="text-encoder" if text else "image-classifier",
                source="hub:sentence-transformers/all-MiniLM-L6-v2" if text else "config:resnet18",
                sizes=sizes,
                rates=rates,
                recipe=RECIPES.get((model, precision), Recipe("fp32", number_format="fp32")),
                control=target == CONTROL,
                emulated=target == EMULATED,
                device={EMULATED: "npu", "cuda": "gpu", "tensorrt": "gpu", "directml": "gpu"}.get(target),
            )
            found.append(cell)
    return found


def _outcome_of(cell: Cell) -> Outcome:
    if (story := _without_an_answer(cell)) is not None:
        return story
    outcome = _measured(cell)
    if cell.model == "resnet18" and (cell.target, cell.precision) == ("openvino-cpu", "int8"):
        parity = a_parity(0.8531, 0.412, effective_bits=1.28)
        low = note("figure-too-low", figure="cosine", value=0.8531, limit=0.98)
        reason = note("out-of-tolerance", low, reference="PyTorch 2.13.0, FP32", times=5, rounds=5)
        times = ("speed", "load_ms", "first_call_ms", "first_answer_ms", "cold", "cached")
        gone = dict.fromkeys((*times, "energy_j", "energy_source"))
        said = {"status": "inaccurate", "reason": reason, "remedy": note("try-other-recipe")}
        return replace(outcome, parity=parity, **said, **gone)
    if (cell.target, cell.precision) == ("webgpu", "int8"):
        ops = ("MatMulInteger x36", "DynamicQuantizeLinear x24")
        share = 0.31 if cell.sizes["batch"] == 1 else 0.24
        cost = note("cost-elsewhere", time_share=share, copies=26)
        reason = note("fell-back", cost, nodes=60, total=213, others=("CPUExecutionProvider",), ops=ops)
        placed = {"WebGpuExecutionProvider": {"MatMul": 149}, "CPUExecutionProvider": {"MatMulInteger": 64}}
        outcome = replace(outcome, placement=Placement(placed, "assignment-info", 26, share))
        gone = {
            "status": "partial",
            "reason": reason,
            "fallback_ops": ops,
            "flags": (*outcome.flags, note("noisy"), busy_in(2, 5)),
        }
        return replace(outcome, nodes_on_target=149, nodes_elsewhere=64, bookkeeping_ops=("Shape x4",), **gone)
    lasted = {("cpu", "int8"): a_sustained(), ("cpu", "fp16"): a_crashed(), ("cpu", "fp32"): a_crashed(12.4, 12.3)}
    return replace(outcome, sustained=lasted.get((cell.target, cell.precision)))


def busy_in(times: int, rounds: int) -> Note:
    """The flag of a machine that other programs used."""
    return note("busy-machine", times=times, total=rounds, unit="rounds", others_percent=14.0, stolen_percent=None)


def _without_an_answer(cell: Cell) -> Outcome | None:
    place = cell.target, cell.precision
    if cell.engine == "torch" and cell.precision != "fp32":
        reason = f"the engine torch has no recipe for {cell.precision}"
        return an_outcome(replace(cell, excluded=reason), status="excluded", reason=reason)
    if cell.target in NOT_HERE:
        kind, message, remedy = NOT_HERE[cell.target]
        failure = Failure("unavailable", "target", kind, message, remedy)
        said = {"reason": message, "remedy": remedy, "failure": failure, "device": cell.device}
        return an_outcome(cell, status="unavailable", **said)
    if cell.target == EMULATED:
        return _qnn(cell)
    if place == ("torch-compile", "fp32") and cell.model == "resnet18":
        failure = Failure("timeout", "warm-up", "timeout", "no answer after 120 s", "", None, "SIGKILL")
        return an_outcome(cell, status="timeout", reason="warm-up: no answer after 120 s", failure=failure)
    if place == ("openvino-cpu", "int8") and cell.workload == "b8-s128":
        message = "Exception from src/inference/src/cpp/core.cpp:133: the graph is not acyclic | <Subgraph_12>"
        failure = Failure("unsupported", "session", "RuntimeException", message, "", None, None, message)
        return an_outcome(cell, status="unsupported", reason=f"session: {message}", failure=failure)
    return None


def _qnn(cell: Cell) -> Outcome | None:
    if cell.precision == "int8":
        failure = Failure("out-of-memory", "load", "memory", "the worker was killed at 7.1 GiB", "", -9, "SIGKILL")
        remedy = "free memory, or take a smaller batch"
        reason = "load: the worker was killed at 7.1 GiB"
        return an_outcome(cell, status="out-of-memory", reason=reason, remedy=remedy, failure=failure)
    if cell.precision == "fp16" and cell.sizes["batch"] == 1:
        return None
    if cell.precision == "fp16":
        failure = Failure("failed", "first call", "RuntimeError", "QNN.graphExecute() 1003", "", 1)
        return an_outcome(cell, status="failed", reason="first call: QNN.graphExecute() 1003", failure=failure)
    remedy = "report it to the vendor; other cells are not affected"
    failure = Failure("crashed", "session", "signal", "Segmentation fault", remedy, -11, "SIGSEGV", QNN_STDERR)
    return an_outcome(cell, status="crashed", reason="session: Segmentation fault", remedy=remedy, failure=failure)


def _measured(cell: Cell) -> Outcome:
    batch = cell.sizes["batch"]
    base = (31.7 if cell.model == "minilm" else 58.2) * (1 if batch == 1 else 6.6)
    faster = TIMES_FASTER[(cell.target, cell.precision)]
    share = 0.075 if cell.target == "webgpu" else 0.011
    latency = base / faster
    is_control = cell.target == CONTROL
    compared = {
        "ratio_to_control": an_interval(faster, 0 if is_control else share * 1.3),
        "control": f"{cell.model}/fp32/{CONTROL}/{cell.workload}",
        "resolvable": share * 1.9,
    }
    nothing = dict.fromkeys(compared)
    speed = a_speed(
        latency,
        share,
        throughput={name: an_interval(items * 1000 / latency, share) for name, items in cell.rates.items()},
        p95_ms=an_interval(latency * 1.07, share * 1.5) if latency < 40 else None,
        p99_ms=an_interval(latency * 1.21, share * 4) if latency < 10 else None,
        **(nothing if cell.emulated else compared),
    )
    exact = cell.precision == "fp32"
    coarse = cell.target == "openvino-cpu" and exact
    parity = a_parity(
        0.9999996 if coarse else 1.0 if exact else 0.999996 if cell.precision == "fp16" else 0.9901,
        9.1e-4 if coarse else 3.1e-7 if exact else 9.8e-4 if cell.precision == "fp16" else 0.0213,
        effective_bits=10.1 if coarse or cell.precision == "fp16" else 21.6 if exact else 5.55,
        tolerance=Tolerance(0.9999, 1e-3) if exact else Tolerance(0.98),
    )
    ort = cell.engine == "ort"
    load_ms = latency * 3.4 if cell.target != "torch-compile" else 13_240.0
    first_call_ms = latency * 1.8 if cell.target != "webgpu" else 6120.0
    return an_outcome(
        cell,
        reason=note("every-node-on-target", target=cell.provider, shape_ops=()) if ort else note("within-tolerance"),
        speed=speed,
        parity=parity,
        placement=Placement({cell.provider: {"MatMul": 36, "Add": 177}}, "assignment-info") if cell.provider else None,
        nodes_on_target=213 if ort else None,
        nodes_elsewhere=0 if ort else None,
        load_ms=an_interval(load_ms, 0.05),
        first_call_ms=an_interval(first_call_ms, 0.09),
        first_answer_ms=an_interval(61.2 + load_ms + first_call_ms, 0.06),
        flags=_flags(cell),
        notes=_notes(cell),
        device={EMULATED: "npu.0 Qualcomm", "webgpu": "cpu.0 llvmpipe"}.get(cell.target, "cpu.0 AMD EPYC 9454"),
        executed=next((e.format for e in all_facts()[cell.target].executes if e.asked == cell.precision), None)
        if cell.target in all_facts()
        else None,
        optimization="extended" if (cell.target, cell.precision) == ("cpu", "int8") else None,
        faulty_optimizers=("NchwcTransformer",) if (cell.target, cell.precision) == ("cpu", "int8") else (),
        file_format="fp16" if (cell.target, cell.precision) == ("cpu", "int8") else None,
        model_rss_bytes=171_000_000 if ort else 390_000_000,
        device_memory_bytes=67_000_000 if cell.target == "webgpu" else None,
        energy_j=an_interval(latency * 0.031, 0.03),
        energy_source="RAPL package",
        **_starts(cell, latency),
        versions={"torch": "2.13.0+cpu"} if not ort else {"onnxruntime": VERSIONS.get(cell.target, "1.31.1")},
        weights="pretrained" if cell.model == "minilm" else "random",
        artifact="5b1e0c9fd3a7" if ort else None,
    )


def _flags(cell: Cell) -> tuple[str, ...]:
    place = cell.target, cell.precision
    flags = {
        ("torch-compile", "fp32"): ("not-steady",),
        ("openvino-cpu", "fp32"): ("reduced-precision",),
        ("cpu", "fp16"): ("casts-around-fp32",),
        ("cpu-ort-1-30", "fp16"): ("casts-around-fp32",),
        ("openvino-cpu", "fp16"): ("casts-around-fp32",),
    }
    by_target = {"webgpu": ("software-adapter", "unchecked-option"), EMULATED: ("emulated",)}
    return flags.get(place, ()) + by_target.get(cell.target, ())


def _notes(cell: Cell) -> tuple[Note, ...]:
    failed = note("start-failed", start="cached", status="unsupported", text="the compiled model could not be opened")
    return {
        "torch-compile": (note("compiled"),),
        "webgpu": (note("software-adapter"),),
        EMULATED: (failed,),
        "openvino-cpu": (failed,),
    }.get(cell.target, ())


def _starts(cell: Cell, latency: float) -> dict[str, Start]:
    if cell.target == "webgpu":
        return {"cold": a_start("cold", 710, 4720), "cached": a_start("cached", 690, 702)}
    return {"cold": a_start("cold", 1310, latency * 2)} if cell.target == "openvino-cpu" else {}
