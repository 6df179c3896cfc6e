#!/usr/bin/env python3
"""A WSL host: gets its identity through the edge, then does what it is ordered, and says so.

    hostagent.py [--key KEY] [--name NAME] [--orders N] ADDRESS CA

ADDRESS is HOST:PORT of the gRPC listener, CA the authority's certificate (PEM). It has one instance, `Ubuntu`, and
carries orders out by noting what is there afterwards. With --orders it ends after so many, with exit 0; without it
it stays. A stream that ends is opened again. There are no generated stubs: the messages are written and read by
hand (backends/proto/hostagent.proto).
"""

import argparse
import queue
import sys
import time

import grpc

from grpc_echo import fields, message

SERVICE = "/landscapehostagentapi.LandscapeHostAgent/"
ORDERS = {2: "start", 3: "stop", 4: "install", 5: "uninstall", 6: "set_default", 7: "shutdown_host"}
QUEUED, IN_PROGRESS, COMPLETED = 0, 1, 2


class Host:
    def __init__(self, name, key):
        self.name, self.key, self.uid, self.default = name, key, "", "Ubuntu"
        self.running = {"Ubuntu": False}
        self.orders = 0

    def info(self):
        instances = b"".join(
            message({4: message({1: name, 2: name, 3: "24.04", 4: int(running)})})
            for name, running in sorted(self.running.items())
        )
        own = {2: self.uid, 3: self.name, 5: "standalone", 7: self.default}
        if self.key is not None:
            own[6] = self.key
        return message(own) + instances

    def do(self, what, name):
        """Carries an order out; the text is what went wrong."""
        if what == "install":
            if name in self.running:
                return f"{name} is installed"
            self.running[name] = False
        elif what == "shutdown_host":
            self.running = dict.fromkeys(self.running, False)
        elif name not in self.running:
            return f"there is no {name}"
        elif what == "uninstall":
            del self.running[name]
        elif what == "set_default":
            self.default = name
        else:
            self.running[name] = what == "start"
        return ""


def live(host, channel, most):
    connect = channel.stream_stream(SERVICE + "Connect")
    tell_status = channel.unary_unary(SERVICE + "SendCommandStatus")
    told = queue.Queue()
    told.put(host.info())
    for data in connect(iter(told.get, None)):
        command = fields(data)
        request = command.get(8, [b""])[0].decode()
        if 1 in command:
            host.uid = fields(command[1][0])[1][0].decode()
            print(f"this host is {host.uid}", flush=True)
            told.put(host.info())
            continue
        number = next(number for number in ORDERS if number in command)
        what, name = ORDERS[number], fields(command[number][0]).get(1, [b""])[0].decode()
        print(f"ordered: {what} {name}", flush=True)

        def status(state, error=""):
            tell_status(message({1: request, 2: state, 3: error}), timeout=30)

        status(QUEUED)
        status(IN_PROGRESS)
        status(COMPLETED, host.do(what, name))
        told.put(host.info())
        host.orders += 1
        if most and host.orders == most:
            # What it told last is stored before the stream ends.
            time.sleep(0.5)
            told.put(None)
            return


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("ca")
    parser.add_argument("--key")
    parser.add_argument("--name", default="python-host")
    parser.add_argument("--orders", type=int, default=0)
    line = parser.parse_args()
    host = Host(line.name, line.key)
    with open(line.ca, "rb") as file:
        trust = grpc.ssl_channel_credentials(file.read())
    with grpc.secure_channel(line.address, trust) as channel:
        while not line.orders or host.orders < line.orders:
            try:
                live(host, channel, line.orders)
            except grpc.RpcError as problem:
                if problem.code() in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT):
                    sys.exit(f"refused: {problem.details()}")
                print(f"the stream ended: {problem.code().name}", flush=True)
            if not line.orders or host.orders < line.orders:
                time.sleep(1)


if __name__ == "__main__":
    main()
