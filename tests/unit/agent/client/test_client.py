"""Which of an agent's failures are worth another try, and whether the request may have arrived."""

import gzip
import traceback

import httpx
import pytest

from agent.client import MAX_ANSWER_BYTES, AgentApi, agent_http_client
from agent.errors import PermanentAgentError, TransientAgentError
from agent.wire.executions import ExecuteRequest
from agent.wire.info import FEATURES, AgentInfo
from agent.wire.releases import Check, CheckRequest, VersionProbe

TOKEN = "a-secret-token"
REQUEST = ExecuteRequest(
    execution_id="e1",
    release_id="r1",
    project_id="shop",
    target_id="t1",
    operation="update",
    version="2.0",
    script="echo a-secret-script",
    work_dir="/srv/shop",
)
INFO = AgentInfo(
    client_id="web-1",
    agent_version="1",
    features=FEATURES,
    hostname="web-1",
    boot_id="b",
    started_at="2026-01-01T00:00:00Z",
    detach_methods=("setsid",),
)


def failing(answer):
    """An agent that answers (or fails) like this."""

    def handle(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        if isinstance(answer, httpx.Response):
            return answer
        raise answer

    return agent_http_client(transport=httpx.MockTransport(handle))


@pytest.mark.parametrize(
    ("answer", "may_have_arrived"),
    [
        (httpx.ConnectError("refused"), False),
        (httpx.ConnectTimeout(""), False),
        (httpx.PoolTimeout(""), False),
        (httpx.ReadTimeout(""), True),
        (httpx.WriteError("broken"), True),
        (httpx.RemoteProtocolError("closed"), True),
        (httpx.Response(502), True),
        (httpx.Response(503), False),
        (httpx.Response(504), True),
        (httpx.Response(200, text="no JSON"), True),
    ],
    ids=str,
)
async def test_failure_that_is_worth_another_try(answer, may_have_arrived: bool):
    async with failing(answer) as http:
        with pytest.raises(TransientAgentError) as caught:
            await AgentApi(http, "https://web-1", TOKEN).execute(REQUEST)
    assert caught.value.may_have_arrived is may_have_arrived
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 413, 422, 500, 507])
async def test_refusal_is_permanent_and_carries_the_problem(status: int):
    problem = {"title": "No", "status": status, "detail": "cannot do it: because"}
    async with failing(httpx.Response(status, json=problem)) as http:
        with pytest.raises(PermanentAgentError) as caught:
            await AgentApi(http, "https://web-1", TOKEN).execute(REQUEST)
    assert caught.value.status == status
    assert caught.value.problem is not None
    assert "cannot do it: because" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_refusal_that_is_no_problem_document():
    async with failing(httpx.Response(404, text="<html>")) as http:
        with pytest.raises(PermanentAgentError) as caught:
            await AgentApi(http, "https://web-1", TOKEN).info()
    assert (caught.value.status, caught.value.problem) == (404, None)


async def test_url_may_have_a_path_prefix_and_the_lease_goes_along():
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url), request.content))
        return httpx.Response(200, json={"execution_id": "e1", "project_id": "shop", "state": "running"})

    async with agent_http_client(transport=httpx.MockTransport(handle)) as http:
        api = AgentApi(http, "https://edge/agents/web-1/", TOKEN, client_id="web-1").with_fence(9)
        await api.cancel("e1")
        await api.execute(REQUEST)
    assert seen[0] == (
        "https://edge/agents/web-1/v1/executions/e1/cancel",
        b'{"client_id":"web-1","fence":9}',
    )
    assert b'"fence":9' in seen[1][1]


async def test_cancel_of_what_may_never_have_come_names_the_project():
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.content)
        return httpx.Response(404, json={"title": "Not found", "status": 404, "detail": "none"})

    async with agent_http_client(transport=httpx.MockTransport(handle)) as http:
        older = AgentApi(http, "https://web-1", TOKEN, fence=9, info=INFO.model_copy(update={"features": ()}))
        assert await older.cancel_if_known("e1", "shop") is None
        newer = AgentApi(http, "https://web-1", TOKEN, fence=9, info=INFO)
        assert await newer.cancel_if_known("e1", "shop") is None
    assert seen == [b'{"fence":9}', b'{"fence":9,"project_id":"shop"}']


async def test_check_is_waited_for_as_long_as_its_slowest_part_may_take():
    waited = []

    def handle(request: httpx.Request) -> httpx.Response:
        waited.append(request.extensions["timeout"]["read"])
        return httpx.Response(200, json={"installed": True})

    probe = VersionProbe(type="command", command="app --version", timeout_s=45)
    async with agent_http_client(transport=httpx.MockTransport(handle)) as http:
        api = AgentApi(http, "https://web-1", TOKEN, info=INFO)
        await api.check(CheckRequest(project_id="shop", work_dir="/srv"))
        await api.check(CheckRequest(project_id="shop", work_dir="/srv", version_probe=probe))
        slow = Check(type="tcp", port=80, timeout_s=60)
        await api.check(CheckRequest(project_id="shop", work_dir="/srv", version_probe=probe, checks=(slow,)))
    assert waited == [30, 75, 90]


async def test_deleting_a_monitor_that_is_not_there_is_fine():
    async with failing(httpx.Response(404, json={"title": "x", "status": 404, "detail": "none"})) as http:
        await AgentApi(http, "https://web-1", TOKEN).delete_monitor("shop")


@pytest.mark.parametrize(
    "token", ["", " ", "two words", "a-secret\n", "a-secret\r\nX: y", "sécret", "a\x00b", "\ud800"]
)
async def test_token_that_cannot_be_sent_is_refused_without_being_shown(token: str):
    async with failing(AssertionError("was sent")) as http:
        api = AgentApi(http, "https://web-1", token).with_fence(1)
        with pytest.raises(PermanentAgentError) as caught:
            await api.execute(REQUEST)
    assert caught.value.status == 0
    assert "secret" not in str(caught.value)
    assert ("no token is kept for it" in str(caught.value)) is (token == "")


async def test_text_of_a_local_protocol_error_is_never_shown():
    async with failing(httpx.LocalProtocolError(f"Illegal header value b'Bearer {TOKEN}'")) as http:
        with pytest.raises(TransientAgentError) as caught:
            await AgentApi(http, "https://web-1", TOKEN).execute(REQUEST)
    assert "LocalProtocolError" in str(caught.value)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("method", ["info", "monitors"])
async def test_page_of_a_proxy_is_no_answer(method: str):
    async with failing(httpx.Response(200, text="<html>sign in</html>")) as http:
        with pytest.raises(TransientAgentError):
            await getattr(AgentApi(http, "https://web-1", TOKEN), method)()


@pytest.mark.parametrize("status", [200, 500])
async def test_endless_answer_is_read_up_to_a_limit(status: int):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 65_536
            yield b" " * 65_536

    async with failing(httpx.Response(status, content=endless())) as http:
        with pytest.raises(TransientAgentError if status == 200 else PermanentAgentError):
            await AgentApi(http, "https://web-1", TOKEN).info()
    assert sent <= MAX_ANSWER_BYTES + 2 * 65_536


async def test_answer_is_asked_for_unpacked_and_a_packed_one_is_not_unpacked():
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["accept-encoding"])
        return httpx.Response(200, content=packed(), headers={"Content-Encoding": "gzip"})

    async def packed():
        yield gzip.compress(b" " * 1_000_000)
        raise AssertionError("was read")

    async with agent_http_client(transport=httpx.MockTransport(handle)) as http:
        with pytest.raises(TransientAgentError):
            await AgentApi(http, "https://web-1", TOKEN).info()
    assert seen == ["identity"]
