"""Asks a server by the HTTP/3 of aioquic: PORT CA-FILE. Prints what went well."""

import asyncio
import socket
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

PORT, CA = int(sys.argv[1]), sys.argv[2]
tickets = []


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.answers = {}
        self.terminated = None

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.terminated = event.error_code
        if isinstance(event, StreamReset) and event.stream_id in self.answers:
            self.answers[event.stream_id]["reset"].set_result(event.error_code)
        for event in self.http.handle_event(event):
            answer = self.answers.get(event.stream_id)
            if answer is None:
                continue
            if isinstance(event, HeadersReceived):
                answer["heads"].append(dict(event.headers))
            if isinstance(event, DataReceived):
                answer["content"] += event.data
                answer["came"].set()
            if event.stream_ended and not answer["ended"].done():
                answer["ended"].set_result(None)

    def begin(self, method, path, headers=(), end=True):
        stream = self._quic.get_next_available_stream_id()
        loop = asyncio.get_event_loop()
        self.answers[stream] = {
            "heads": [],
            "content": bytearray(),
            "came": asyncio.Event(),
            "ended": loop.create_future(),
            "reset": loop.create_future(),
        }
        head = [
            (b":method", method),
            (b":scheme", b"https"),
            (b":authority", b"one.test"),
            (b":path", path),
            *headers,
        ]
        self.http.send_headers(stream, head, end_stream=end)
        self.transmit()
        return stream

    async def ask(self, method, path, headers=(), content=None, trailers=None):
        stream = self.begin(method, path, headers, end=content is None)
        if content is not None:
            self.http.send_data(stream, content, end_stream=trailers is None)
            if trailers is not None:
                self.http.send_headers(stream, trailers, end_stream=True)
            self.transmit()
        answer = self.answers[stream]
        await answer["ended"]
        return answer


def configuration(ticket=None):
    config = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="one.test")
    config.load_verify_locations(CA)
    config.verify_mode = ssl.CERT_REQUIRED
    config.session_ticket = ticket
    return config


def connected(ticket=None, **options):
    return connect(
        "127.0.0.1",
        PORT,
        configuration=configuration(ticket),
        create_protocol=Client,
        session_ticket_handler=tickets.append,
        **options,
    )


async def main():
    async with connected() as client:
        # Often enough for the tables of QPACK to be used both ways.
        for _ in range(5):
            fields = [(b"x-say", b"again and again"), (b"user-agent", b"aioquic")]
            answer = await client.ask(b"GET", b"/now", fields)
            assert answer["heads"][0][b":status"] == b"200", answer
            assert answer["content"] == b"now", answer
        print("get")
        content = bytes(range(256)) * 8192
        answer = await client.ask(b"POST", b"/echo", content=content)
        assert answer["content"] == content
        print("echo")
        trailers = [(b"checksum", b"42")]
        answer = await client.ask(b"POST", b"/read", content=b"abc", trailers=trailers)
        assert answer["content"] == b'3 bytes, {"checksum": "42"}', answer
        answer = await client.ask(b"GET", b"/trailers")
        assert len(answer["heads"]) == 2, answer
        print("trailers")
        answer = await client.ask(b"GET", b"/hints")
        assert [head[b":status"] for head in answer["heads"]] == [b"103", b"103", b"200"], answer
        print("hints")
        answers = await asyncio.gather(*(client.ask(b"GET", b"/wait/10") for _ in range(100)))
        assert all(answer["content"] == b"waited" for answer in answers)
        print("many")
        # Another address, as it is when a client leaves one network for another.
        answer = await client.ask(b"GET", b"/now")
        old = client._transport
        loop = asyncio.get_event_loop()
        moved = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        moved.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        moved.bind(("::", 0, 0, 0))
        await loop.create_datagram_endpoint(lambda: client, sock=moved)
        client.change_connection_id()
        for _ in range(5):
            answer = await client.ask(b"GET", b"/stream/10/10000")
            assert len(answer["content"]) == 100000
        old.close()
        print("moved")
        # Another protocol on a stream (RFC 9220).
        stream = client.begin(b"CONNECT", b"/", [(b":protocol", b"shout")], end=False)
        answer = client.answers[stream]
        client.http.send_data(stream, b"hello", end_stream=False)
        client.transmit()
        while answer["content"] != b"HELLO":
            await answer["came"].wait()
            answer["came"].clear()
        assert answer["heads"][0][b":status"] == b"200", answer
        client.http.send_data(stream, b"", end_stream=True)
        client.transmit()
        await answer["ended"]
        print("connect")
    assert tickets, "no ticket came"
    async with connected(tickets[-1], wait_connected=False) as client:
        stream = client.begin(b"GET", b"/now")
        await client.answers[stream]["ended"]
        assert client.answers[stream]["content"] == b"now"
        assert client._quic.tls.early_data_accepted, "early data was refused"
        print("early")


asyncio.run(asyncio.wait_for(main(), 25))
