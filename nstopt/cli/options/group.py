"""Option groups: a dataclass of options that a command takes as one parameter.

    @dataclass(frozen=True)
    class Network(OptionGroup):
        panel = "Network"
        host: Annotated[str, typer.Option(help="Host to connect to.")] = "localhost"
        port: Annotated[int, typer.Option(help="Port of the host.")] = 80

    @expand_groups
    def ping(*, network: Network, count: int = 3) -> None: ...

The command line is then `ping --host HOST --port PORT --count N`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, fields
from inspect import Parameter
from typing import Annotated, Any, ClassVar, get_args, get_type_hints

import typer
from typer.models import OptionInfo


@dataclass(frozen=True)
class OptionGroup:
    """Base of all option groups. Every field is `Annotated[TYPE, typer.Option(...)]`; one without a default is
    required. `panel` is the heading of the group in `--help`."""

    panel: ClassVar[str]

    @classmethod
    def names(cls) -> set[str]:
        """The names of all options."""
        return {field.name for field in fields(cls)}

    def given(self, *names: str) -> dict[str, Any]:
        """Return the fields of these names that are not None. Passed as keyword arguments to a spec, they leave every
        other field at the spec's own default."""
        return given({name: getattr(self, name) for name in names})


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def given_on_command_line(context: typer.Context) -> set[str]:
    """Return the names of the parameters that the user gave, rather than left at their defaults."""
    sources = ((name, context.get_parameter_source(name)) for name in context.params)
    return {name for name, source in sources if source is not None and source.name == "COMMANDLINE"}


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of `command` that is annotated with an option group by the options of that group.

    Typer reads the options from the signature of the result. When called, the result builds each group and passes it to
    `command`. All parameters become keyword-only, which is how Typer passes them, so their order is free of Python's
    rule that parameters with a default come last.
    """
    signature = inspect.signature(command, eval_str=True)
    groups = {
        parameter.name: parameter.annotation
        for parameter in signature.parameters.values()
        if isinstance(parameter.annotation, type) and issubclass(parameter.annotation, OptionGroup)
    }

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    expanded: list[Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name in groups:
            expanded += _options(groups[parameter.name])
        else:
            expanded.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
    run.__signature__ = signature.replace(parameters=expanded)  # type: ignore[attr-defined]
    return run


def _options(group: type[OptionGroup]) -> Iterator[Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        value_type, option = get_args(hints[field.name])
        assert isinstance(option, OptionInfo), f"{group.__name__}.{field.name} has no typer.Option"
        option.rich_help_panel = group.panel
        yield Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=Annotated[value_type, option],
        )


def _default(field: Field[Any]) -> Any:
    return Parameter.empty if field.default is MISSING else field.default
