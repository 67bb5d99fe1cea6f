"""Speaks with the socklets by the library `websockets`: `client.py ADDRESS [CERTIFICATES]`."""

import ssl
import sys

from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync import client

ADDRESS, *CERTIFICATES = sys.argv[1:]


def connect(path, **options):
    for file in CERTIFICATES:
        options["ssl"] = ssl.create_default_context(cafile=file)
    scheme = "wss" if CERTIFICATES else "ws"
    return client.connect(f"{scheme}://{ADDRESS}{path}", **options)



def echoes(socket):
    for message in ["", "Hello", b"", b"\x00\xff" * 10, "\u03ba\u1f79\u03c3\u03bc\u03b5" * 100, b"x" * 70_000, "y" * 900_000]:
        socket.send(message)
        assert socket.recv() == message, len(message)
    # In fragments.
    socket.send(["one ", "two ", "", "three"])
    assert socket.recv() == "one two three"
    socket.send([b"one", b"two"])
    assert socket.recv() == b"onetwo"
    socket.ping("are you there?").wait(10)
    for n in range(200):
        socket.send(f"message {n}")
    assert [socket.recv() for _ in range(200)] == [f"message {n}" for n in range(200)]


with connect("/echo", max_size=None) as socket:
    assert not socket.protocol.extensions
    echoes(socket)
    socket.close(4000, "enough")
    assert (socket.close_code, socket.close_reason) == (4000, "enough")

with connect("/deflate", max_size=None) as socket:
    extension, = socket.protocol.extensions
    assert extension.remote_max_window_bits == 12, extension
    echoes(socket)
    echoes(socket)

with connect("/small") as socket:
    socket.send("x" * 1024)
    socket.recv()
    socket.send("x" * 1025)
    try:
        socket.recv()
        raise AssertionError("taken")
    except ConnectionClosedError as error:
        assert error.rcvd.code == 1009, error

with connect("/rooms/1") as ann, connect("/rooms/1") as ben:
    ann.ping().wait(10)
    ben.ping().wait(10)
    ann.send("Hello, Ben")
    assert ben.recv() == "Hello, Ben"
    try:
        connect("/rooms/1")
        raise AssertionError("let in")
    except InvalidStatus as error:
        assert error.response.status_code == 503, error

try:
    connect("/echo", origin="https://elsewhere.test")
    raise AssertionError("let in")
except InvalidStatus as error:
    assert error.response.status_code == 403, error
