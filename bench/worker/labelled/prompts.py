"""Makes a labelled set for a language model: windows of a text, or prompts with their answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.records import TaskOptions, note
from bench.shared.task_metrics import TASK_METRICS
from bench.worker.families import _input_files
from bench.worker.families._input_files import refused
from bench.worker.feeds import Feed
from bench.worker.labelled import sets, texts
from bench.worker.labelled.sets import LabelledSet


def labelled(tokenizer: Any, config: Any, sizes: dict[str, int], task: TaskOptions) -> LabelledSet:
    """The set for the metric of `task`; `facts["longest"]` is the most tokens of a sample. Raises Refusal."""
    if TASK_METRICS[task.metric].samples == "text":
        return _windows(tokenizer, config, sizes, task)
    return _prompts(tokenizer, config, sizes["new"], task)


def _windows(tokenizer: Any, config: Any, sizes: dict[str, int], task: TaskOptions) -> LabelledSet:
    """Windows of the workload's prompt and new tokens; the new ones are scored."""
    ids, prompt, new = _ids(tokenizer, config, _text(Path(task.inputs))), sizes["prompt"], sizes["new"]
    begins = tokenizer.bos_token_id if ids and ids[0] == tokenizer.bos_token_id else None
    rows = texts.windows(ids, prompt, new, task.tokens, begins)
    if not len(rows):
        message = f"{Path(task.inputs).name} has {len(ids)} tokens, and one window takes {prompt + new}"
        raise refused(message, "give a longer text, or a workload with a shorter prompt")
    feeds = sets.batched({"input_ids": rows}, sizes["batch"])
    about = note("windows-of-text", windows=len(rows), context=prompt, scored=new)
    return LabelledSet(feeds, len(rows), [], {"longest": prompt + new}, (about,))


def _prompts(tokenizer: Any, config: Any, new: int, task: TaskOptions) -> LabelledSet:
    data, key = _input_files.read(Path(task.inputs)), task.field or "answer"
    prompts, labels = [], []
    for number, record in enumerate(data.records, 1):
        place = f"line {number} of {data.path.name}"
        if not isinstance(record.get("prompt"), str) or key not in record:
            raise refused(f"{place} has no prompt with {key!r}", 'write lines such as {"prompt": "…", "answer": "…"}')
        prompts.append(_ids(tokenizer, config, record["prompt"]))
        labels.append(_answers(record[key], place))
        if not prompts[-1]:
            raise refused(f"{place} has an empty prompt", "leave it out")
    if not prompts:
        raise refused(f"{data.path.name} holds no JSON lines", "write a prompt and its answer in each line")
    facts = {
        "longest": max(map(len, prompts)) + new,
        "pieces": pieces_of(tokenizer, config),
        "end": ends(tokenizer, config),
    }
    # One by one: prompts have different lengths, and engines take no padding.
    return LabelledSet(_one_by_one(prompts), len(prompts), labels, facts)


def _one_by_one(prompts: list[list[int]]) -> Iterator[Feed]:
    for ids in prompts:
        yield {"input_ids": np.array([ids], np.int64)}


def _answers(value: Any, place: str) -> list[str]:
    """The accepted answers: a text, a number, or a list of them."""
    accepted = value if isinstance(value, list) else [value]
    if not accepted or any(isinstance(each, bool) or not isinstance(each, str | int | float) for each in accepted):
        raise refused(f"{place}: the answer is {value!r}", "give a text, or a list of accepted texts")
    answers = [str(each) for each in accepted]
    if not all(texts.words(answer) for answer in answers):
        raise refused(f"{place}: the answer holds no word", "give a text with a letter or a digit")
    return answers


def _text(path: Path) -> str:
    """The whole text of a file, of the key `text` of JSON lines, or of a folder, with an empty line between texts."""
    if path.suffix.lower() in _input_files.TEXTS:
        # As it is: line breaks are tokens too.
        try:
            return path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise refused(f"{path.name} is no text in UTF-8", "save it as UTF-8") from error
    return "\n\n".join(_input_files.texts(path))


def _ids(tokenizer: Any, config: Any, text: str) -> list[int]:
    ids = [int(token) for token in tokenizer(text)["input_ids"]]
    if ids and max(ids) >= config.vocab_size:
        message = f"the tokenizer gives the token {max(ids)}, the model knows {config.vocab_size}"
        raise refused(message, "the tokenizer is another model's")
    return ids


def pieces_of(tokenizer: Any, config: Any) -> list[str]:
    """The text of every token of the model."""
    return texts.pieces(tokenizer, config.vocab_size)


def ends(tokenizer: Any, config: Any) -> list[int]:
    """The tokens that end a text."""
    known = [tokenizer.eos_token_id, getattr(config, "eos_token_id", None)]
    flat = [token for each in known for token in (each if isinstance(each, list) else [each])]
    return sorted({int(token) for token in flat if token is not None})
