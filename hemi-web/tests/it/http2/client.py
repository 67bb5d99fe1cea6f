"""Speaks HTTP/2 by the library h2: client.py PORT."""

import socket
import sys

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
conn.initiate_connection()
events = []


def pump():
    """Sends what waits, and takes what comes."""
    sock.sendall(conn.data_to_send())
    data = sock.recv(65536)
    assert data, "the server has closed"
    for event in conn.receive_data(data):
        if isinstance(event, h2.events.DataReceived):
            conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        events.append(event)
    sock.sendall(conn.data_to_send())


def ask(method, path, end_stream=True, fields=()):
    stream = conn.get_next_available_stream_id()
    head = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path), *fields]
    conn.send_headers(stream, head, end_stream=end_stream)
    return stream


def answer(stream):
    """The status, content, interim statuses and trailers."""
    while not any(isinstance(e, h2.events.StreamEnded) and e.stream_id == stream for e in events):
        pump()
    status, content, interim, trailers = None, b"", [], []
    for event in [e for e in events if getattr(e, "stream_id", None) == stream]:
        if isinstance(event, h2.events.InformationalResponseReceived):
            interim.append(dict(event.headers)[b":status"])
        elif isinstance(event, h2.events.ResponseReceived):
            status = dict(event.headers)[b":status"]
        elif isinstance(event, h2.events.DataReceived):
            content += event.data
        elif isinstance(event, h2.events.TrailersReceived):
            trailers = event.headers
    return status, content, interim, trailers


assert answer(ask("GET", "/now")) == (b"200", b"now", [], [])
assert answer(ask("GET", "/hints"))[2] == [b"103", b"103"]
assert answer(ask("GET", "/trailers"))[3] == [(b"x-sum", b"6")]
assert len(answer(ask("GET", "/stream/1000/1000"))[1]) == 1_000_000

# Many at once, some of which are given up.
streams = [ask("GET", "/wait/20", fields=[("priority", f"u={n % 8}, i")]) for n in range(50)]
given_up = [ask("GET", "/wait/100000") for _ in range(10)]
for stream in given_up:
    conn.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
assert all(answer(stream)[1] == b"waited" for stream in streams)

# Content as the windows allow it, with trailers.
stream = ask("POST", "/read", end_stream=False)
left = 3 << 20
while left:
    size = min(left, conn.local_flow_control_window(stream), conn.max_outbound_frame_size)
    if size == 0:
        pump()
        continue
    conn.send_data(stream, b"x" * size)
    sock.sendall(conn.data_to_send())
    left -= size
conn.send_headers(stream, [("x-sum", "7")], end_stream=True)
assert answer(stream)[1].startswith(b"3145728 bytes, "), answer(stream)

# Settings that change under way: a window of nothing, a table of nothing, larger frames.
conn.update_settings({
    h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0,
    h2.settings.SettingCodes.HEADER_TABLE_SIZE: 0,
    h2.settings.SettingCodes.MAX_FRAME_SIZE: 1 << 20,
})
stream = ask("GET", "/now")
while not any(isinstance(e, h2.events.ResponseReceived) and e.stream_id == stream for e in events):
    pump()
conn.increment_flow_control_window(10, stream)
assert answer(stream)[1] == b"now"
conn.close_connection()
sock.sendall(conn.data_to_send())
while sock.recv(65536):
    pass
print("all is well")
