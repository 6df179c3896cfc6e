#!/usr/bin/env python3
"""An agent for trying things out: registers a computer, reports this machine's network, fetches orders, pings.

    agent.py [--title NAME] [--key KEY] [--rounds N] [--pause SECONDS] HOST:PORT CA

Written apart from the services, with nothing but Python's own library. It says what it does and exits with 0 when all
its rounds went well. It carries out no order: each is answered as failed, with the reason.
"""

import argparse
import hashlib
import http.client
import json
import socket
import ssl
import subprocess
import sys
import time

TYPES = ["accepted-types", "execute-script", "registration", "resynchronize", "set-id", "set-intervals", "unknown-id"]


def dump(value):
    """One value in bpickle."""
    if value is None:
        return b"n"
    if isinstance(value, bool):
        return b"b%d" % value
    if isinstance(value, int):
        return b"i%d;" % value
    if isinstance(value, float):
        return b"f%s;" % repr(value).encode()
    if isinstance(value, bytes):
        return b"s%d:%s" % (len(value), value)
    if isinstance(value, str):
        text = value.encode()
        return b"u%d:%s" % (len(text), text)
    if isinstance(value, list):
        return b"l" + b"".join(map(dump, value)) + b";"
    if isinstance(value, tuple):
        return b"t" + b"".join(map(dump, value)) + b";"
    return b"d" + b"".join(dump(key) + dump(value[key]) for key in sorted(value)) + b";"


def load(data):
    """The value of a document."""
    value, end = parse(data, 0)
    if end != len(data):
        raise ValueError("bytes after the value")
    return value


def parse(data, at):
    kind, at = data[at : at + 1], at + 1
    if kind == b"n":
        return None, at
    if kind == b"b":
        return data[at : at + 1] == b"1", at + 1
    if kind in (b"i", b"f"):
        end = data.index(b";", at)
        return (int if kind == b"i" else float)(data[at:end]), end + 1
    if kind in (b"s", b"u"):
        colon = data.index(b":", at)
        end = colon + 1 + int(data[at:colon])
        raw = data[colon + 1 : end]
        return (raw if kind == b"s" else raw.decode()), end
    values = []
    while data[at : at + 1] != b";":
        value, at = parse(data, at)
        values.append(value)
    if kind == b"l":
        return values, at + 1
    if kind == b"t":
        return tuple(values), at + 1
    if kind == b"d":
        return dict(zip(values[::2], values[1::2])), at + 1
    raise ValueError(f"no kind of value: {kind!r}")


def digest(types):
    return hashlib.md5(";".join(sorted(types)).encode(), usedforsecurity=False).digest()


def network_device():
    """The interfaces of this machine in the words of the message."""
    links = json.loads(subprocess.run(["ip", "-json", "address"], capture_output=True, check=True).stdout)
    bits = {"UP": 1, "BROADCAST": 2, "LOOPBACK": 8, "POINTOPOINT": 16, "NOARP": 128, "MULTICAST": 4096, "LOWER_UP": 64}
    devices = []
    for link in links:
        if link["ifname"] == "lo" or not link.get("address"):
            continue
        first = next((one for one in link["addr_info"] if one["family"] == "inet"), None)
        length = first["prefixlen"] if first else 0
        mask = socket.inet_ntoa((0xFFFFFFFF << (32 - length) & 0xFFFFFFFF).to_bytes(4, "big"))
        devices.append({
            "interface": link["ifname"].encode(),
            "ip_address": (first["local"] if first else "0.0.0.0").encode(),
            "mac_address": link["address"].encode(),
            "broadcast_address": (first or {}).get("broadcast", "0.0.0.0").encode(),
            "netmask": mask.encode(),
            "flags": sum(bits.get(flag, 0) for flag in link["flags"]),
        })
    return {"type": "network-device", "devices": devices, "device-speeds": []}


class Refused(Exception):
    """An answer that is none: as an agent does, the same is asked again later."""


class Agent:
    def __init__(self, args):
        self.args = args
        self.tls = ssl.create_default_context(cafile=args.ca)
        self.secure = self.insecure = self.token = None
        self.sequence = self.wanted = 0
        self.types, self.pending, self.seen = [], [], None

    def post(self, path, body, headers):
        host, port = self.args.address.rsplit(":", 1)
        connection = http.client.HTTPSConnection(host, int(port), context=self.tls, timeout=60)
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise Refused(f"{path}: {response.status} {body!r}")
        return load(body)

    def register(self):
        return {
            "type": "register",
            "account_name": "standalone",
            "computer_title": self.args.title,
            "hostname": socket.getfqdn(),
            "registration_password": self.args.key,
            "tags": "demo",
            "vm-info": b"",
            "container-info": "",
        }

    def exchange(self):
        payload = {
            "server-api": b"3.3",
            "client-api": b"3.8",
            "sequence": self.sequence,
            "next-expected-sequence": self.wanted,
            "accepted-types": digest(self.types),
            "total-messages": len(self.pending),
            "messages": [{"api": b"3.3", "timestamp": int(time.time()), **message} for message in self.pending],
        }
        if self.seen != digest(TYPES):
            payload["client-accepted-types"] = TYPES
        headers = {"Content-Type": "application/octet-stream", "X-Message-API": "3.3"}
        if self.secure:
            headers["X-Computer-ID"] = self.secure
        if self.token:
            headers["X-Exchange-Token"] = self.token
        self.token = None
        answer = self.post("/message-system", dump(payload), headers)
        expected = answer.get("next-expected-sequence", self.sequence + len(self.pending))
        del self.pending[: max(0, expected - self.sequence)]
        self.sequence = expected
        self.seen = answer.get("client-accepted-types-hash")
        token = answer.get("next-exchange-token")
        self.token = token.decode() if token else None
        for message in answer["messages"]:
            self.wanted += 1
            self.handle(message)

    def handle(self, message):
        kind = message["type"]
        print(f"told: {kind}", flush=True)
        if kind == "set-id":
            self.secure, self.insecure = message["id"].decode(), message["insecure-id"]
        elif kind == "unknown-id":
            self.secure = self.insecure = None
        elif kind == "registration":
            raise SystemExit(f"refused: {message['info']}")
        elif kind == "accepted-types":
            new = set(message["types"]) - set(self.types)
            self.types = message["types"]
            if "register" in new and not self.secure:
                self.pending.append(self.register())
            if "network-device" in new:
                self.pending.append(network_device())
        elif kind == "resynchronize":
            self.pending += [{"type": kind, "operation-id": message["operation-id"]}, network_device()]
        elif "operation-id" in message:
            failed = {"operation-id": message["operation-id"], "status": 5, "result-text": "this agent carries nothing out"}
            self.pending.append({"type": "operation-result", **failed})

    def ping(self):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.post("/ping", f"insecure_id={self.insecure}", form) == {"messages": True}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("ca")
    parser.add_argument("--title", default="agent.py")
    parser.add_argument("--key")
    parser.add_argument("--rounds", type=int, default=0, help="0: for ever")
    parser.add_argument("--pause", type=float, default=5.0)
    args = parser.parse_args()
    agent, done = Agent(args), 0
    while True:
        try:
            agent.exchange()
            while agent.pending:
                agent.exchange()
            waits = agent.insecure is not None and agent.ping()
        except (Refused, OSError, http.client.HTTPException) as problem:
            # So many rounds are asked for by who wants to know whether they go well.
            if args.rounds:
                raise SystemExit(str(problem)) from problem
            print(f"{problem}; again in {args.pause:g} s", flush=True)
            time.sleep(args.pause)
            continue
        state = "accepted" if "network-device" in agent.types else "waits to be accepted" if agent.secure else "unknown"
        print(f"{state}; orders wait: {'yes' if waits else 'no'}", flush=True)
        done += 1
        if done == args.rounds:
            return
        time.sleep(args.pause)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
