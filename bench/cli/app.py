"""The `bench` command: it finds the verbs, runs one, and turns errors into exit codes. No other module exits.

Each other file of this folder that has a function `add_to` is a verb: a new one needs no line here.
"""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bench import __version__
from bench.cli.interrupts import stop_on_signals
from bench.cli.streams import standard_streams
from bench.errors import FAULT, BenchError, DiskError, Interrupted, UsageError

if TYPE_CHECKING:
    import typer

COMPLETION = "_BENCH_COMPLETE"
"""The variable by which a shell asks for completions."""


def verbs(only: str | None = None) -> list[ModuleType]:
    """The modules of the verbs in the order of `bench --help`: by their `ORDER`, then by name.

    With the name of a verb in `only`, its module alone: importing all of them takes longer than `bench plan`.
    """
    # Found and not listed, so that a new verb is one new file.
    names = [info.name for info in pkgutil.iter_modules([str(Path(__file__).parent)]) if info.name != "app"]
    modules = [importlib.import_module(f"bench.cli.{name}") for name in ([only] if only in names else names)]
    found = sorted((module for module in modules if hasattr(module, "add_to")), key=lambda module: module.ORDER)
    return found or verbs()


def build(only: str | None = None) -> typer.Typer:
    """The application with every verb, or with the one that is asked for."""
    # Late, with all that it needs: `bench --version` takes a third of the time without it.
    import typer

    from bench.cli.options import before_verbs

    application = typer.Typer(
        name="bench",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        # Boxes and colours would take half of the time of `--help`: rich loads readers of Markdown and code for them.
        rich_markup_mode=None,
        help="Benchmark and compatibility matrix for ONNX Runtime: what runs, how fast, how reliable each number is.",
    )
    application.callback(invoke_without_command=True)(before_verbs)
    for verb in verbs(only):
        verb.add_to(application)
    _summarize(application)
    return application


def interruptible(verb: Callable[..., Any]) -> Callable[..., Any]:
    """The verb, which raises `Interrupted` at an interruption: typer would end it without a word."""

    @functools.wraps(verb)
    def interrupted(*arguments: Any, **named: Any) -> Any:
        try:
            return verb(*arguments, **named)
        except KeyboardInterrupt as error:
            raise _interruption(error) from None

    return interrupted


def _summarize(application: typer.Typer) -> None:
    """Give every command the first paragraph of its text as its summary: click would cut it at 45 characters.

    Every command can be interrupted.
    """
    from inspect import getdoc

    for command in application.registered_commands:
        command.short_help = " ".join((getdoc(command.callback) or "").partition("\n\n")[0].split())
        if command.callback is not None:
            command.callback = interruptible(command.callback)
    for group in application.registered_groups:
        if group.typer_instance is not None:
            group.short_help = str(group.typer_instance.info.help)
            _summarize(group.typer_instance)


def main(arguments: list[str] | None = None) -> None:
    """Run a command line and end the process with its exit code, one of `bench.errors.EXIT_CODES`."""
    words = sys.argv[1:] if arguments is None else arguments
    code = Interrupted.exit_code
    with standard_streams() as out, stop_on_signals(until_end=arguments is None):
        try:
            code = _code_of(words)
            out.flush()
        # Again while the error was printed, or because nobody reads the output.
        except KeyboardInterrupt:
            code = code or Interrupted.exit_code
        if out.error is not None and code == 0:
            # Late, as all that `bench --version` does not need.
            from bench.files import FULL

            # A code that says more, such as a regression, stays.
            what = "the disk is full" if out.error.errno in FULL else out.error.strerror
            code = _print_error(DiskError(f"standard output could not be written: {what}", "write it to another place"))
    sys.exit(code)


def _code_of(words: list[str]) -> int:
    """Run a command line; every error is printed and becomes an exit code."""
    if words[:1] == ["--version"]:
        print(f"touchstone-bench {__version__}")  # noqa: T201
        return 0
    try:
        # Of `bench`, `bench --help` and a completion all verbs are shown.
        app = build(words[0] if words and COMPLETION not in os.environ else None)
        # In standalone mode typer prints its errors itself and ends the process with exit codes of its own.
        code = app(args=words, prog_name="bench", standalone_mode=False)
    except BenchError as error:
        return _print_error(error)
    except KeyboardInterrupt as error:
        return _print_error(_interruption(error))
    # Also what is no `Exception`, such as `sys.exit(1)` in a plug-in: an exit code of its own could be a gate's.
    except BaseException as error:
        if isinstance(error, SystemExit) and COMPLETION in os.environ:
            raise  # how click ends a completion
        return _other_error(error, words)
    return code if isinstance(code, int) else 0


def _interruption(error: BaseException) -> Interrupted:
    """What to say of an interruption. One that came while another was told must not hide how to go on."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, Interrupted):
        cause = cause.__context__
    return cause or Interrupted("interrupted")


def _print_error(error: BenchError) -> int:
    print(f"bench: {error}", file=sys.stderr)  # noqa: T201
    return error.exit_code


def _other_error(error: BaseException, words: list[str]) -> int:
    """The exit code for an error of typer, which is printed like our own, of the machine, or of this program."""
    # By attribute and not by class, for the reason below: the class of such an error may be one of typer's own.
    message = getattr(error, "format_message", None)
    if message is not None:
        if type(error).__name__ == "NoArgsIsHelpError":  # by name, because typer has its own copy of click
            print(message())  # noqa: T201
            return UsageError.exit_code
        return _print_error(UsageError(message().rstrip("."), "see `bench --help`"))
    # Imported late: a command that works needs none of it.
    from bench.files import error_of_the_machine

    if known := error_of_the_machine(error):
        return _print_error(known)
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != "bench":
        return _print_error(BenchError(f"the package '{error.name}' is missing", "install touchstone-bench again"))
    try:
        from bench.cli import crash

        sentence = crash.report(error, words)
    except Exception as second:  # noqa: BLE001 - Python's own exit code would be 1, that of a regression
        kinds = f"{type(error).__name__}, then {type(second).__name__}"
        sentence = f"this is a fault of touchstone-bench, and its report could not be written: {kinds}"
    print(f"bench: {sentence}", file=sys.stderr)  # noqa: T201
    return FAULT
