"""The edge of the HTTP server: idle, slow and many connections, hosts, methods, parameters, revoked tokens."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from millrace_alerts.api import server, stream_places
from millrace_alerts.api.host_names import is_ours
from millrace_alerts.api.written_text import lines_as_written, shown_as_written
from millrace_contract.runtime.listening import listen_on
from millrace_contract.testing import wait_until

from .conftest import Running
from .problem_documents import problem
from .test_api import ANNA, HOT


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service with room for few, and little patience."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "ConnectionLimits", lambda: server_limits)
        patch.setattr(stream_places, "MOST_STREAMS", 3)
        patch.setattr(stream_places, "MOST_OF_ONE_ADDRESS", 2)
        service = Running(tmp_path_factory.mktemp("small")).start()
        yield service
        service.stop()


server_limits = server.ConnectionLimits(connections=20, head_s=1.0)


def connect(service: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.settings.http_port), timeout=20)


def is_closed(client: socket.socket) -> bool:
    """Whether the server has ended the connection."""
    client.settimeout(0.05)
    try:
        return client.recv(1000) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.process
class TestConnections:
    def test_idle_ones_without_a_token_shut_nobody_out(self, small: Running) -> None:
        with ExitStack() as stack:
            idle = [stack.enter_context(connect(small)) for _ in range(60)]
            for _ in range(5):
                assert small.get("/health/live", token=None).status_code == 200
                assert small.get("/v1/alerts").status_code == 200
            assert sum(is_closed(each) for each in idle) >= 40

    @pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "], ids=["nothing", "half a head"])
    def test_a_head_that_does_not_come_ends_the_connection(self, small: Running, sent: bytes) -> None:
        with connect(small) as client:
            client.sendall(sent)
            wait_until(lambda: is_closed(client), "the end of the connection")

    def test_a_connection_with_a_request_at_work_is_not_closed_for_a_newcomer(self, small: Running) -> None:
        with small.http() as streaming, streaming.stream("GET", "/v1/alerts/stream") as answer, ExitStack() as stack:
            assert answer.status_code == 200
            for _ in range(60):
                stack.enter_context(connect(small))
            small.raise_hot("CNC-02")
            assert any("CNC-02" in line for line in answer.iter_lines())

    def test_what_is_no_http_gets_a_problem_document(self, small: Running) -> None:
        with connect(small) as client:
            client.sendall(b"nonsense\r\n\r\n")
            answer = client.recv(10_000)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"400" in head
        assert b"application/problem+json" in head
        assert json.loads(body)["status"] == 400

    def test_answers_on_a_kept_connection_do_not_wait_for_an_acknowledgement(self, small: Running) -> None:
        # Nagle's delay shows as 40 ms and more for each answer; the median of many is far below, however busy the machine.
        with small.http() as client:
            client.get("/health/live")
            taken_s = []
            for _ in range(40):
                begin = time.perf_counter()
                client.get("/health/live")
                taken_s.append(time.perf_counter() - begin)
        assert min(taken_s) < 0.03


@pytest.mark.process
class TestStreams:
    def test_they_are_counted_apart_and_the_one_too_many_is_told_when_to_come_again(self, small: Running) -> None:
        with ExitStack() as stack:
            client = stack.enter_context(small.http())
            for _ in range(2):
                stack.enter_context(client.stream("GET", "/v1/alerts/stream"))
            refused = small.get("/v1/alerts/stream")
            problem(refused, 503, "unavailable")
            assert int(refused.headers["Retry-After"]) > 0
            elsewhere = {"X-Forwarded-For": "192.0.2.7"}
            assert stack.enter_context(client.stream("GET", "/v1/alerts/stream", headers=elsewhere)).status_code == 200
            problem(small.get("/v1/alerts/stream", headers={"X-Forwarded-For": "192.0.2.8"}), 503, "unavailable")
            assert small.get("/v1/alerts").status_code == 200
        wait_until(lambda: self.opens(small), "a place that was given back")

    def opens(self, service: Running) -> bool:
        with service.http() as client, client.stream("GET", "/v1/alerts/stream") as answer:
            return answer.status_code == 200

    def test_a_stream_ends_with_its_token(self, running: Running) -> None:
        with running.http("reader") as client, client.stream("GET", "/v1/alerts/stream") as answer:
            assert answer.status_code == 200
            running.write_tokens({"mes": ["read"]})
            running.clock.advance(2)
            pulses = sum(1 for line, _ in zip(answer.iter_lines(), range(20), strict=False) if line.startswith(":"))
            assert answer.is_stream_consumed, f"still open after {pulses} pulses"
        problem(running.get("/v1/alerts/stream", token="reader"), 401, "unauthorized")


@pytest.mark.process
class TestTokens:
    def test_at_a_start_nobody_is_refused_whose_token_is_good(self, tmp_path: Path) -> None:
        service = Running(tmp_path)
        service.start()
        try:
            assert service.get("/v1/alerts", token="reader").status_code == 200
        finally:
            service.stop()

    def test_while_the_list_was_never_read_a_token_is_not_called_wrong(self, tmp_path: Path) -> None:
        service = Running(tmp_path)
        service.tokens_file.write_text("{")
        service.start()
        try:
            answer = service.get("/v1/alerts", token="reader")
            problem(answer, 503, "unavailable")
            service.write_tokens({"reader": ["read"]})
            service.clock.advance(2)
            assert service.get("/v1/alerts", token="reader").status_code == 200
        finally:
            service.stop()

    def test_refused_ones_and_requests_are_counted_by_route(self, shared: Running) -> None:
        shared.get("/v1/alerts", token="stranger")
        shared.get("/v1/alerts/nope.CNC-01")
        shared.get("/nowhere/at/all")
        figures = shared.get("/metrics").text
        assert 'millrace_alerts_refused_logins_total{reason="unknown_token"}' in figures
        assert 'millrace_alerts_requests_total{method="GET",route="/v1/alerts/{alert_id}",status="404"}' in figures
        assert "nowhere" not in figures
        assert "nope" not in figures


@pytest.mark.process
class TestRequests:
    @pytest.mark.parametrize(
        "path", ["/v1/alerts", HOT, "/v1/alert-events", "/v1/devices", "/", "/page.js", "/health/live", "/openapi.json"]
    )
    def test_head_is_get_without_the_body(self, shared: Running, path: str) -> None:
        with shared.http() as client:
            head, get = client.head(path), client.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] == get.headers["Content-Length"]

    @pytest.mark.parametrize("path", ["/v1/alerts/stream", "/page/stream"])
    def test_a_stream_has_no_head(self, shared: Running, path: str) -> None:
        with shared.http() as client:
            assert client.head(path).status_code == 405

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("/v1/alerts?prioriti=high", "did you mean priority?"),
            ("/v1/alerts?stat=NORM&lines=line1", "did you mean state?"),
            ("/v1/alert-events?since=2025-10-09T00:00:00Z", "there are after"),
            (f"{HOT}?x=1", "there are none"),
            ("/v1/devices?Line=line1", "did you mean line?"),
        ],
    )
    def test_a_parameter_that_is_none_is_refused_with_what_was_meant(self, shared: Running, query: str, words: str) -> None:
        assert words in problem(shared.get(query), 422, "invalid")["detail"]

    @pytest.mark.parametrize("query", ["line=line9", "device=CNC-99"])
    def test_alerts_of_what_the_plant_has_not_are_not_an_empty_list(self, shared: Running, query: str) -> None:
        problem(shared.get(f"/v1/alerts?{query}"), 404, "not-found")

    def test_a_body_that_trickles_is_ended_and_a_broken_one_changes_nothing(self, shared: Running) -> None:
        with connect(shared) as client:
            head = f"POST {HOT}/ack HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer lead-token\r\n"
            client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
            client.settimeout(40)
            assert b" 408 " in client.recv(10_000)

    @pytest.mark.parametrize("for_s", ["1e308", "-1e308", "1e400", "Infinity", "604801", "0"])
    def test_numbers_without_a_bound_are_none_of_ours(self, shared: Running, for_s: str) -> None:
        body = f'{{"actor": "anna", "reason": "test", "for_s": {for_s}}}'
        with shared.http() as client:
            headers = {"If-Match": '"1"', "Content-Type": "application/json"}
            assert client.post(f"{HOT}/shelve", content=body, headers=headers).status_code == 422

    @pytest.mark.parametrize("position", ['[99999999999999999999999,"a"]', '[-99999999999999999999999,"a"]', '[1e300,"a"]'])
    def test_a_cursor_of_any_number_is_answered(self, shared: Running, position: str) -> None:
        cursor = base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")
        assert shared.get(f"/v1/alerts?cursor={cursor}").status_code == 400


class TestWords:
    @pytest.mark.parametrize(
        "text", ["anna\u202egpj", "a\u200bb", "bell\x07", "\x1b[31mred", "soft\u00adhyphen", "line\u2028break"]
    )
    def test_characters_that_are_not_shown_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="cannot be shown"):
            shown_as_written(text)

    @pytest.mark.parametrize("text", ["Zoë Müller", "王小明", "नर्स क्\u200dष", "عباس", "Schicht 2: Ölstand", "👩\u200d🔧"])
    def test_names_of_people_are_taken(self, text: str) -> None:
        assert shown_as_written(text) == text

    def test_remarks_may_have_lines_and_names_not(self) -> None:
        assert lines_as_written("first\nsecond") == "first\nsecond"
        with pytest.raises(ValueError, match="character 6"):
            shown_as_written("first\nsecond")
        with pytest.raises(ValueError, match="cannot be shown"):
            lines_as_written("a\tb\r\nc")

    @pytest.mark.process
    def test_an_actor_with_such_a_character_is_a_mistake_in_words(self, shared: Running) -> None:
        answer = shared.post(f"{HOT}/comment", {**ANNA, "comment": "all\u202ewell"}, '"1"')
        assert "cannot be shown" in problem(answer, 422, "invalid")["detail"]


class TestHosts:
    @pytest.mark.parametrize(
        "host",
        ["", "10.0.0.5", "10.0.0.5:8080", "[::1]:8080", "::1", "millrace", "MILLRACE:8080", "mes.plant.internal", "hmi.local."],
    )
    def test_addresses_and_names_that_nobody_can_register_are_ours(self, host: str) -> None:
        assert is_ours(host, frozenset())

    @pytest.mark.parametrize("host", ["evil.example", "10.0.0.5.evil.example", "local.evil.example", "10.0.0.999", "a.b:80:90"])
    def test_a_strangers_name_is_not(self, host: str) -> None:
        assert not is_ours(host, frozenset({"mes.example.com"}))

    def test_listed_names_are(self) -> None:
        assert is_ours("MES.example.com:443", frozenset({"mes.example.com"}))
        assert is_ours("anything.example", frozenset({"*"}))

    @pytest.mark.process
    def test_a_strangers_name_is_told_the_way_out(self, shared: Running) -> None:
        answer = shared.get("/", token=None, headers={"Host": "evil.example"})
        assert "MILLRACE_HTTP_NAMES" in problem(answer, 421, "misdirected")["detail"]


def test_a_listening_socket_lets_asyncio_send_at_once() -> None:
    async def accepted_option() -> int:
        seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = listen_on("127.0.0.1", 0, "a test")
        async with await asyncio.start_server(accept, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            found = await asyncio.wait_for(seen, 20)
            writer.close()
        return found

    assert asyncio.run(accepted_option()) != 0
