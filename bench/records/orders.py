"""Records of the orders to a worker and of its replies."""

from __future__ import annotations

from typing import Literal

from bench.records.base import Note, Option, Record
from bench.records.conformance import CaseDone, Collect, Conform
from bench.records.machine import Device, TargetFacts
from bench.records.plan import Provider, Recipe, Tolerance
from bench.records.prepared import Failure, Source
from bench.records.seen import Effort, Generation, Minute, Parity, Placement, Start, Timing, Traits, Transcript
from bench.records.tasks import TaskOptions, TaskScores


class Build(Record, frozen=True, tag="build", tag_field="order"):
    """Build the artifact of a recipe into `out`: from the source, or from the artifact of the format's base recipe."""

    format: str
    family: str
    source: Source
    recipe: Recipe
    out: str
    parent: str | None = None
    """The folder of the base artifact; None builds from the source."""
    inputs: str | None = None
    """The folder or file of the model's own input data, for calibration; None takes the family's."""
    opset: int = 0
    """The ONNX opset of an export."""
    workloads: tuple[dict[str, int], ...] = ()
    """The sizes of the model's workloads, for calibration; empty for the family's default sizes."""


class Refer(Record, frozen=True, tag="refer", tag_field="order"):
    """Write the inputs and the reference outputs of a workload into `out`."""

    family: str
    source: Source
    sizes: dict[str, int]
    inputs: str | None
    out: str


class Label(Record, frozen=True, tag="label", tag_field="order"):
    """Write a labelled set into `out` as batches of these sizes, and the scores of the FP32 reference beside it."""

    family: str
    source: Source
    sizes: dict[str, int]
    task: TaskOptions
    out: str


class Unpack(Record, frozen=True, tag="unpack", tag_field="order"):
    """Make a folder, in the layout of the Hugging Face Hub, of a source that is a single file."""

    family: str
    source: Source
    out: str


class Job(Record, frozen=True):
    """One workload of a visit: its label, and the folder of its inputs and reference outputs."""

    workload: str
    sizes: dict[str, int]
    reference: str


class Visit(Record, frozen=True):
    """One model on one target with its workloads: what a process of the worker opens."""

    engine: str
    family: str
    source: Source
    recipe: Recipe
    tolerance: Tolerance
    jobs: tuple[Job, ...]
    threads: int
    effort: Effort
    artifact: str | None = None
    provider: Provider | None = None
    mode: str = ""
    options: dict[str, Option] = {}
    """Options of an engine that uses no execution provider."""
    scratch: str = ""
    """A folder for what the engine compiles; it stays after the end of the process."""
    profile: bool = False
    """Whether a `Profile` order follows the timed calls."""


class Begin(Record, frozen=True, tag="begin", tag_field="order"):
    """Open the visit's session and call it once, with the compile cache in `visit.scratch`."""

    visit: Visit
    kind: Literal["cold", "cached"]


class Sustain(Record, frozen=True, tag="sustain", tag_field="order"):
    """Load and warm up as for a block, then run the first job continuously, and reply after each minute."""

    visit: Visit
    ends_s: tuple[float, ...]
    """When each minute ends, in seconds from the start of the first."""


class Probe(Record, frozen=True, tag="probe", tag_field="order"):
    """Report what the engine and its target are on this machine, from small models that the worker makes."""

    engine: str
    provider: Provider | None = None
    mode: str = ""
    options: dict[str, Option] = {}


class Hold(Record, frozen=True, tag="hold", tag_field="order"):
    """Open the visit's session, check the answers of each job, warm it up, and keep all for `Burst` orders."""

    visit: Visit


class Burst(Record, frozen=True, tag="burst", tag_field="order"):
    """Time one burst of a warm workload: `length_s` seconds, at least one call."""

    workload: str
    length_s: float


class Profile(Record, frozen=True, tag="profile", tag_field="order"):
    """Free what `Hold` keeps, and profile some calls of the visit where its nodes are on several providers."""

    visit: Visit


class Assess(Record, frozen=True, tag="assess", tag_field="order"):
    """Open the visit's session, run every sample of a labelled set, and reply with their scores."""

    visit: Visit
    labelled: str
    """The folder that `Label` wrote."""


# A change of any order or reply needs another `PROTOCOL`; a test holds a digest of them.
Order = Build | Refer | Label | Unpack | Assess | Begin | Hold | Burst | Profile | Sustain | Probe | Collect | Conform


class Stage(Record, frozen=True, tag="stage", tag_field="reply"):
    """The worker enters a stage; if it dies, the last stage says what it was doing."""

    name: str
    workload: str | None = None


class Built(Record, frozen=True, tag="built", tag_field="reply"):
    """An artifact's files are written."""

    notes: tuple[Note, ...] = ()


class Opened(Record, frozen=True, tag="opened", tag_field="reply"):
    """The engine is loaded and the session can be called."""

    import_ns: int
    load_ns: int
    threads: int | None
    """None where the engine cannot tell, as with a server."""
    versions: dict[str, str]
    placement: Placement | None = None
    notes: tuple[Note, ...] = ()
    device: Device | None = None
    baseline_rss_bytes: int | None = None


class Held(Record, frozen=True, tag="held", tag_field="reply"):
    """A workload is warm, and its answers are checked; the timing has no samples yet."""

    workload: str
    timing: Timing
    parity: Parity
    traits: Traits | None = None
    transcript: Transcript | None = None
    idle: bool = True
    """Whether the process used no CPU after it, as for `Bursted`."""


class Bursted(Record, frozen=True, tag="bursted", tag_field="reply"):
    """One burst of a warm workload."""

    workload: str
    samples_ns: tuple[int, ...]
    peak_rss_bytes: int
    generations: tuple[Generation, ...] = ()
    """For models that generate: the parts of each sample."""
    cpu_ns: int | None = None
    """CPU time of the process during the samples, all threads; None where another process computes."""
    idle: bool = True
    """Whether the process used no CPU at the end: threads of some libraries spin for a while after a call."""


class Profiled(Record, frozen=True, tag="profiled", tag_field="reply"):
    """The placement of the visit's session, with what a profile of some calls adds to it."""

    placement: Placement


class Lasted(Record, frozen=True, tag="lasted", tag_field="reply"):
    """A minute of a sustained run is over, and the next has begun."""

    minute: Minute


class Started(Record, frozen=True, tag="started", tag_field="reply"):
    """The answer to `Begin`."""

    start: Start


class Assessed(Record, frozen=True, tag="assessed", tag_field="reply"):
    """The answer to `Assess`."""

    scores: TaskScores


class Probed(Record, frozen=True, tag="probed", tag_field="reply"):
    """What a probe found."""

    facts: TargetFacts


class Failed(Record, frozen=True, tag="failed", tag_field="reply"):
    """An order, or one workload of it, went wrong; the worker lives on."""

    failure: Failure
    workload: str | None = None


class Done(Record, frozen=True, tag="done", tag_field="reply"):
    """The order is finished; the next one may come."""


Reply = (
    Stage | Built | Opened | Assessed | Held | Bursted | Lasted | Profiled | Started | Probed | CaseDone | Failed | Done
)
