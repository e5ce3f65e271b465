"""`container_naming`: how a project's containers are called. The names themselves are made in `agent/naming.py`."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from agent.wire.base import Request

VARIABLES = ("PREFIX", "ENV", "VERSION", "TIMESTAMP", "DATE", "TIME", "INDEX")
"""What a template may use, as `${PREFIX}`."""

INDEX_DIGITS = 5
"""The room that is kept for an index: a host with more than 99,999 containers of one name is none of ours."""

SHORTEST_NAME = 2
"""Docker takes no name of one character."""

_UNIQUE_CHARACTERS = {"TIMESTAMP": 14, "DATE": 8, "TIME": 6, "INDEX": INDEX_DIGITS}
"""The values that are never cut, and how long they are: 20300102030405, 20300102, 030405, 1."""

_TOKEN = re.compile(r"\$\{([^}]*)\}|([^$]+)|(\$)")
_LITERAL = re.compile(r"[A-Za-z0-9_.-]*")

Prefix = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")]
"""Docker's rule for the beginning of a name (moby: daemon/names, RestrictedNamePattern)."""

Template = Annotated[str, Field(min_length=1, max_length=200)]
Token = tuple[Literal["variable", "literal"], str]


def parse_template(template: str) -> tuple[Token, ...]:
    """The template's variables and what stands between them. Raises ValueError for what is neither."""
    tokens: list[Token] = []
    for variable, literal, dollar in _TOKEN.findall(template):
        if dollar or (literal and not _LITERAL.fullmatch(literal)):
            raise ValueError("a template has letters, digits, '_', '.', '-' and ${VARIABLES} only")
        if literal:
            tokens.append(("literal", literal))
        elif variable in VARIABLES:
            tokens.append(("variable", variable))
        else:
            known = " ".join(f"${{{name}}}" for name in VARIABLES)
            raise ValueError(f"a template has an unknown variable; known are {known}")
    return tuple(tokens)


class ContainerNaming(Request):
    """Names like `shop-prod-1`; with `include_ver` like `shop-prod-1.5-20300102030405`; a `template` says it all itself.

    Refused here is what could not give a legal and unique name later. `max_length` is in characters.
    """

    prefix: Prefix
    separator: Literal["-", "_", "."] = "-"
    include_env: bool = True
    include_ver: bool = False
    max_length: Annotated[int, Field(strict=True, ge=2, le=253)] = 63
    template: Template | None = None

    @model_validator(mode="after")
    def _gives_names(self) -> Self:
        faults = [_blame(field, message) for field, message in self._faults()]
        if faults:
            raise ValidationError.from_exception_data("ContainerNaming", faults, hide_input=True)
        return self

    def tokens(self) -> tuple[Token, ...]:
        """The template, or the shape that the other fields ask for."""
        if self.template is not None:
            return parse_template(self.template)
        names = ["PREFIX"]
        names += ["ENV"] if self.include_env else []
        names += ["VERSION", "TIMESTAMP"] if self.include_ver else ["INDEX"]
        tokens: list[Token] = []
        for name in names:
            tokens += [("literal", self.separator)] if tokens else []
            tokens.append(("variable", name))
        return tuple(tokens)

    def _faults(self) -> Iterator[tuple[str, str]]:
        """Each field that is to blame, and why."""
        if self.prefix.endswith(self.separator):
            yield "prefix", "must not end with the separator"
        try:
            tokens = self.tokens()
        except ValueError as error:
            yield "template", str(error)
            return
        text = "".join(self.prefix if token == ("variable", "PREFIX") else _shown(token) for token in tokens)
        if text == self.prefix and len(text) < SHORTEST_NAME:
            yield "prefix", "is too short to be a name of its own: it needs two characters"
        if text != self.prefix and not text.startswith(self.prefix + self.separator):
            yield "template", "a template begins with ${PREFIX} and the separator, or is ${PREFIX} alone"
        shortest = self._shortest(tokens, alone=text == self.prefix)
        if self.max_length < shortest:
            yield "max_length", f"is too small: the shortest name needs {shortest} characters"

    def _shortest(self, tokens: tuple[Token, ...], *, alone: bool) -> int:
        """The prefix, whatever is never cut, and the index that is added where the template has none."""
        beyond = tokens[1:] if tokens[0] == ("variable", "PREFIX") else tokens
        kept = [self._kept(name) for kind, name in beyond if kind == "variable" and not alone]
        has_index = ("variable", "INDEX") in tokens
        own_end = 0 if has_index else len(self.separator) + INDEX_DIGITS
        return len(self.prefix) + (0 if alone else len(self.separator)) + sum(kept) + own_end

    def _kept(self, variable: str) -> int:
        return len(self.prefix) if variable == "PREFIX" else _UNIQUE_CHARACTERS.get(variable, 0)


def _blame(field: str, message: str) -> InitErrorDetails:
    return {"type": PydanticCustomError("value_error", message), "loc": (field,), "input": None}


def _shown(token: Token) -> str:
    kind, text = token
    return text if kind == "literal" else f"${{{text}}}"
