"""Lets atheris look for examples that reach new code: `python -m tests.fuzz.guided [SECONDS [KIND …]]`.

Each kind of `KINDS` is tried in a process of its own, because libFuzzer ends its process. It starts from the sound
examples and from those that once were a fault; the changes are those of the kind, and libFuzzer's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from random import Random

HERE = Path(__file__).parents[2]
FOUND = Path(__file__).parent / "found"
SECONDS = 60
LONGEST_S, MOST_MIB, LONGEST_BYTES = 5, 2048, 1 << 20
OWN_SHARE = 0.7
"""How often the kind's own changes are made; else libFuzzer's, of bits and bytes."""


def main(words: list[str]) -> int:
    """Try the kinds, one after another; 1 where one has a fault."""
    if words[:1] == ["--one"]:
        try_kind(words[1], int(words[2]), words[3])
        return 0
    from .kinds import KINDS

    seconds, names = int(words[0]) if words else SECONDS, words[1:] or list(KINDS)
    faults = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="fuzz-corpus-") as corpus:
            known = sorted((FOUND / name).glob("*"))
            for number, content in enumerate([*KINDS[name].sound(), *(path.read_bytes() for path in known)]):
                (Path(corpus) / str(number)).write_bytes(content)
            command = [sys.executable, "-m", "tests.fuzz.guided", "--one", name, str(seconds), corpus]
            done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, errors="replace", check=False)
        last = [line for line in done.stderr.splitlines() if line.startswith(("#", "Done"))][-1:]
        print(f"{name}: exit code {done.returncode}; {' '.join(last)}", flush=True)
        if done.returncode:
            faults.append(name)
            print(done.stdout[-4000:], done.stderr[-4000:], sep="\n")
    print(f"{len(names)} kinds, faults in {', '.join(faults) or 'none'}")
    return 1 if faults else 0


def try_kind(name: str, seconds: int, corpus: str) -> None:
    """Let libFuzzer try one kind; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["bench"]):
        from .kind import outcome
        from .kinds import KINDS
    kind = KINDS[name]
    warnings.simplefilter("ignore")

    def example(content: bytes) -> None:
        outcome(kind, content)

    def changed(content: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() >= OWN_SHARE:
            return bytes(atheris.Mutate(content, most))
        made = kind.change(content, random)
        return made if len(made) <= most else made[:most]

    kept = Path(os.environ.get("FUZZ_KEPT", "build/fuzz")).absolute()
    kept.mkdir(parents=True, exist_ok=True)
    limits = [f"-timeout={LONGEST_S}", f"-rss_limit_mb={MOST_MIB}", f"-max_len={LONGEST_BYTES}"]
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={kept}/{name}-", "-print_final_stats=1"]
    atheris.Setup(["guided", *limits, *options, corpus], example, custom_mutator=changed)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.path.insert(0, str(HERE / "tests" / "unit"))
    sys.exit(main(sys.argv[1:]))
