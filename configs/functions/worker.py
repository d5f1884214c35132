#!/usr/bin/env python3
"""A worker for mpreg in plain Python: functions that any node of the fabric can call by name.

Copy this file, replace the functions at the end, and declare them as in functions.toml. Needs nothing but Python 3.8.

A request is one line of JSON on stdin, an answer one line on stdout, in any order. Whatever else you have to say
goes to stderr, which mpreg brings to its log; print() is turned there too.
"""
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

FUNCTIONS = {}
THREADS = 64  # slow calls at a time; not less than in_flight_max of the slow functions together
READ_BYTES = 65536  # what a pipe holds

output = os.dup(1)
os.dup2(2, 1)  # a stray print() must not end up between the answers
output_lock = threading.Lock()
running = {}  # id of a slow call -> event that is set when nobody waits for it any longer


def function(name, slow=False):
    """Serves the decorated function as `name`.

    A quick one runs at once, between two reads. A slow one runs in a thread and gets, before the arguments of the
    call, an event that is set when nobody waits for the answer any longer; it may look at it and return early.
    """
    def register(f):
        FUNCTIONS[name] = (f, slow)
        return f
    return register


def answer(call_id, f, *args, **kwargs):
    try:
        document = {"jsonrpc": "2.0", "id": call_id, "result": f(*args, **kwargs)}
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"
    except Exception as e:  # whatever it is, it belongs to the caller
        error = {"code": -32000, "message": f"{type(e).__name__}: {e}"}
        return json.dumps({"jsonrpc": "2.0", "id": call_id, "error": error}).encode() + b"\n"


def write(data):
    view = memoryview(data)
    with output_lock:
        while view:
            view = view[os.write(output, view):]


def run_slowly(call_id, f, cancelled, args, kwargs):
    line = answer(call_id, f, cancelled, *args, **kwargs)
    running.pop(call_id, None)
    write(line)


def unknown(method):
    raise LookupError(f"this worker has no function {method}")


def accept(line, threads):
    """Takes one request; returns the answer if it is there already."""
    request = json.loads(line)
    method, params, call_id = request["method"], request.get("params") or {}, request.get("id")
    if method == "$/cancel":
        cancelled = running.get(params["id"])
        if cancelled:
            cancelled.set()
        return b""
    args, kwargs = params.get("args", []), params.get("kwargs", {})
    f, slow = FUNCTIONS.get(method, (None, False))
    if f is None:
        return answer(call_id, unknown, method)
    if not slow:
        return answer(call_id, f, *args, **kwargs)
    cancelled = running[call_id] = threading.Event()
    threads.submit(run_slowly, call_id, f, cancelled, args, kwargs)
    return b""


def serve():
    """Answers until stdin ends, which means that the node has gone. All that came in one read is answered in one write."""
    threads = ThreadPoolExecutor(THREADS)
    pieces = []  # of a line that has not ended yet
    while True:
        chunk = os.read(0, READ_BYTES)
        if not chunk:
            os._exit(0)  # not waiting for slow calls: nobody is left to hear their answers
        if b"\n" not in chunk:
            pieces.append(chunk)
            continue
        lines = (b"".join(pieces) + chunk).split(b"\n")
        pieces = [lines.pop()]
        answers = b"".join([accept(line, threads) for line in lines if line.strip()])
        if answers:
            write(answers)


# --- your functions from here on ---


@function("demo.add")
def add(*numbers):
    return sum(numbers)


@function("demo.upper")
def upper(text):
    return text.upper()


@function("demo.slow", slow=True)
def slow(cancelled, seconds=1.0):
    """Takes its time, unless nobody wants to know any more."""
    if cancelled.wait(seconds):
        print("demo.slow: cancelled", file=sys.stderr, flush=True)
    return seconds


if __name__ == "__main__":
    serve()
