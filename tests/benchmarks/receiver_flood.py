"""Does memory stay flat in a flood, and what does an event cost on the disk?

Usage: `python tests/benchmarks/receiver_flood.py [--events 5000000]`. Needs wrk. Every event is of the
documented shape and different from all others; three belong to a call. Prints a line every ten seconds
and a last one with the peak of resident memory, the bytes of Parquet an event takes and the ratio of
all that is on the disk to what is landed, once everything is sealed.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

WRK_SCRIPT = """
local random = math.random
local function hex(length)
  return string.format("%06x%06x%06x%06x", random(0, 16777215), random(0, 16777215), random(0, 16777215),
    random(0, 16777215)):sub(1, length)
end
local function uuid() return hex(8) .. "-" .. hex(4) .. "-4" .. hex(3) .. "-a" .. hex(3) .. "-" .. hex(12) end
math.randomseed(1)
local agents, names = {}, {"CallHandler.CallStarted", "CallHandler.CallEnded", "callAnalysis.pcaCompleted"}
for number = 1, 20 do agents[number] = uuid() end
local count, started_at, call, agent = 0, os.time(), nil, nil
request = function()
  local kind = count % 3 + 1
  count = count + 1
  if kind == 1 then call, agent = hex(24), agents[random(20)] end
  local id, now, more = uuid(), started_at + count / 12000, ""
  if kind == 3 then more = string.format(',\\n    "reason": "success",\\n    "timestamp": %d', now * 1000) end
  local body = string.format('{\\n  "organizationId": "e654409f-0105-4c5e-8d67-c3c2998056c6",\\n' ..
    '  "traceId": "%s",\\n  "eventName": "%s",\\n  "timestamp": %.6f,\\n  "payload": {\\n' ..
    '    "call_id": "%s",\\n    "agent_id": "%s",\\n    "status": "success"%s\\n  }\\n}',
    id, names[kind], now, call, agent, more)
  return wrk.format("POST", nil, {["Content-Type"] = "application/json",
    ["User-Agent"] = "ReactorNetty/1.1.13", ["X-Webhook-Event"] = names[kind], ["X-Webhook-Traceid"] = id,
    ["X-Webhook-Timestamp"] = os.date("!%Y-%m-%dT%H:%M:%S", now) ..
      string.format(".%09dZ", random(0, 999999999))}, body)
end
"""


def main() -> None:
    """Flood a receiver and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=5_000_000)
    goal = parser.parse_args().events
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        data_dir, script = Path(name) / "data", Path(name) / "flood.lua"
        script.write_text(WRK_SCRIPT)
        settings = {"VERBEX_DATA_DIR": str(data_dir), "VERBEX_PORT": "0", "VERBEX_ALLOW_UNSIGNED": "true"}
        with (Path(name) / "log").open("wb") as log:
            receiver = subprocess.Popen(
                [sys.executable, "-m", "connector.serve"],
                env=os.environ | settings,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            flood(receiver, script, data_dir, goal)
        finally:
            receiver.kill()
            receiver.wait()


def flood(receiver: "subprocess.Popen[str]", script: Path, data_dir: Path, goal: int) -> None:
    """Send until so many events are stored, stop the receiver, and weigh what is on the disk."""
    assert receiver.stdout is not None
    url = receiver.stdout.readline().split("listening on ")[1].split(",")[0]
    command = ["wrk", "-t1", "-c64", "-d86400s", "-s", str(script), url]
    sender = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    started_at = time.monotonic()
    try:
        while (stored := stored_count(url)) < goal:
            print(
                f"{time.monotonic() - started_at:>6.0f} s {stored:>9} events, resident "
                f"{memory_mb(receiver, 'VmRSS'):.0f} MB, peak {memory_mb(receiver, 'VmHWM'):.0f} MB",
                flush=True,
            )
            time.sleep(10)
    finally:
        sender.kill()
        sender.wait()
    time.sleep(1)
    stored, peak_mb = stored_count(url), memory_mb(receiver, "VmHWM")
    receiver.terminate()
    receiver.wait()
    landed, everything = size_bytes(data_dir / "landing"), size_bytes(data_dir)
    print(
        f"{stored} events: peak {peak_mb:.0f} MB resident, {landed / stored:.1f} bytes landed an event, "
        f"disk over landed {everything / landed:.2f}"
    )


def stored_count(url: str) -> int:
    """How many events the receiver has stored, by its own account."""
    with urllib.request.urlopen(url.replace("/webhooks/verbex", "/metrics")) as response:  # noqa: S310
        text = response.read().decode()
    found = re.search(r'stored_total{is_event="true",verified_by="unsigned"} (\S+)', text)
    return int(float(found[1])) if found else 0


def memory_mb(process: "subprocess.Popen[str]", name: str) -> float:
    """A figure of the process's memory."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


def size_bytes(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
