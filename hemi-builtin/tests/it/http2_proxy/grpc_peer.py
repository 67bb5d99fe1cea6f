"""gRPC by its own library: `serve` prints its port and serves until its input ends; `ask PORT` calls;
`tell PORT STATUS` has it say from now on that its service t.T is in this state (of grpc.health.v1)."""

import sys
import threading
from concurrent import futures

import grpc

cancelled = threading.Semaphore(0)
count = [0]
health = [b"\x08\x01"]


def unary(request, context):
    context.send_initial_metadata((("x-initial", "one"),))
    context.set_trailing_metadata((("x-trailer", "two"), ("x-blob-bin", b"\x00\xff")))
    return request


def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "nothing here: \u00e9")


def both_ways(requests, context):
    for request in requests:
        yield request[::-1]


def hang(request, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    yield b"begun"
    gone.wait(60)
    count[0] += 1
    cancelled.release()


def count_cancelled(request, context):
    cancelled.acquire(timeout=20)
    return str(count[0]).encode()


def set_health(request, context):
    health[0] = b"\x08" + request
    return b""


def check_health(request, context):
    # The name of the service is field 1.
    if request[2:] not in (b"", b"t.T"):
        context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
    return health[0]


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(16))
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "BothWays": grpc.stream_stream_rpc_method_handler(both_ways),
        "Hang": grpc.unary_stream_rpc_method_handler(hang),
        "SetHealth": grpc.unary_unary_rpc_method_handler(set_health),
        "Cancelled": grpc.unary_unary_rpc_method_handler(count_cancelled),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
    checks = {"Check": grpc.unary_unary_rpc_method_handler(check_health)}
    checks = grpc.method_handlers_generic_handler("grpc.health.v1.Health", checks)
    server.add_generic_rpc_handlers((checks,))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(0)


def ask(port):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/t.T/Unary")
        for size in (0, 1, 100, 70_000, 3_000_000):
            answer, info = call.with_call(b"x" * size, timeout=20)
            assert answer == b"x" * size, size
            assert ("x-initial", "one") in info.initial_metadata()
            trailers = dict(info.trailing_metadata())
            assert trailers["x-trailer"] == "two" and trailers["x-blob-bin"] == b"\x00\xff"
        try:
            channel.unary_unary("/t.T/Fail")(b"", timeout=20)
            raise AssertionError("no error")
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.NOT_FOUND, e
            assert e.details() == "nothing here: \u00e9", e
        try:
            channel.unary_unary("/t.T/Unknown")(b"", timeout=20)
            raise AssertionError("no error")
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.UNIMPLEMENTED, e

        # Each message is sent when the answer to the one before has come.
        turn = threading.Semaphore(1)

        def messages():
            for n in range(50):
                assert turn.acquire(timeout=20)
                yield f"message {n}".encode()

        got = 0
        for answer in channel.stream_stream("/t.T/BothWays")(messages(), timeout=20):
            assert answer == f"message {got}".encode()[::-1]
            got += 1
            turn.release()
        assert got == 50

        # Many at once, on one connection.
        calls = [call.future(str(n).encode(), timeout=20) for n in range(200)]
        assert [c.result() for c in calls] == [str(n).encode() for n in range(200)]

        # Who cancels, or has waited for long enough, is cancelled at the other end.
        stream = channel.unary_stream("/t.T/Hang")(b"", timeout=60)
        assert next(stream) == b"begun"
        stream.cancel()
        told = channel.unary_unary("/t.T/Cancelled")
        assert told(b"", timeout=30) == b"1"
        stream = channel.unary_stream("/t.T/Hang")(b"", timeout=0.5)
        assert next(stream) == b"begun"
        try:
            next(stream)
            raise AssertionError("no end")
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.DEADLINE_EXCEEDED, e
        assert told(b"", timeout=30) == b"2"
    print("all is well")


def tell(port, status):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        channel.unary_unary("/t.T/SetHealth")(bytes([status]), timeout=60)


match sys.argv[1:]:
    case ["serve"]:
        serve()
    case ["ask", port]:
        ask(int(port))
    case ["tell", port, status]:
        tell(int(port), int(status))
