"""What a silence matches: an alert's labels, type, level, client_id and project name."""

from typing import Annotated

from pydantic import Field

from agent.wire.base import Request, Text


class Matcher(Request):
    """`name`: a label's, or type, level, client_id, project. A regular expression has to match the whole value."""

    name: Annotated[Text, Field(min_length=1, max_length=63)]
    value: Annotated[Text, Field(max_length=200)]
    is_regex: bool = False
