"""A worker that does what its first argument says; `t.*` are served alike. Threads, so that answers come out of order."""
import json
import os
import sys
import threading

kind = (sys.argv + ["plain"])[1]
lock = threading.Lock()
released = threading.Event()
cancelled = []
running = peak = 0


def write(document):
    with lock:
        sys.stdout.write((document if isinstance(document, str) else json.dumps(document)) + "\n")
        sys.stdout.flush()


def act(what, args, kwargs):
    if what == "echo":
        return {"args": args, "kwargs": kwargs}
    if what == "pid":
        return os.getpid()
    if what == "env":
        return dict(os.environ)
    if what == "hold":  # until "release"
        released.wait()
        return args[0] if args else None
    if what == "release":
        released.set()
        return None
    if what == "peak":
        return peak
    if what == "cancelled":
        return cancelled
    if what == "size":
        return "z" * args[0]
    if what == "fail":
        raise ValueError(args[0])
    if what == "die":
        os._exit(args[0])
    if what == "close":
        os.close(1)
        return None
    if what == "child":  # of the same group; outlives the worker unless the group is killed
        return os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")
    if what == "garbage":
        for line in ("this is not JSON", "{\"half\": ", "[1, 2]", "null", "", "{\"jsonrpc\": \"2.0\", \"id\": \"nobody\", \"result\": 1}"):
            write(line)
        return "clean after all"
    if what == "complain":
        for i in range(args[0]):
            print(f"complaint {i}", file=sys.stderr, flush=True)
        return None
    raise KeyError(what)


def serve(m):
    global running, peak
    with lock:
        running += 1
        peak = max(peak, running)
    args, kwargs = m["params"]["args"], m["params"]["kwargs"]
    try:
        answer = {"result": act(args[0], args[1:], kwargs) if args else m["method"]}
    except Exception as e:
        answer = {"error": {"code": -32000, "message": f"{type(e).__name__}: {e}", "data": "secret insides"}}
    with lock:
        running -= 1
    if args and args[0] == "size" and kwargs.get("id_last"):
        write({**answer, "id": str(m["id"])})
    elif not (args and args[0] == "size" and kwargs.get("no_id")):
        write({"id": m["id"], **answer})
    else:
        write(answer)


if kind == "doomed":
    sys.exit(7)
for line in sys.stdin:
    m = json.loads(line)
    if m["method"] == "$/cancel":
        cancelled.append(m["params"]["id"])
    else:
        threading.Thread(target=serve, args=(m,), daemon=True).start()
