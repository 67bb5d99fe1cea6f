"""Asks by the HTTP/3 of aioquic, and moves in between: PORT CA-FILE HOST, how many bytes more its hello is to have, and before each further request
one of "stay", "port" (another port, as a NAT has it) and "path" (another port, and another id of the server's). Prints the pages."""

import asyncio
import ssl
import sys

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

PORT, CA, HOST, MORE, *MOVES = sys.argv[1:]


class Client(QuicConnectionProtocol):
    def __init__(self, quic):
        super().__init__(quic)
        self.http = H3Connection(quic)
        self.page, self.ended = bytearray(), None

    def quic_event_received(self, event):
        for event in self.http.handle_event(event):
            if isinstance(event, DataReceived):
                self.page += event.data
            if isinstance(event, (DataReceived, HeadersReceived)) and event.stream_ended:
                self.ended.set_result(None)

    async def bind(self):
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))

    async def get(self):
        self.page, self.ended = bytearray(), asyncio.get_running_loop().create_future()
        head = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/")]
        head = [(name.encode(), value.encode()) for name, value in head]
        self.http.send_headers(self._quic.get_next_available_stream_id(), head, end_stream=True)
        self.transmit()
        await self.ended
        print(self.page.decode(), flush=True)


async def main():
    others = ["x" * 200 + str(n) for n in range(int(MORE) // 200)]
    config = QuicConfiguration(
        is_client=True, alpn_protocols=H3_ALPN + others, server_name=HOST, idle_timeout=20
    )
    config.load_verify_locations(CA)
    config.verify_mode = ssl.CERT_REQUIRED
    client = Client(QuicConnection(configuration=config))
    await client.bind()
    client.connect(("127.0.0.1", int(PORT)))
    await client.wait_connected()
    await client.get()
    for move in MOVES:
        if move == "path":
            # Of those that the server has offered.
            while not client._quic._peer_cid_available:
                await client.ping()
            client.change_connection_id()
        if move != "stay":
            await client.bind()
        await client.get()


asyncio.run(asyncio.wait_for(main(), 60))
