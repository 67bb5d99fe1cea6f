"""Speaks with the socklets on streams: `streams.py h2 PORT`, or `streams.py h3 PORT CERTIFICATES`.

HTTP/2 is that of the library `h2`, HTTP/3 that of `aioquic`, and what goes through them that of `websockets`. Over
HTTP/3 it says `reload` at last, and waits for the server to ask it to leave.
"""

import asyncio
import socket
import sys

from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Opcode
from websockets.headers import parse_extension
from websockets.protocol import CLIENT, Protocol

MESSAGES = ["", "Hello", b"", b"\x00\xff" * 10, "\u03ba\u1f79\u03c3\u03bc\u03b5" * 100, b"x" * 70_000, "y" * 900_000]
DEFLATE = ClientPerMessageDeflateFactory(client_max_window_bits=True)
OFFER = "permessage-deflate; client_max_window_bits"


def request(path, scheme, host):
    """The head of an extended CONNECT (RFC 8441, 5)."""
    head = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", scheme), (":path", path)]
    fields = [("sec-websocket-version", "13"), ("sec-websocket-extensions", OFFER)]
    return [*head, (":authority", host), *fields]


class WebSocket:
    """The messages of a stream, whatever carries it."""

    def __init__(self, path):
        self.protocol = Protocol(CLIENT, max_size=None)
        self.path, self.opened, self.ended = path, False, False
        self.pongs, self.messages, self.parts, self.opcode = [], [], [], None

    def answered(self, fields):
        fields = dict(fields)
        assert fields[b":status"] == b"200", fields
        extensions = fields.get(b"sec-websocket-extensions", b"").decode()
        for name, params in parse_extension(extensions) if extensions else []:
            self.protocol.extensions = [DEFLATE.process_response_params(params, [])]
        assert bool(self.protocol.extensions) == (self.path == "/deflate"), fields
        self.opened = True

    def received(self, data):
        self.protocol.receive_data(data)
        for frame in self.protocol.events_received():
            if frame.opcode is Opcode.PONG:
                self.pongs.append(bytes(frame.data))
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                self.parts, self.opcode = [], frame.opcode
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self.parts.append(bytes(frame.data))
                if frame.fin:
                    whole = b"".join(self.parts)
                    self.messages.append(whole.decode() if self.opcode is Opcode.TEXT else whole)

    def to_send(self):
        # Nothing stands for an end of the stream, of which its carrier tells.
        return b"".join(self.protocol.data_to_send())

    def send(self, message):
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)

    def talk(self):
        """Says things, and hears what comes of them: gives up control when it waits for the other end."""
        while not self.opened:
            yield
        for message in [*MESSAGES, *MESSAGES]:
            self.send(message)
            while not self.messages:
                yield
            assert self.messages.pop(0) == message, len(message)
        # In fragments, with a ping in between.
        self.protocol.send_text(b"one ", fin=False)
        self.protocol.send_ping(b"there?")
        self.protocol.send_continuation(b"two", fin=True)
        while not self.messages or not self.pongs:
            yield
        assert (self.messages.pop(0), self.pongs) == ("one two", [b"there?"])
        several = [f"message {n}" for n in range(200)]
        for message in several:
            self.send(message)
        while len(self.messages) < len(several):
            yield
        assert self.messages == several
        self.protocol.send_close(4000, "enough")
        while not self.ended:
            yield
        close = self.protocol.close_rcvd
        assert (close.code, close.reason) == (4000, "enough"), close


def http2(port):
    import h2.config
    import h2.connection
    import h2.events
    from h2.settings import SettingCodes

    sock = socket.create_connection(("127.0.0.1", port), timeout=20)
    conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    conn.initiate_connection()
    while conn.remote_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL) != 1:
        sock.sendall(conn.data_to_send())
        conn.receive_data(sock.recv(65536))
    # Several at once, and a request beside them.
    streams, waiting = {}, {}
    for path in ["/echo", "/deflate", "/echo"]:
        stream = conn.get_next_available_stream_id()
        conn.send_headers(stream, request(path, "http", "x"))
        streams[stream] = (WebSocket(path), b"")
    beside = conn.get_next_available_stream_id()
    head = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/elsewhere")]
    conn.send_headers(beside, head, end_stream=True)
    talks = {stream: websocket.talk() for stream, (websocket, _) in streams.items()}
    answered = False
    while talks or not answered:
        for stream, talk in list(talks.items()):
            if next(talk, "over") == "over":
                del talks[stream]
            websocket, left = streams[stream]
            left += websocket.to_send()
            while left:
                size = min(len(left), conn.local_flow_control_window(stream), conn.max_outbound_frame_size)
                if size == 0:
                    break
                conn.send_data(stream, left[:size])
                left = left[size:]
            streams[stream] = (websocket, left)
        sock.sendall(conn.data_to_send())
        if not talks and answered:
            break
        data = sock.recv(65536)
        assert data, "the server has closed"
        for event in conn.receive_data(data):
            stream = getattr(event, "stream_id", None)
            if stream == beside:
                answered |= isinstance(event, h2.events.ResponseReceived)
            elif isinstance(event, h2.events.ResponseReceived):
                streams[stream][0].answered(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                conn.acknowledge_received_data(event.flow_controlled_length, stream)
                streams[stream][0].received(event.data)
            elif isinstance(event, h2.events.StreamEnded):
                streams[stream][0].ended = True


def http3(port, certificates):
    from aioquic.asyncio.client import connect
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.h3.connection import H3_ALPN, H3Connection
    from aioquic.h3.events import DataReceived, HeadersReceived
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.events import ConnectionTerminated, StreamDataReceived

    class Client(QuicConnectionProtocol):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.http = H3Connection(self._quic)
            self.streams, self.control, self.end = {}, {}, None
            self.changed = asyncio.Event()

        def quic_event_received(self, event):
            if isinstance(event, ConnectionTerminated):
                self.end = event.error_code
            if isinstance(event, StreamDataReceived) and event.stream_id % 4 == 3:
                self.control[event.stream_id] = self.control.get(event.stream_id, b"") + event.data
            for event in self.http.handle_event(event):
                websocket = self.streams[event.stream_id]
                if isinstance(event, HeadersReceived):
                    websocket.answered(event.headers)
                if isinstance(event, DataReceived):
                    websocket.received(event.data)
                websocket.ended |= event.stream_ended
            self.changed.set()

        def open(self, path):
            stream = self._quic.get_next_available_stream_id()
            head = [(name.encode(), value.encode()) for name, value in request(path, "https", "localhost")]
            self.streams[stream] = WebSocket(path)
            self.http.send_headers(stream, head)
            return stream, self.streams[stream]

        async def change(self):
            self.transmit()
            await self.changed.wait()
            self.changed.clear()

        def goaways(self):
            """The ids of those frames of the control stream (RFC 9114, 5.2)."""
            def number(data):
                size = 1 << (data[0] >> 6)
                return int.from_bytes(data[:size], "big") & ((1 << (8 * size - 2)) - 1), data[size:]

            control, = [data[1:] for data in self.control.values() if data[:1] == b"\x00"]
            while control:
                kind, control = number(control)
                size, control = number(control)
                frame, control = control[:size], control[size:]
                if kind == 7:
                    yield number(frame)[0]

    async def main():
        config = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="localhost")
        config.load_verify_locations(certificates)
        async with connect("127.0.0.1", port, configuration=config, create_protocol=Client) as client:
            opened = [client.open(path) for path in ["/echo", "/deflate", "/echo"]]
            talks = [(stream, websocket, websocket.talk()) for stream, websocket in opened]
            while talks:
                for talking in list(talks):
                    stream, websocket, talk = talking
                    if next(talk, "over") == "over":
                        talks.remove(talking)
                    data = websocket.to_send()
                    if data:
                        client.http.send_data(stream, data, end_stream=False)
                if talks:
                    await client.change()
            # The server takes leave.
            stream, websocket = client.open("/echo")
            while not websocket.opened:
                await client.change()
            assert not list(client.goaways())
            print("reload", flush=True)
            while not websocket.ended:
                await client.change()
                data = websocket.to_send()
                if data:
                    client.http.send_data(stream, data, end_stream=False)
            assert websocket.protocol.close_rcvd.code == 1001, websocket.protocol.close_rcvd
            while client.end is None:
                await client.change()
            ids = list(client.goaways())
            assert client.end == 0x100 and ids and ids[-1] > stream, (client.end, ids)

    asyncio.run(asyncio.wait_for(main(), 25))


version, port, *rest = sys.argv[1:]
http2(int(port)) if version == "h2" else http3(int(port), *rest)
