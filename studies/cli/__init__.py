"""The command line. Each command imports what it needs when it runs.

So that `--help` answers at once.
"""

import io
import os
import sys
from typing import Annotated

import typer

from . import beginning, editing, looking, merging_commands, searching
from .shadowing import shadowed

app = typer.Typer(
    name="eutectic",
    help="Finds the best way to merge language models: a mergekit recipe with ranges, searched "
    "with Optuna, scored on real tasks, exported as the recipe that won.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 a result was produced; 1 `verify` found a difference; 2 the input is at "
    "fault; 3 no usable winner, or too many failed trials; 130 interrupted, state saved.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from ..versions import version_lines

        print("\n".join(version_lines()))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            help="Print the versions of eutectic and of what it stands on.",
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Options of every command."""
    if debug:
        os.environ["EUTECTIC_DEBUG"] = "1"


beginning.register(app)
searching.register(app)
looking.register(app)
merging_commands.register(app)
editing.register(app)


def main() -> None:
    """The `eutectic` command."""
    # OpenMP threads that spin at barriers make scoring several times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):  # a terminal of few characters gets the others escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if fault := shadowed():
        print(f"eutectic: {fault}", file=sys.stderr)
        sys.exit(2)
    if "--debug" in sys.argv:  # also after the command's name, where people type it
        sys.argv = [sys.argv[0], "--debug", *(one for one in sys.argv[1:] if one != "--debug")]
    app()
