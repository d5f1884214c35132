"""Connections to a node at full rate, each with one call: python3 load.py PORT SECONDS CONNECTORS.

A connection must never be refused or cut, nor told that the node stops before it had its one answer; the sums of all
outcomes are printed as one JSON object."""

import base64
import collections
import json
import os
import socket
import struct
import sys
import threading
import time

TIME_MAX = 20.0


def read_exactly(stream, count):
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise ConnectionError("end of stream")
        data += piece
    return data


def read_frame(stream):
    first, second = read_exactly(stream, 2)
    length = second & 127
    if length == 126:
        (length,) = struct.unpack("!H", read_exactly(stream, 2))
    elif length == 127:
        (length,) = struct.unpack("!Q", read_exactly(stream, 8))
    return first & 15, read_exactly(stream, length)


def write_frame(stream, opcode, payload):
    mask = os.urandom(4)
    head = bytes([128 | opcode])
    head += bytes([128 | len(payload)]) if len(payload) < 126 else bytes([254]) + struct.pack("!H", len(payload))
    stream.sendall(head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))


def upgrade(stream):
    key = base64.b64encode(os.urandom(16)).decode()
    head = f"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    stream.sendall(head.encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += read_exactly(stream, 1)
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise ConnectionError(answer.split(b"\r\n")[0].decode())


def call(stream):
    command = {"name": "c", "fun": "echo", "args": ["x"], "kwargs": {}, "locs": []}
    write_frame(stream, 1, json.dumps({"role": "rpc", "u": "1", "cmds": [command]}).encode())
    while True:
        opcode, payload = read_frame(stream)
        if opcode == 8:
            return "closed: " + payload[2:].decode()
        if opcode in (1, 2):
            answer = json.loads(payload)
            return "answered" if answer.get("r") == {"c": "x"} else "error: " + str(answer.get("error"))


def connect_again_and_again(port, until, seen):
    while time.monotonic() < until:
        began = time.monotonic()
        stage = "refused"
        try:
            with socket.create_connection(("127.0.0.1", port), TIME_MAX) as stream:
                stage = "not upgraded"
                upgrade(stream)
                stage = "cut during the call"
                seen[call(stream)] += 1
        except OSError as error:
            seen[f"{stage}: {error}"] += 1
        waited = time.monotonic() - began
        seen["longest, ms"] = max(seen["longest, ms"], int(waited * 1000))


def main():
    port, seconds, connectors = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    until = time.monotonic() + seconds
    each = [collections.Counter() for _ in range(connectors)]
    threads = [threading.Thread(target=connect_again_and_again, args=(port, until, seen)) for seen in each]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    longest = max(seen.pop("longest, ms") for seen in each)
    total = sum(each, collections.Counter())
    print(json.dumps({**total, "longest, ms": longest}))
    sys.exit(set(total) != {"answered"})


main()
