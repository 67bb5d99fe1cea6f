"""Fetches / by the HTTP/3 of aioquic: PORT CA-FILE HOST, and how many bytes more its hello is to have. Prints the page."""

import asyncio
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

PORT, CA, HOST, MORE = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.page = bytearray()
        self.ended = asyncio.get_event_loop().create_future()

    def quic_event_received(self, event):
        for event in self.http.handle_event(event):
            if isinstance(event, DataReceived):
                self.page += event.data
            if isinstance(event, (DataReceived, HeadersReceived)) and event.stream_ended:
                self.ended.set_result(None)


async def main():
    others = ["x" * 200 + str(n) for n in range(MORE // 200)]
    config = QuicConfiguration(
        is_client=True, alpn_protocols=H3_ALPN + others, server_name=HOST, idle_timeout=5
    )
    config.load_verify_locations(CA)
    config.verify_mode = ssl.CERT_REQUIRED
    async with connect(
        "127.0.0.1", PORT, configuration=config, create_protocol=Client
    ) as client:
        stream = client._quic.get_next_available_stream_id()
        head = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/")]
        head = [(name.encode(), value.encode()) for name, value in head]
        client.http.send_headers(stream, head, end_stream=True)
        client.transmit()
        await client.ended
        print(client.page.decode())


asyncio.run(main())
