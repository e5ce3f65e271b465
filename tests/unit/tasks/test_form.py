"""The form of Prefect's UI: what it asks for, and what it says when it is wrong."""

from datetime import UTC, datetime, timedelta

import pytest

from tasks.errors import PlanningError
from tasks.form import UpgradeForm, check_parameters, parse_form, request_of, starts_later


def test_empty_fields_mean_as_usual():
    asked = request_of(UpgradeForm(project="shop", version="1.5"), "prefect")
    assert asked.auto_select_clients
    assert asked.strategy is None
    assert asked.environment is None
    assert asked.client_ids is None


def test_lists_counts_and_shares_are_read_from_text():
    form = UpgradeForm(
        project="shop",
        version="1.5",
        clients="a, b ,c",
        exclude="c",
        waves="1, 50%, 100%",
        max_failures="10%",
    )
    asked = request_of(form, "prefect")
    assert asked.client_ids == ("a", "b", "c")
    assert not asked.auto_select_clients
    assert asked.exclude_client_ids == ("c",)
    assert asked.strategy is not None
    assert asked.strategy.waves == (1, "50%", "100%")
    assert asked.strategy.max_failures == "10%"


def test_from_version_narrows_named_clients_too():
    asked = request_of(
        UpgradeForm(project="shop", version="1.5", clients="a,b", source_version="1.4"), "prefect"
    )
    assert (asked.client_ids, asked.source_version) == (("a", "b"), "1.4")


def test_time_without_a_zone_is_in_utc():
    noon = datetime(2030, 1, 4, 12, tzinfo=UTC)
    form = parse_form({"project": "shop", "version": "1.5", "schedule_from": "2030-01-04T12:00:00"})
    asked = request_of(form, "prefect")
    assert (asked.schedule_type, asked.schedule_from) == ("scheduled", noon)
    assert starts_later(form, noon - timedelta(seconds=1)) == noon
    assert starts_later(form, noon) is None
    assert starts_later(UpgradeForm(), noon) is None
    there = parse_form({"project": "shop", "version": "1.5", "schedule_to": "2030-01-04T13:00:00+01:00"})
    assert (request_of(there, "prefect").schedule_type, request_of(there, "prefect").schedule_to) == (
        "immediate",
        noon,
    )


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"version": "1.5"}, "project: is needed"),
        ({"project": "shop"}, "needs a version"),
        ({"project": "shop", "version": "1.5", "waves": "0%"}, "waves: "),
        ({"project": "shop", "version": "1.5", "wavess": "1"}, "wavess: Extra inputs"),
        ({"project": "shop", "version": "1.5", "max_parallel": 0}, "max_parallel: "),
        ({"project": "shop", "version": "1.5", "max_parallel": "many"}, "max_parallel: "),
        ({"project": "shop", "version": "1.5", "clients": "../x"}, "clients: "),
        ({"project": "shop", "version": "1.5", "operation": "explode"}, "operation: "),
        ({"project": "shop", "version": "1.5", "schedule_from": "tonight"}, "schedule_from: "),
        (
            {
                "project": "shop",
                "version": "1.5",
                "schedule_from": "2030-01-02T00:00Z",
                "schedule_to": "2030-01-01T00:00",
            },
            "schedule_to has to be after schedule_from",
        ),
        ("shop", "not a form"),
    ],
)
def test_mistake_is_one_line_that_names_the_field(form, says):
    with pytest.raises(PlanningError) as refused:
        request_of(parse_form(form), "prefect")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("deploy_task_id", "request_"), [(None, None), ("x", {"project": "shop"})])
def test_exactly_one_of_deploy_task_and_request(deploy_task_id, request_):
    with pytest.raises(PlanningError, match="either deploy_task_id or request"):
        check_parameters(deploy_task_id, request_)
