"""report.html as its text, its structure and its colours; tests/browser opens it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from a_report import (
    a_cell,
    a_machine,
    a_parity,
    a_report,
    a_run,
    a_speed,
    a_start,
    a_whole_report,
    an_interval,
    an_outcome,
    some_facts,
    two_machines,
)
from msgspec.structs import replace

from bench.cli import result_rows
from bench.records import Device, Executed, Failure, Interval, TargetFacts, note
from bench.report import cell_pages, model
from bench.report.renderers import html, markdown

HOSTILE = "</script><script>alert(1)</script><img src=http://evil/x onerror=alert(1)>\"'\u202e{{ 7 * 7 }}"
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """The tags, the attributes and the words of a page; complains about a tag that is closed out of turn."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]


@pytest.fixture(scope="module")
def source() -> str:
    return html.render(a_whole_report())


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def page_of(*outcomes: object, **run: object) -> Page:
    return Page(html.render(a_report(*outcomes, **run)))  # type: ignore[arg-type]


def test_made_up_inputs_are_named_in_the_row_and_in_the_tile() -> None:
    noise = html.render(a_report(an_outcome(build_notes=(note("noise"),))))
    row = noise[noise.index('<section id="speed">') :]
    assert "<small>inputs: seeded noise</small>" in row
    assert "<small>made-up inputs</small>" in noise
    guessed = html.render(a_report(an_outcome(build_notes=(note("assumed-sizes", sizes=("seq=128",)),))))
    assert "<small>guessed inputs</small>" in guessed
    assert "made-up inputs" not in html.render(a_report(an_outcome()))


def test_sections_stand_in_the_order_of_the_story(source: str) -> None:
    sections = re.findall(r'<section id="(\w+)">', source)
    story = ["answers", "matrix", "targets", "speed", "starts", "sustained", "agreement", "placement", "trouble"]
    assert sections == [*story, "cells", "machine", "method", "again"]


def test_the_page_loads_nothing_and_runs_its_own_script_alone(page: Page) -> None:
    tags = [tag for tag, _ in page.tags]
    assert not set(tags) & {"img", "iframe", "object", "embed", "video", "audio", "foreignobject", "use", "image"}
    assert tags.count("script") == 1
    assert page.values("src") == []
    assert all(address.startswith(("#", "data:,")) for address in page.values("href"))
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_the_policy_holds_the_hash_of_the_script(source: str) -> None:
    script = source.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in source
    for word in ("fetch", "XMLHttpRequest", "import(", "eval", "innerHTML", "http"):
        assert word not in script


def test_the_style_loads_nothing(source: str) -> None:
    style = source.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_its_policy_forbids_what_it_does_not_do(source: str) -> None:
    assert "default-src 'none'" in source


def test_ids_are_unique_and_every_reference_is_answered() -> None:
    found = Page(html.render(two_machines()))
    ids = Counter(found.values("id"))
    assert [name for name, times in ids.items() if times > 1] == []
    wanted = {address[1:] for address in found.values("href") if address.startswith("#")}
    wanted |= set(found.values("popovertarget"))
    wanted |= {name for names in found.values("aria-labelledby") for name in names.split()}
    assert wanted <= set(ids)


def test_foreign_text_is_only_text() -> None:
    cell = a_cell(model=HOSTILE, precision=HOSTILE, target=HOSTILE, workload=HOSTILE, source=HOSTILE, runtime=HOSTILE)
    failure = Failure("failed", HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1, HOSTILE, HOSTILE)
    shared = {
        "flags": (note(HOSTILE, **{HOSTILE: HOSTILE}),),
        "notes": (HOSTILE,),
        "fallback_ops": (HOSTILE,),
        "versions": {HOSTILE: HOSTILE},
    }
    fine = an_outcome(cell, reason=HOSTILE, speed=a_speed(throughput={HOSTILE: an_interval(3)}), **shared)
    broken = an_outcome(replace(cell, target="qnn"), status="failed", reason=HOSTILE, remedy=HOSTILE, failure=failure)
    machine = a_machine(os=HOSTILE, kernel=HOSTILE, cpu=replace(a_machine().cpu, brand=HOSTILE))
    strange = Device("gpu", 0, HOSTILE, HOSTILE, HOSTILE)
    facts = TargetFacts(
        True,
        {HOSTILE: HOSTILE},
        strange,
        (),
        (Executed("fp32", HOSTILE, 1.0, HOSTILE),),
        None,
        (note(HOSTILE, **{HOSTILE: HOSTILE}), note("text", text=HOSTILE)),
    )
    said = {"command": HOSTILE, "matrix_text": HOSTILE, "name": HOSTILE, "targets": {HOSTILE: facts}}
    run = a_run((fine.cell, broken.cell), machine=machine, **said)
    found = Page(html.render(model.build([(run, [fine, broken])])))
    assert [tag for tag, _ in found.tags if tag in ("script", "img")] == ["script"], "its own script"
    assert "<img src=http://evil/x onerror=alert(1)>" in found.text
    assert "{{ 7 * 7 }}" in found.text
    assert "\u202e" not in found.text


def test_a_chart_says_in_words_what_it_draws(source: str) -> None:
    assert source.count('<svg class="chart" role="img" aria-labelledby="chart-') == 9
    said = re.search(r'<desc id="chart-1-1-0-ratio-desc">([^<]*)</desc>', source)
    assert said is not None
    assert "cpu · int8: 3.42× (3.37–3.47)" in said[1]
    assert "cpu · fp16: no difference shown (0.99–1.02)" in said[1]
    assert "webgpu · int8 (partial)" in said[1]


def test_charts_follow_light_and_dark(source: str) -> None:
    charts = re.findall(r'<svg class="chart".*?</svg>', source, re.DOTALL)
    drawn = {colour for chart in charts for colour in re.findall(r'(?:fill|stroke)="([^"]+)"', chart)}
    assert {colour for colour in drawn if not colour.startswith("var(--")} <= {"none", "transparent"}


def test_the_summary_counts_and_states_what_can_be_resolved(page: Page) -> None:
    assert "38 of 78 cells ok , 3 partial, 1 inaccurate, 1 failed" in page.text
    assert "Differences under 2.1 % cannot be distinguished on this machine in this run" in page.text


def test_every_status_that_is_present_is_explained_and_no_other() -> None:
    found = page_of(an_outcome(), an_outcome(a_cell(target="cuda"), status="unavailable", reason="no CUDA"))
    assert "the target is not on this machine" in found.text
    assert "the worker process died" not in found.text


def test_status_is_a_word_and_not_only_a_colour(source: str) -> None:
    for verdict in re.findall(r'<span class="verdict [^>]*>(.*?)</span>', source, re.DOTALL):
        assert re.search(r"<b>[a-z -]+</b>", verdict)


def test_wrong_answers_have_no_speed() -> None:
    reason = "cosine 0.5 is below 0.98"
    found = page_of(an_outcome(status="inaccurate", reason=reason, parity=a_parity(0.5)))
    assert f"withheld : {reason}" in found.text
    assert "no answer to time" not in found.text
    assert not re.search(r"\d ms\b", section(found, "Latency is the time of one call", "How far the outputs are"))


def test_random_weights_are_named_at_every_number_and_claim_no_accuracy() -> None:
    found = page_of(an_outcome(weights="random"))
    assert found.text.count("random weights") >= 6
    assert "says nothing about the accuracy of a trained model" in found.text


def test_pretrained_weights_are_not_called_random(source: str) -> None:
    assert "random weights" not in html.render(a_report(an_outcome()))


def test_no_difference_is_shown_where_none_was_found(page: Page) -> None:
    assert "1.01×" not in page.text
    assert "no difference shown (0.99–1.02)" in page.text


def test_one_round_has_numbers_and_no_intervals() -> None:
    alone = a_speed(share=None, ratio_to_control=an_interval(1.8, None), resolvable=None)
    found = page_of(an_outcome(speed=alone, rounds=1))
    assert "12.3 no interval" in found.text
    assert "1.80× no interval" in found.text
    assert "This run cannot show which differences are real." in found.text


def test_percentiles_without_calls_enough_are_dashes() -> None:
    found = page_of(an_outcome(speed=a_speed(p90_ms=None, p95_ms=None)))
    assert "12.3 12.1–12.5 1.83× (1.79–1.88) – 81" in found.text


def test_percentiles_have_intervals_of_their_own() -> None:
    found = page_of(an_outcome(speed=a_speed(p95_ms=Interval(14.0, 13.1, 15.0))))
    assert "Speedup over the control p95, ms Sequences/s" in found.text
    assert "12.3 12.1–12.5 1.83× (1.79–1.88) 14.0 13.1–15.0 81" in found.text
    cells = found.text[found.text.rindex("has an address") :]
    assert "p90_ms 12.8 ± 0.3 ms p95_ms 14.0 ± 1.0 ms" in cells, "the table has room for one of them"


def test_a_control_in_place_of_the_planned_one_is_named_in_the_row() -> None:
    replaced = note("control-replaced", planned="minilm/fp32/torch-eager/b1-s128", used="minilm/fp32/cpu/b1-s128")
    source = html.render(a_report(an_outcome(notes=(replaced,))))
    speed = source.partition('<section id="speed">')[2].partition("</section>")[0]
    assert "<small>compared with minilm/fp32/cpu/b1-s128, because the control" in speed


def test_cpu_time_stands_beside_the_wall_time_where_it_is_known() -> None:
    known = an_outcome(cpu_ms=an_interval(23.4), cores_used=an_interval(1.9))
    page = page_of(known, an_outcome(a_cell(target="webgpu")))
    assert "CPU, ms of a call" in page.text
    assert "81.3 79.7–82.9 23.4 1.9 cores" in page.text
    assert "CPU, ms" not in page_of(an_outcome()).text, "an older run has no such column"
    assert "| 23.4 ms, 1.9 cores |" in markdown.render(a_report(known))
    assert "CPU of a call" not in markdown.render(a_report(an_outcome()))
    assert result_rows.row(known).cpu == "CPU 23.4 ms, 1.9 cores"
    emulated = an_outcome(a_cell(emulated=True), cpu_ms=an_interval(23.4), cores_used=an_interval(1.9))
    assert "23.4" not in page_of(emulated).text, "a time of an emulator"


def test_a_cell_has_an_address_that_its_id_alone_decides() -> None:
    assert cell_pages.address("minilm/int8/cpu/b1-s128") == "cell-minilm/int8/cpu/b1-s128"
    assert cell_pages.address("a b/ü/%20/x~1") == "cell-a~20.b/~fc./~25.20/x~7e.1"
    assert cell_pages.address("m/p/t/w", 2) == "cell-2-m/p/t/w"


def test_the_command_of_a_cell_repeats_it_with_its_control() -> None:
    outcome = an_outcome(speed=a_speed(control="minilm/fp32/torch-eager/b1-s128"))
    both = f"--only {outcome.cell.id} --only minilm/fp32/torch-eager/b1-s128"

    def command(own: str) -> str:
        return cell_pages.repeat_command(a_run((outcome.cell,), command=own, threads=2), outcome)

    own = "bench run --model 'my model.onnx' --budget quick --only 'a/*' --skip '*/b/*' --minutes 3 --with-optional"
    assert command(own) == f"bench run --model 'my model.onnx' --budget quick --with-optional --threads 2 {both}"
    assert command("bench run --threads 4") == f"bench run --threads 4 {both}"
    of_a_gate = f"bench run --matrix matrix.toml --budget standard --threads 2 {both}"
    assert command("bench gate --new onnxruntime==1.31.1") == of_a_gate
    assert command("an 'open quote") == of_a_gate


def test_a_box_shows_its_figure_with_its_interval() -> None:
    assert '<span class="number">12.3 ms<small>12.1–12.5</small></span>' in html.render(a_report(an_outcome()))


def test_each_flag_is_explained(page: Page) -> None:
    assert "noisy The 95 % interval is wider than the resolution of the budget" in page.text
    found = page_of(an_outcome(flags=(note("from-the-future", rpm=1200),))).text
    assert "another version made the run" in found
    assert "Here: rpm=1200." in found


def test_a_failure_carries_its_stage_its_end_its_remedy_and_its_last_words(page: Page) -> None:
    start = page.text.index("Problems and remedies")
    trouble = page.text[start : page.text.index("Machine and versions")]
    assert "crashed 3 cells session: Segmentation fault Remedy: report it to the vendor" in trouble
    assert "Stage session Ended with SIGSEGV, exit code -11" in trouble
    assert "Failed to find available PD for contextId 1" in trouble
    assert "\x1b" not in trouble


def test_an_error_that_the_reason_does_not_hold_is_shown() -> None:
    failure = Failure("failed", "session", "RuntimeError", "first line\nsecond line")
    found = page_of(an_outcome(status="failed", reason="session: something else", failure=failure))
    assert "Error first line" in found.text


def test_cells_that_were_not_reached_are_not_passed_over() -> None:
    run = a_run((a_cell(), a_cell(target="webgpu")))
    found = Page(html.render(model.build([(run, [an_outcome()])])))
    assert "1 of 2 cells ok , 1 not reached." in found.text
    assert f"bench run --resume {run.name}" in found.text


def test_a_run_without_a_single_outcome_is_still_a_page() -> None:
    found = Page(html.render(model.build([(a_run((a_cell(),)), [])])))
    assert "0 of 1 cells ok" in found.text


def test_figures_that_cannot_be_drawn_are_left_out_of_the_charts() -> None:
    broken = a_speed(ratio_to_control=an_interval(0.0), throughput={"sequences": an_interval(float("inf"))})
    assert "<svg" not in html.render(a_report(an_outcome(speed=broken)))


def test_what_was_placed_elsewhere_is_listed(page: Page) -> None:
    assert "WebGpuExecutionProvider 149 64 26 31 % MatMulInteger x36, DynamicQuantizeLinear x24 Shape x4" in page.text


def test_where_nothing_was_profiled_copies_and_time_are_dashes() -> None:
    assert "CPUExecutionProvider 213 0 – – –" in page_of(an_outcome()).text


# --- targets ----------------------------------------------------------------------------------------------------------


def section(page: Page, first: str, after: str) -> str:
    """The text from the first heading to the next; the navigation names both before."""
    start = page.text.rindex(first)
    return page.text[start : page.text.index(after, start)]


def test_each_target_says_its_device_its_versions_and_what_it_computes_in(page: Page) -> None:
    targets = section(page, "A probe in a worker examined", "Latency is the time of one call")
    assert "openvino-cpu OpenVINOExecutionProvider cpu.0: AMD EPYC 9454 48-Core Processor" in targets
    assert "bf16 (9.2 bits) fp32 between casts (11 bits) checked" in targets
    assert "cpu.0: llvmpipe (LLVM 19.1.7, 256 bits), Mesa, driver 25.0.7" in targets
    assert "onnxruntime 1.31.1 onnxruntime-ep-webgpu 0.4.0 runtime default" in targets
    assert "not checked" in targets
    assert "unknown option 'powerPreference': the provider checks none, so it may have no effect" in targets
    assert "The provider also has gpu.0 (Intel UHD Graphics 770)." in targets


def test_a_missing_target_is_told_after_the_matrix_with_its_reason_and_its_remedy(page: Page) -> None:
    missing = section(page, "Not on this machine", "A probe in a worker examined")
    assert "tensorrt TensorrtExecutionProvider, gpu unavailable 9 cells libnvinfer.so.10 cannot be loaded" in missing
    assert "Remedy: install tensorrt-cu13 10.x in the runtime cuda" in missing


def test_a_target_that_was_not_planned_because_the_machine_lacks_it_is_told_too() -> None:
    lacking = some_facts(available=False, kind="no-device", message="this machine shows no GPU", remedy="connect one")
    run = a_run((a_cell(),), targets={a_cell().target: some_facts(), "directml": lacking})
    source = html.render(model.build([(run, [an_outcome()])]))
    assert "<dt>directml</dt>\n<dd>this machine shows no GPU" in source
    assert "<b>Remedy:</b> connect one" in source
    assert "Not on this machine" not in html.render(model.build([(replace(run, targets={}), [an_outcome()])]))


def test_a_missing_target_is_one_trouble_that_does_not_list_its_cells(page: Page) -> None:
    trouble = section(page, "Problems and remedies", "Machine and versions")
    assert trouble.count("no NVIDIA GPU answers on this machine") == 1
    assert "Cells every cell of cuda Stage target" in trouble


def test_two_versions_of_one_provider_are_told_apart_and_stand_side_by_side(page: Page) -> None:
    matrix = page.text[: page.text.index("Click a cell")]
    assert "cpu onnxruntime 1.31.1 cpu-ort-1-30 onnxruntime 1.30.0 openvino-cpu webgpu" in matrix
    beside = section(page, "Versions of CPUExecutionProvider side by side", "What the warnings mean")
    assert "minilm · int8 b1-s128 9.27 ms 9.17–9.37 speedup over the control: 3.42× (3.37–3.47) 10.6 ms" in beside


def test_the_format_computed_in_stands_loudly_beside_each_cell_that_asked_for_another(source: str, page: Page) -> None:
    assert '<span class="gap tone-wrong">in bf16</span>' in source
    assert '<b class="gap tone-wrong">asked fp32, computes in bf16</b>' in source
    assert '<b class="gap tone-warn">asked fp16, computes in fp32 between casts</b>' in source
    speed = section(page, "Latency is the time of one call", "What the warnings mean")
    assert speed.count("asked fp32, computes in bf16") == 3


def test_a_target_that_computes_as_asked_says_nothing_of_it() -> None:
    assert "gap tone" not in html.render(a_report(an_outcome(a_cell(precision="fp32", recipe=None), executed="fp32")))
    assert "gap tone" not in html.render(a_report(an_outcome(executed="unknown")))
    asked = a_cell(precision="fp32", recipe=None)
    refused = an_outcome(asked, status="unsupported", reason="session: no", executed="fp16")
    assert "gap tone" not in html.render(a_report(refused)), "it has not computed anything"


def test_times_of_an_emulator_stand_apart_and_say_so(page: Page, source: str) -> None:
    speed = section(page, "Latency is the time of one call", "What the warnings mean")
    apart = speed.index("Emulated: times of an emulator, not of a device")
    assert "qnn-emulator" not in speed[:apart]
    assert "qnn-emulator · fp16 emulated npu.0 Qualcomm b1-s128 ok 2.64 s" in speed[apart:]
    assert "2.64 ± 0.03 s a call in the emulator: times of an emulator, not of a device" in page.text
    assert not [chart for chart in re.findall(r'<svg class="chart".*?</svg>', source, re.DOTALL) if "qnn" in chart]
    assert "qnn" not in section(page, "The first answer takes", "How far the outputs are")


def test_wrong_answers_of_an_emulator_are_withheld_too() -> None:
    wrong = an_outcome(a_cell(emulated=True), status="inaccurate", reason="cosine 0.5 is below 0.98")
    assert "inaccurate withheld : cosine 0.5 is below 0.98" in page_of(wrong).text


# --- time to answer, memory and energy --------------------------------------------------------------------------------


def test_the_first_answer_is_the_sum_of_its_parts_beside_the_steady_call() -> None:
    found = page_of(an_outcome())
    parts = "import 61.2 ± 1.2 ms, load 84.6 ± 1.7 ms, first call 15.9 ± 0.3 ms"
    assert f"cpu · int8 12.3 ms 12.1–12.5 162 ms 159–165 {parts} – – – in all 202 MiB – –" in found.text


def test_cold_and_cached_starts_memory_and_energy_are_shown_where_they_are_known(page: Page) -> None:
    starts = section(page, "The first answer takes", "How far the outputs are")
    cold = "5.49 s 1 start: load 710 ms, first call 4.72 s"
    cached = "1.45 s 1 start: load 690 ms, first call 702 ms"
    assert "Peak memory above the empty worker Peak memory of the device" in starts
    assert f"{cold} {cached} 163 MiB in all 202 MiB 63.9 MiB 2.40 J 2.33–2.47 RAPL package" in starts


def test_a_cached_start_that_failed_says_why_in_its_place_and_nowhere_else() -> None:
    unopened = note("start-failed", start="cached", status="unsupported", text="the model cannot be opened")
    found = page_of(an_outcome(cold=a_start("cold", 710, 4720), notes=(unopened,)))
    assert "first call 4.72 s – unsupported: the model cannot be opened" in found.text
    assert "cached start: " not in found.text


def test_the_details_of_a_cell_show_its_notes_and_those_of_its_artifact_and_inputs() -> None:
    notes, build_notes = (note("cuda-graph"),), (note("calibrated", inputs=16), note("text", text="<b>"))
    source = html.render(a_report(an_outcome(notes=notes, build_notes=build_notes)))
    details = source[source.index('class="why"') : source.index('class="close"')]
    shown = re.findall(r'<p class="soft">([^<]*)</p>', details)
    assert shown[-3:] == ["CUDA graph", "calibrated on 16 inputs", "&lt;b&gt;"]
    # In the story of the box, and in the cell's own; the tables name neither for each row.
    assert source.count("CUDA graph") == 2
    assert source.count("calibrated on 16 inputs") == 2


def test_it_says_how_to_run_it_again(page: Page) -> None:
    assert "bench run --budget standard --matrix matrix.toml" in page.text
    assert 'family = "text-encoder" # <embeddings>' in page.text
    assert "onnxruntime-openvino 1.24.1" in page.text


def test_two_machines_share_only_their_ratios(page: Page) -> None:
    found = Page(html.render(two_machines()))
    assert found.values("id").count("across") == 1
    assert "minilm/int8/cpu/b1-s128 fp32 on torch-eager 3.42× (3.37–3.47) 4.17× (4.05–4.30)" in found.text
    assert "across" not in page.values("id")


# --- contrast ---------------------------------------------------------------------------------------------------------

PAIRS = [(tone, f"{tone}-bg") for tone in ("good", "warn", "wrong", "refused", "absent", "bad")] + [
    (ink, paper) for ink in ("ink", "ink-soft", "link", "brass") for paper in ("paper", "card")
]
GRAPHICS = [("chart", "paper"), ("chart-partial", "paper")]


def palettes(source: str) -> list[dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", source, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance."""
    low, high = sorted(luminance(one[1:]) for one in (one, other))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_text_is_readable_in_light_and_in_dark(source: str) -> None:
    light, dark = palettes(source)
    assert light.keys() == dark.keys()
    for palette in (light, dark):
        for ink, paper in PAIRS:
            assert contrast(palette[ink], palette[paper]) >= 4.5, (ink, paper)
        for ink, paper in GRAPHICS:
            assert contrast(palette[ink], palette[paper]) >= 3, (ink, paper)
