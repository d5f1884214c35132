"""Functions for tests: one JSON-RPC request a line, each served by a thread."""
import json
import os
import sys
import threading
import time

lock = threading.Lock()
cancelled = {}
released = threading.Event()
release_file = os.environ.get("RELEASE_FILE")


def write(document):
    with lock:
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()


def say(text):
    print(text, file=sys.stderr, flush=True)


def slow(call, args):
    """Waits to be cancelled, or to be released, at most 15 s."""
    say(f"slow {args[0]} begins")
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if cancelled[call].wait(0.005):
            say(f"slow {args[0]} is cancelled")
            return "cancelled"
        if released.is_set() or release_file and os.path.exists(release_file):
            return args[0]
    return "never"


def act(method, call, args, kwargs):
    what = method.split(".")[-1]
    if what == "add":
        return sum(args)
    if what == "given":
        return {"args": args, "kwargs": kwargs}
    if what == "pid":
        return os.getpid()
    if what == "slow":
        return slow(call, args)
    if what == "release":
        released.set()
        return True
    if what == "die":
        os._exit(3)
    if what == "garbage":
        with lock:
            sys.stdout.write("this is no JSON\n{\"half\":\n")
            sys.stdout.flush()
        return "after garbage"
    if what == "size":
        return "z" * args[0]
    if what == "fail":
        raise ValueError(args[0])
    raise LookupError(method)


def serve(request):
    call, params = request["id"], request["params"]
    try:
        answer = {"result": act(request["method"], call, params["args"], params["kwargs"])}
    except Exception as error:
        answer = {"error": {"code": -32000, "message": f"{type(error).__name__}: {error}"}}
    write({"jsonrpc": "2.0", "id": call, **answer})


for line in sys.stdin:
    request = json.loads(line)
    if request["method"] == "$/cancel":
        cancelled[request["params"]["id"]].set()
    else:
        cancelled[request["id"]] = threading.Event()
        threading.Thread(target=serve, args=(request,), daemon=True).start()
