#!/usr/bin/env python3
"""Does a foreign gRPC client get along with the edge?

    grpc_echo.py [--plain] ADDRESS [CA]

ADDRESS is HOST:PORT of the gRPC listener, CA the authority's certificate (PEM); --plain talks
without TLS (to a worker itself). Every shape of call, metadata, trailers, errors, deadlines and
cancellation go through a worker's Echo service (backends/proto/echo.proto). There are no generated
stubs: the few messages are written and read by hand. The worker's own count of cancelled calls is
asked for, so there must be one worker behind ADDRESS (as in the demo). Exit 0 and one line of JSON on success.
"""

import argparse
import itertools
import json
import os
import queue
import sys
import time

import grpc

ECHO = "/portcullis.demo.Echo/"
HEALTH = "/grpc.health.v1.Health/"
PATIENCE_SECONDS = 30
MIB = 1024 * 1024

# Field numbers of EchoRequest and EchoReply.
TEXT, PAYLOAD, COUNT, INTERVAL_MS, DELAY_MS, END_CODE = 1, 2, 3, 4, 5, 6
INDEX, PAYLOAD_BYTES = 3, 4


# --- Messages: varints (wire type 0) and length-delimited fields (wire type 2) are all there is ---


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(fields):
    """Bytes of a message, from {number: int | str | bytes}."""
    out = b""
    for number, value in fields.items():
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def fields(data):
    """{number: [values]} of a message; length-delimited values stay bytes."""
    out, at = {}, 0

    def read():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = read()
        if key & 7 == 0:
            value = read()
        elif key & 7 == 2:
            length = read()
            value, at = data[at : at + length], at + length
        else:
            raise ValueError(f"wire type {key & 7} is not used by these messages")
        out.setdefault(key >> 3, []).append(value)
    return out


def text_of(reply):
    return reply.get(TEXT, [b""])[0].decode()


def number_of(reply, field):
    return reply.get(field, [0])[0]


class Client:
    def __init__(self, channel):
        self.channel = channel

    def call(self, kind, method, service=ECHO):
        shape = getattr(self.channel, kind)
        return shape(service + method, request_serializer=message, response_deserializer=fields)

    def unary(self, method, request, service=ECHO, **options):
        return self.call("unary_unary", method, service)(request, **{"timeout": PATIENCE_SECONDS, **options})

    def census(self):
        reply = self.unary("Census", {})
        return {"open": number_of(reply, 1), "cancelled": number_of(reply, 2)}


# --- Checks: each is a promise ---


def a_unary_call_is_answered(client):
    for payload in (b"", os.urandom(100), os.urandom(MIB)):
        reply = client.unary("Unary", {TEXT: "grüße", PAYLOAD: payload})
        equal(text_of(reply), "grüße")
        equal(reply.get(PAYLOAD, [b""])[0], payload)
        equal(number_of(reply, PAYLOAD_BYTES), len(payload))


def a_client_stream_is_collected(client):
    requests = ({TEXT: f"{index},", PAYLOAD: bytes(1000)} for index in range(50))
    reply = client.call("stream_unary", "Collect")(requests, timeout=PATIENCE_SECONDS)
    equal(text_of(reply), "".join(f"{index}," for index in range(50)))
    equal(number_of(reply, PAYLOAD_BYTES), 50_000)
    equal(number_of(reply, INDEX), 50)


def a_server_stream_arrives_in_order_with_its_trailer(client):
    call = client.call("unary_stream", "Expand")({TEXT: "x", COUNT: 200, PAYLOAD: bytes(4096)}, timeout=PATIENCE_SECONDS)
    equal([number_of(reply, INDEX) for reply in call], list(range(200)))
    equal(call.code(), grpc.StatusCode.OK)
    equal(dict(call.trailing_metadata()).get("x-echo-replies"), "200")


def both_directions_of_a_stream_take_turns(client):
    """Each message is sent only after the answer to the one before: nothing may wait for more."""
    outgoing = queue.Queue()
    call = client.call("stream_stream", "Chat")(iter(outgoing.get, None), timeout=PATIENCE_SECONDS)
    for index in range(20):
        outgoing.put({TEXT: f"turn {index}"})
        equal(text_of(next(call)), f"turn {index}")
    outgoing.put(None)
    equal(list(call), [])
    equal(dict(call.trailing_metadata()).get("x-echo-replies"), "20")


def both_directions_of_a_stream_flow_at_once(client):
    requests = ({PAYLOAD: bytes([index % 256]) * 32 * 1024} for index in range(256))
    call = client.call("stream_stream", "Chat")(requests, timeout=PATIENCE_SECONDS)
    equal([reply[PAYLOAD][0][0] for reply in call], list(range(256)))


def metadata_arrives_both_ways(client):
    sent = (("x-who", "python"), ("x-twice", "a"), ("x-twice", "b"), ("x-raw-bin", b"\x00\xff\x10"))
    call = client.call("unary_unary", "Metadata")
    reply, done = call.with_call({TEXT: ""}, metadata=sent, timeout=PATIENCE_SECONDS)
    seen = [tuple(part.decode() for part in (field[1][0], field.get(2, [b""])[0])) for field in map(fields, reply[1])]
    for pair in (("x-who", "python"), ("x-twice", "a"), ("x-twice", "b")):
        if pair not in seen:
            raise AssertionError(f"{pair} did not reach the worker: {seen}")
    equal([value.rstrip("=") for name, value in seen if name == "x-raw-bin"], ["AP8Q"])
    equal(dict(done.initial_metadata()).get("x-echo-x-who"), "python")


def an_error_keeps_its_status_message_and_metadata(client):
    for code, text in ((5, "no such thing"), (7, "grüße %20 100%"), (14, ""), (16, "who are you")):
        error = fails(lambda: client.unary("Fail", {1: code, 2: text}))
        equal((error.code().value[0], error.details()), (code, text))
        equal(dict(error.trailing_metadata()).get("x-echo-failed"), "as wished")


def a_stream_may_end_with_an_error(client):
    call = client.call("unary_stream", "Expand")({COUNT: 3, END_CODE: 10}, timeout=PATIENCE_SECONDS)
    got = []
    error = fails(lambda: got.extend(call))
    equal((len(got), error.code()), (3, grpc.StatusCode.ABORTED))
    equal(dict(error.trailing_metadata()).get("x-echo-replies"), "3")


def an_unknown_method_is_unimplemented(client):
    error = fails(lambda: client.unary("Nonsense", {}))
    equal(error.code(), grpc.StatusCode.UNIMPLEMENTED)


def a_deadline_ends_a_call_and_the_worker_hears_of_it(client):
    before = client.census()["cancelled"]
    error = fails(lambda: client.unary("Unary", {DELAY_MS: 600_000}, timeout=0.3))
    equal(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
    eventually(lambda: client.census()["cancelled"] > before, "the worker did not hear of the deadline")


def a_cancelled_stream_ends_at_the_worker(client):
    before = client.census()["cancelled"]
    call = client.call("unary_stream", "Expand")({COUNT: 100_000, INTERVAL_MS: 20}, timeout=PATIENCE_SECONDS)
    list(itertools.islice(call, 3))
    call.cancel()
    equal(fails(lambda: next(call)).code(), grpc.StatusCode.CANCELLED)
    eventually(lambda: client.census()["cancelled"] > before, "the worker did not hear of the cancellation")


def health_is_serving(client):
    equal(number_of(client.unary("Check", {}, HEALTH), 1), 1)
    error = fails(lambda: client.unary("Check", {1: "nobody"}, HEALTH))
    equal(error.code(), grpc.StatusCode.NOT_FOUND)


def many_calls_share_the_connection(client):
    call = client.call("unary_unary", "Unary")
    calls = [call.future({TEXT: str(index)}, timeout=PATIENCE_SECONDS) for index in range(200)]
    equal([text_of(each.result()) for each in calls], [str(index) for index in range(200)])


CHECKS = (
    a_unary_call_is_answered,
    a_client_stream_is_collected,
    a_server_stream_arrives_in_order_with_its_trailer,
    both_directions_of_a_stream_take_turns,
    both_directions_of_a_stream_flow_at_once,
    metadata_arrives_both_ways,
    an_error_keeps_its_status_message_and_metadata,
    a_stream_may_end_with_an_error,
    an_unknown_method_is_unimplemented,
    a_deadline_ends_a_call_and_the_worker_hears_of_it,
    a_cancelled_stream_ends_at_the_worker,
    health_is_serving,
    many_calls_share_the_connection,
)


def equal(got, wanted):
    if got != wanted:
        raise AssertionError(f"got {str(got)[:200]}, wanted {str(wanted)[:200]}")


def fails(action):
    try:
        action()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call succeeded, an error was wanted")


def eventually(holds, otherwise):
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(otherwise)
        time.sleep(0.02)


def connect(args):
    options = [
        ("grpc.max_receive_message_length", 16 * MIB),
        # A proxy of the environment has no place between this client and the edge.
        ("grpc.enable_http_proxy", 0),
    ]
    if args.plain:
        return grpc.insecure_channel(args.address, options)
    with open(args.ca, "rb") as file:
        trust = grpc.ssl_channel_credentials(root_certificates=file.read())
    return grpc.secure_channel(args.address, trust, options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("address", help="HOST:PORT of the gRPC listener")
    parser.add_argument("ca", nargs="?", help="certificate of the authority, PEM")
    parser.add_argument("--plain", action="store_true", help="without TLS")
    args = parser.parse_args()
    if not args.plain and args.ca is None:
        parser.error("CA is missing (or say --plain)")
    done, began, problem = [], time.monotonic(), None
    try:
        with connect(args) as channel:
            client = Client(channel)
            for check in CHECKS:
                check(client)
                done.append(check.__name__)
    except Exception as error:  # whatever went wrong is the result
        problem = f"after {done[-1] if done else 'nothing'}: {type(error).__name__}: {error}"
    result = {"client": "grpcio", "version": grpc.__version__, "ok": problem is None,
              "problem": problem, "checks": done, "seconds": round(time.monotonic() - began, 3)}
    print(json.dumps(result))
    return 0 if problem is None else 1


if __name__ == "__main__":
    sys.exit(main())
