"""The clients: so many connections, each posting reports one after the other. Prints how many were answered 202.

`python -m benchmarks.ingest.load PORT PROJECT_ID CONNECTIONS SECONDS`. The requests are made before the clock runs, but
for their ids and times; what this process spends of the CPU is printed too, so that one sees that it held nobody up.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from datetime import UTC, datetime

from benchmarks.ingest.fleet import CLIENTS, make_report, token_of
from db.ids import new_id

WARM_UP = 3 * CLIENTS
"""Answers before the clock runs: every client has been heard, as in an API that runs for more than a minute."""
VARIANTS = 4


class Requests:
    """Requests, each with an id of its own and the time as it is."""

    def __init__(self, project_id: str) -> None:
        chance = random.Random(7)
        at = datetime(2026, 1, 1, tzinfo=UTC)
        self._made = [
            self._split(
                number, make_report(number, project_id, at, chance).model_dump(mode="json", exclude_none=True)
            )
            for _ in range(VARIANTS)
            for number in range(CLIENTS)
        ]
        self._next = 0

    def _split(self, number: int, report: dict[str, object]) -> tuple[bytes, bytes]:
        report |= {"report_id": "I" * 36, "reported_at": "T" * 27}
        body = json.dumps(report, separators=(",", ":")).encode()
        head = (
            "POST /release/process-report HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {token_of(number)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        rest, _, _ = body.partition(b'"reported_at"')
        # The two that change are put last, so that a request is three pieces.
        assert body.endswith(b'"report_id":"' + b"I" * 36 + b'"}'), body[-200:]
        middle = body[len(rest) :].replace(b"T" * 27, b"%b").replace(b"I" * 36, b"%b")
        return head.encode() + rest, middle

    def take(self) -> bytes:
        """The next one."""
        start, end = self._made[self._next % len(self._made)]
        self._next += 1
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
        return start + end % (now, new_id().encode())


class Reporter(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: Requests, answered: Counter[bytes], waits: list[float]) -> None:
        self._requests, self._answered, self._waits = requests, answered, waits
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests.take())

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, found, body = self._seen.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        length = int(lower.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self._answered[head[9:12]] += 1
        self._waits.append(time.perf_counter() - self._sent_at)
        self._seen = b""
        self._send()


async def post(port: int, project_id: str, connections: int, seconds: float) -> None:
    requests, answered, waits = Requests(project_id), Counter[bytes](), list[float]()
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Reporter(requests, answered, waits), "127.0.0.1", port)
    while answered.total() < WARM_UP:
        await asyncio.sleep(0.05)
    print("warm", flush=True)
    await asyncio.to_thread(sys.stdin.readline)  # the database is told how large its tables are by now
    before, cpu, clock = Counter(answered), time.process_time(), time.perf_counter()
    waits.clear()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - clock
    counts = {status.decode(): count - before[status] for status, count in answered.items()}
    waits.sort()
    figures = {
        "answers": counts,
        "per_s": round(counts.get("202", 0) / took),
        "p50_ms": round(1000 * waits[len(waits) // 2], 1),
        "p99_ms": round(1000 * waits[int(len(waits) * 0.99)], 1),
        "load_client_cpu_share": round((time.process_time() - cpu) / took, 2),
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    asyncio.run(post(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
