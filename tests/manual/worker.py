"""A worker whose words can be looked at: what it was sent and what it answered is appended to the file named first."""
import json
import sys

log = open(sys.argv[1], "a", buffering=1)
for line in sys.stdin:
    log.write("N: " + line)
    request = json.loads(line)
    method, params = request["method"], request["params"]
    if method == "$/cancel" or method == "svc.math.slow":
        continue
    answer = {"jsonrpc": "2.0", "id": request["id"]}
    if method == "svc.math.fail":
        answer["error"] = {"code": -32000, "message": "division by zero"}
    elif method in ("svc.math.sum", "add"):
        answer["result"] = sum(params["args"])
    else:
        answer["result"] = params["args"]
    log.write("W: " + json.dumps(answer) + "\n")
    print(json.dumps(answer), flush=True)
