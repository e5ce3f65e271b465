"""The options that say whom to deploy to and how, and the request for a deploy task that they make."""

from collections.abc import Callable
from typing import Any

import click

from api.cli.calling import document_option, given, pairs
from api.cli.release_api import ReleaseApi

_STRATEGY = (
    *("waves", "max_parallel", "max_failures", "max_failures_per_wave", "stable_for_s", "health_timeout_s"),
    *("canary_percent", "canary_duration_s", "pause_after", "spread_by", "offline", "regression_percent"),
)


def _size(value: str) -> int | str:
    return int(value) if value.isascii() and value.isdigit() else value


def _waves(_context: click.Context, _option: click.Parameter, value: str | None) -> list[int | str] | None:
    return [_size(one.strip()) for one in value.split(",")] if value is not None else None


def _threshold(_context: click.Context, _option: click.Parameter, value: str | None) -> int | str | None:
    return _size(value) if value is not None else None


_OPTIONS = (
    click.option("--from", "source_version", metavar="VERSION", help="Only clients that have this version."),
    click.option("--environment", metavar="NAME", help='Where; "*" is everywhere. Needed where there are several.'),
    click.option("--client", "client_ids", multiple=True, help="This client; any number of times (all that fit)."),
    click.option("--label", "labels", multiple=True, callback=pairs, metavar="NAME=VALUE", help="Clients with this label."),
    click.option("--exclude", "exclude_client_ids", multiple=True, metavar="CLIENT", help="Not this client."),
    click.option("--include-failed", is_flag=True, help="Also where the last attempt failed."),
    click.option("--allow-downgrade", is_flag=True, help="Also where a newer version is."),
    click.option("--redeploy", is_flag=True, help="Also where the version is already."),
    click.option("--waves", callback=_waves, metavar="LIST", help="Counts and shares, the last repeated (1,25%,100%)."),
    click.option("--max-parallel", type=int, help="At most so many clients at once (25)."),
    click.option("--max-failures", callback=_threshold, metavar="N|N%", help="Stop when more fail than this (0)."),
    click.option("--stable-for", "stable_for_s", type=float, help="Seconds that what runs has to stay (30)."),
    click.option("--health-timeout", "health_timeout_s", type=float, help="Seconds to become well (300)."),
    click.option("--max-failures-per-wave", callback=_threshold, metavar="N|N%", help="Likewise, in each wave."),
    click.option("--keep-going", is_flag=True, help="However many fail; the same as --on-failure continue."),
    click.option("--on-failure", "failure_strategy", type=click.Choice(["abort", "pause", "continue"]), help="When too many fail (abort)."),
    click.option("--auto-rollback", type=click.Choice(["off", "failed", "wave", "all"]), help="Whom to take back by itself (off)."),
    click.option("--canary", "canary_percent", type=int, metavar="PERCENT", help="A first wave that is watched before the others."),
    click.option("--canary-duration", "canary_duration_s", type=float, metavar="S", help="Seconds to watch the canary."),
    click.option("--auto-promote", is_flag=True, help="Promote the canary by itself if it holds."),
    click.option("--pause-after", callback=_waves, metavar="LIST", help="Waves after which a person says how it goes on (1,2)."),
    click.option("--spread-by", metavar="LABEL", help="Clients that share its value are never in one wave."),
    click.option("--regression-percent", type=click.IntRange(0), metavar="N", help="Stop where clients use so much more CPU or memory than before (50; 0: never)."),
    click.option("--offline", type=click.Choice(["fail", "skip", "wait"]), help="What becomes of clients that are offline (fail)."),
    click.option("--at", "schedule_from", metavar="TIME", help="Start by itself at this time (2030-01-04T22:00:00Z)."),
    click.option("--not-after", "schedule_to", metavar="TIME", help="Begin no wave after this time."),
    click.option("--timeout", "timeout_s", type=int, help="Seconds for each script (the version's)."),
    click.option("--env", multiple=True, callback=pairs, metavar="NAME=VALUE", help="For the scripts. No secrets: arguments are public."),
    document_option("a deploy task"),
)  # fmt: skip


def deploy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Whom to deploy to, and how."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def task_request(
    api: ReleaseApi, project: str, version: str | None, operation: str, options: dict[str, Any]
) -> dict[str, Any]:
    """The body of `POST /release/tasks`. Without a client or a label, all that have the project are selected."""
    strategy = given(**{name: options.pop(name) for name in _STRATEGY})
    strategy |= {"canary_auto_promote": True} if options.pop("auto_promote") else {}
    document, labels = options.pop("document"), options.pop("labels")
    flags = [name for name in ("include_failed", "allow_downgrade", "redeploy") if options.pop(name)]
    body = {"project_id": project, "operation": operation, **document, **given(version=version, **options)}
    body |= dict.fromkeys(flags, True)
    if body.pop("keep_going", False):
        body["failure_strategy"] = "continue"
    if "schedule_from" in body:
        body["schedule_type"] = "scheduled"
    if labels:
        body["selector"] = {"labels": labels}
    if not {"client_ids", "selector", "auto_select_clients"} & body.keys():
        body["auto_select_clients"] = True
    if strategy:
        # What no option says is the document's or the project's, not the API's default.
        known = body.get("strategy") or api.get("projects", project)["default_strategy"]
        body["strategy"] = (known or {}) | strategy
    return body
