"""`schema`: what an editor needs to complete and check a study file."""

from pathlib import Path
from typing import Annotated

import typer

from .faults import guarded
from .options import Methods


@guarded
def schema(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write to this file instead of printing.")
    ] = None,
    methods: Methods = [],  # noqa: B006 - typer copies defaults
) -> None:
    """Print the JSON Schema of a study file, for editors.

    Example: eutectic schema -o study.schema.json
    """
    from ..schema_file import schema_text

    if output is None:
        print(schema_text(), end="")
    else:
        output.write_text(schema_text(), encoding="utf-8")


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command()(schema)
