"""Calls of gRPC by its authors' library for Python, with messages as bytes: one argument, the port.

It ends with a line that says that all is well, or with what is not.
"""

import sys
import threading

import grpc

SERVICE = "/grpc.testing.TestService/"
channel = grpc.insecure_channel("127.0.0.1:" + sys.argv[1])


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(tag, value):
    if isinstance(value, int):
        return varint(tag << 3) + varint(value)
    return varint(tag << 3 | 2) + varint(len(value)) + value


def payload(size):
    return field(2, bytes(size))


def output(size, interval_us=0):
    return field(2, field(1, size) + field(2, interval_us))


def size_of(reply):
    return len(reply)


def code(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


unary = channel.unary_unary(SERVICE + "UnaryCall")
streaming_output = channel.unary_stream(SERVICE + "StreamingOutputCall")
streaming_input = channel.stream_unary(SERVICE + "StreamingInputCall")
duplex = channel.stream_stream(SERVICE + "FullDuplexCall")

# All four kinds.
assert channel.unary_unary(SERVICE + "EmptyCall")(b"") == b""
large = unary(field(2, 314159) + field(3, payload(271828)), timeout=60)
assert len(large) > 314159, len(large)
sizes = [31415, 9, 2653, 58979]
outputs = list(streaming_output(b"".join(output(size) for size in sizes)))
assert [len(reply) > size for reply, size in zip(outputs, sizes)] == [True] * 4
inputs = (field(1, payload(size)) for size in [27182, 8, 1828, 45904])
assert streaming_input(inputs) == field(1, 74922)


class Requests:
    """Gives a request once the answer to the one before has come."""

    def __init__(self):
        self.ready = threading.Semaphore(1)
        self.left = list(sizes)

    def __iter__(self):
        return self

    def __next__(self):
        self.ready.acquire()
        if not self.left:
            raise StopIteration
        return output(self.left.pop(0))


requests = Requests()
seen = 0
for reply in duplex(requests):
    seen += 1
    requests.ready.release()
assert seen == 4, seen
assert list(duplex(iter([]))) == []

# Metadata both ways, as text and as bytes.
said = [("x-grpc-test-echo-initial", "hi"), ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")]
for ask in [
    lambda: unary.with_call(field(2, 1), metadata=said)[1],
    lambda: duplex(iter([output(1)]), metadata=said),
]:
    call = ask()
    if hasattr(call, "__next__"):
        list(call)
    assert ("x-grpc-test-echo-initial", "hi") in call.initial_metadata(), call.initial_metadata()
    assert said[1] in call.trailing_metadata(), call.trailing_metadata()

# Errors, with their texts.
text = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
failing = field(7, field(1, 2) + field(2, text.encode()))
assert code(lambda: unary(failing)) == (grpc.StatusCode.UNKNOWN, text)
assert code(lambda: list(duplex(iter([failing])))) == (grpc.StatusCode.UNKNOWN, text)
assert code(lambda: unary(b"\xff"))[0] == grpc.StatusCode.INTERNAL
unknown = channel.unary_unary("/grpc.testing.None/None")
assert code(lambda: unknown(b"")) == (
    grpc.StatusCode.UNIMPLEMENTED,
    "there is no service grpc.testing.None",
)
nobody = channel.unary_unary(SERVICE + "None")
assert code(lambda: nobody(b""))[0] == grpc.StatusCode.UNIMPLEMENTED

# Deadlines.
slow = output(1, 60_000_000)
assert code(lambda: list(streaming_output(slow, timeout=0.2)))[0] == grpc.StatusCode.DEADLINE_EXCEEDED

# Cancelling, before and after the first answer.
call = streaming_output(output(1) + slow)
next(call)
call.cancel()
assert code(lambda: next(call))[0] == grpc.StatusCode.CANCELLED

# Messages that are too long, compressed or not.
long = field(3, payload(5 << 20))
for compression in [grpc.Compression.NoCompression, grpc.Compression.Gzip]:
    found = code(lambda: unary(long, compression=compression, timeout=60))[0]
    assert found == grpc.StatusCode.RESOURCE_EXHAUSTED, found
found = code(lambda: unary(field(3, payload(5000)), compression=grpc.Compression.Deflate))
assert found[0] == grpc.StatusCode.UNIMPLEMENTED, found

# Compressed ones.
zipped = {"compression": grpc.Compression.Gzip, "timeout": 60}
assert len(unary(field(2, 314159) + field(3, payload(271828)), **zipped)) > 314159
assert len(unary(field(2, 314159) + field(6, b""), **zipped)) > 314159
outputs = list(streaming_output(b"".join(output(size) for size in sizes), **zipped))
assert [len(reply) > size for reply, size in zip(outputs, sizes)] == [True] * 4

# A service that is no service of gRPC elsewhere.
echo = channel.unary_unary("/Echoes/Echo")
assert echo(b"anything") == b"anything"
assert code(lambda: channel.unary_unary("/Echoes/None")(b""))[0] == grpc.StatusCode.UNIMPLEMENTED

print("all is well")
