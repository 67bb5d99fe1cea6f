"""Asks by the QUIC of aioquic: PORT CA-FILE, and "datagrams" if those are to be tried too. Expects back what it sends on streams, after their end."""

import asyncio
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import DatagramFrameReceived

PORT, CA, *MORE = sys.argv[1:]


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.datagrams = asyncio.Queue()

    def quic_event_received(self, event):
        super().quic_event_received(event)
        if isinstance(event, DatagramFrameReceived):
            self.datagrams.put_nowait(event.data)


async def echo(client, size):
    sent = bytes(n % 251 for n in range(size))
    reader, writer = await client.create_stream()
    writer.write(sent)
    writer.write_eof()
    assert await reader.read() == sent
    print(size, "echoed", flush=True)


async def main():
    config = QuicConfiguration(
        is_client=True, alpn_protocols=["test"], server_name="front.test", max_datagram_frame_size=65536
    )
    config.load_verify_locations(CA)
    config.verify_mode = ssl.CERT_REQUIRED
    async with connect("127.0.0.1", int(PORT), configuration=config, create_protocol=Client) as client:
        for size in [1, 100_000]:
            await echo(client, size)
        if MORE:
            # Each may be lost.
            while client.datagrams.empty():
                client._quic.send_datagram_frame(b"datagram")
                client.transmit()
                await asyncio.sleep(0.05)
            assert await client.datagrams.get() == b"datagram"
            print("datagram echoed", flush=True)
        client.close(error_code=11, reason_phrase="done")
        await client.wait_closed()


asyncio.run(asyncio.wait_for(main(), 60))
