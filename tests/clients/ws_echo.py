#!/usr/bin/env python3
"""Does a foreign WebSocket client get along with the edge?

    ws_echo.py [--path /ws] ADDRESS CA

ADDRESS is HOST:PORT of the https listener, CA the authority's certificate (PEM). Texts, binary
messages, fragments, a message of 1 MiB, both directions at once and a clean close go through a
worker's echo. Exit 0 and one line of JSON when everything came back as it was sent.
"""

import argparse
import asyncio
import json
import os
import ssl
import sys
import time

import websockets

MIB = 1024 * 1024
PATIENCE_SECONDS = 60


async def texts_and_bytes_come_back(socket):
    for message in ("", "hello", "grüße, 世界 🌍", "x" * 65536, b"", b"\x00\xff", os.urandom(65535)):
        await socket.send(message)
        await same(socket, message)


async def fragments_come_back_as_one_message(socket):
    pieces = ["one ", "two ", "three"]
    await socket.send(pieces)
    await same(socket, "".join(pieces))


async def a_large_message_comes_back(socket):
    message = os.urandom(MIB)
    await socket.send(message)
    await same(socket, message)


async def both_directions_flow_at_once(socket):
    """Sends far more than any buffer on the way holds, while the answers are read beside it."""
    messages = [bytes([index % 256]) * 64 * 1024 for index in range(128)]

    async def send():
        for message in messages:
            await socket.send(message)

    async def receive():
        for message in messages:
            await same(socket, message)

    await asyncio.gather(send(), receive())


async def a_ping_is_answered(socket):
    await (await socket.ping(b"are you there"))


async def the_sub_protocol_is_agreed(socket):
    if socket.subprotocol != "echo":
        raise AssertionError(f"sub-protocol is {socket.subprotocol!r}, not 'echo'")


async def it_closes_cleanly(socket):
    await socket.close(code=1000, reason="done")
    if socket.close_code != 1000:
        raise AssertionError(f"close code is {socket.close_code}, not 1000")


CHECKS = (
    the_sub_protocol_is_agreed,
    texts_and_bytes_come_back,
    fragments_come_back_as_one_message,
    a_large_message_comes_back,
    both_directions_flow_at_once,
    a_ping_is_answered,
    it_closes_cleanly,
)


async def same(socket, sent):
    got = await socket.recv()
    if got != sent:
        raise AssertionError(f"sent {brief(sent)}, got {brief(got)}")


def brief(message):
    return f"{type(message).__name__} of {len(message)}: {message[:20]!r}"


async def check_all(args, done):
    trust = ssl.create_default_context(cafile=args.ca)
    url = f"wss://{args.address}{args.path}"
    options = dict(ssl=trust, max_size=4 * MIB, subprotocols=["echo"], compression=None, proxy=None)
    async with websockets.connect(url, **options) as socket:
        for check in CHECKS:
            await check(socket)
            done.append(check.__name__)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("address", help="HOST:PORT of the https listener")
    parser.add_argument("ca", help="certificate of the authority, PEM")
    parser.add_argument("--path", default="/ws")
    args = parser.parse_args()
    done, began, problem = [], time.monotonic(), None
    try:
        asyncio.run(asyncio.wait_for(check_all(args, done), PATIENCE_SECONDS))
    except Exception as error:  # whatever went wrong is the result
        problem = f"after {done[-1] if done else 'nothing'}: {type(error).__name__}: {error}"
    result = {"client": "websockets", "version": websockets.__version__, "ok": problem is None,
              "problem": problem, "checks": done, "seconds": round(time.monotonic() - began, 3)}
    print(json.dumps(result))
    return 0 if problem is None else 1


if __name__ == "__main__":
    sys.exit(main())
