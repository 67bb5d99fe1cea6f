"""Goes through a proxy by the HTTP/3 of aioquic: PORT CA-FILE, and ports of an HTTP server and of one that sends back
datagrams in capitals. Prints what these say."""

import asyncio
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, DatagramReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

PORT, CA, STREAM, DATAGRAM = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Its settings say that it takes datagrams.
        self.http = H3Connection(self._quic, enable_webtransport=True)
        self.events = asyncio.Queue()

    def quic_event_received(self, event):
        for event in self.http.handle_event(event):
            self.events.put_nowait(event)

    def begin(self, *fields):
        stream = self._quic.get_next_available_stream_id()
        fields = [(name.encode(), value.encode()) for name, value in fields]
        self.http.send_headers(stream, fields)
        self.transmit()
        return stream

    async def next(self, kind):
        while True:
            event = await self.events.get()
            if isinstance(event, kind):
                return event


async def main():
    config = QuicConfiguration(
        is_client=True,
        alpn_protocols=H3_ALPN,
        server_name="one.test",
        max_datagram_frame_size=65536,
        idle_timeout=20,
    )
    config.load_verify_locations(CA)
    config.verify_mode = ssl.CERT_REQUIRED
    async with connect(
        "127.0.0.1", PORT, configuration=config, create_protocol=Client
    ) as client:
        stream = client.begin((":method", "CONNECT"), (":authority", f"127.0.0.1:{STREAM}"))
        head = dict((await client.next(HeadersReceived)).headers)
        assert head[b":status"] == b"200", head
        request = b"GET /way HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        client.http.send_data(stream, request, end_stream=False)
        client.transmit()
        answer = bytearray()
        while True:
            event = await client.next(DataReceived)
            answer += event.data
            if event.stream_ended:
                break
        print(answer.decode().split("\r\n")[-1])

        stream = client.begin(
            (":method", "CONNECT"),
            (":protocol", "connect-udp"),
            (":scheme", "https"),
            (":authority", "one.test"),
            (":path", f"/.well-known/masque/udp/127.0.0.1/{DATAGRAM}/"),
            ("capsule-protocol", "?1"),
        )
        head = dict((await client.next(HeadersReceived)).headers)
        assert head[b":status"] == b"200", head
        # A datagram may be lost.
        while True:
            client.http.send_datagram(stream, b"\0hello")
            client.transmit()
            try:
                event = await asyncio.wait_for(client.next(DatagramReceived), 1)
            except asyncio.TimeoutError:
                continue
            print(event.data[1:].decode())
            break


asyncio.run(main())
