"""Runs the table of pods: every NAME.yaml beside this file, all at once, each with its expectations in its comments.

  table.py NAMESPACE [WORD]     only the cases whose name holds WORD

A case is a manifest whose pod is named as the file, and lines that are followed in their order:

  #= PATH == VALUE     of the pod: a path of fields, list items by index or by [field=value]; consecutive lines hold
  #= PATH != VALUE     together, in one state of the pod
  #= PATH ~ REGEX
  #= PATH absent
  #= events ~ REGEX    of the pod, each "Reason: message"
  #? COMMAND           a shell command that succeeds some time; kubectl is the cluster's, in the table's namespace
  #! COMMAND           one that must succeed at once: what mends or breaks the pod
  #within SECONDS      for each line that follows, instead of 90

VALUE is compared as the JSON text without quotes. The file NAME.more.yaml, if there is one, is for commands to apply. Prints a line for each
case, and for one that failed what it waited for and what it saw.
"""
import json
import os
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
KUBECTL_AT_ONCE = threading.Semaphore(4)


def shell(command, namespace, limit=60):
    with KUBECTL_AT_ONCE:
        try:
            done = subprocess.run(["bash", "-c", f'kubectl() {{ command kubectl --namespace "{namespace}" "$@"; }}; {command}'], cwd=HERE,
                                  capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return 124, f"still running after {limit} s"
    return done.returncode, done.stdout + done.stderr


class Cluster:
    """What the namespace holds, read again and again by one thread for all cases."""

    def __init__(self, namespace):
        self.namespace, self.changed, self.ended = namespace, threading.Condition(), False
        self.pods, self.events = {}, {}
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        while not self.ended:
            pods, events = self.read("pods"), self.read("events")
            with self.changed:
                if pods is not None:
                    self.pods = {pod["metadata"]["name"]: pod for pod in pods}
                if events is not None:
                    self.events = {}
                    for event in events:
                        about = self.events.setdefault(event["involvedObject"]["name"], [])
                        about.append(f'{event.get("reason")}: {event.get("message")}')
                self.changed.notify_all()
            time.sleep(0.3)

    def read(self, resource):
        done = subprocess.run(["kubectl", "get", "--raw", f"/api/v1/namespaces/{self.namespace}/{resource}"], capture_output=True, text=True)
        return json.loads(done.stdout)["items"] if done.returncode == 0 else None


def look_up(value, path):
    """The value at a path such as status.conditions[type=Ready].status, or None."""
    for name, item, key in re.findall(r"([^.\[\]]+)|\[([^\]=]+(?:=[^\]]*)?)\]()", path):
        if name:
            value = value.get(name) if isinstance(value, dict) else None
        elif "=" in item:
            field, wanted = item.split("=", 1)
            value = next((v for v in value or [] if str(v.get(field)) == wanted), None)
        elif isinstance(value, dict):
            value = value.get(item)
        else:
            value = value[int(item)] if isinstance(value, list) and int(item) < len(value) else None
    return value


def text(value):
    return value if isinstance(value, str) else json.dumps(value)


def holds(line, pod, events):
    """None, or what was seen instead."""
    path, operator, *wanted = line.split(None, 2)
    wanted = wanted[0].strip() if wanted else ""
    if path == "events":
        return None if any(re.search(wanted, event) for event in events) else f"events: {events}"
    value = look_up(pod or {}, path)
    if operator == "absent":
        right = pod is not None and value is None
    elif operator == "==":
        right = value is not None and text(value) == wanted
    elif operator == "!=":
        right = pod is not None and text(value) != wanted
    elif operator == "~":
        right = value is not None and re.search(wanted, text(value)) is not None
    else:
        raise ValueError(f"no operator {operator}: {line}")
    return None if right else f"{path}: {text(value) if pod is not None else 'no pod'}"


class Case(threading.Thread):
    def __init__(self, cluster, file):
        super().__init__(daemon=True)
        self.cluster, self.file, self.name = cluster, file, os.path.basename(file)[:-len(".yaml")]
        self.failure, self.took = "did not run", 0

    def steps(self):
        """(kind, [lines], seconds) in the order of the file."""
        steps, within = [], 90
        for line in open(self.file):
            if match := re.match(r"#within (\d+)", line):
                within = int(match[1])
            elif match := re.match(r"#([=?!])\s+(.*\S)", line):
                if match[1] == "=" and steps and steps[-1][0] == "=" and steps[-1][2] == within:
                    steps[-1][1].append(match[2])
                else:
                    steps.append((match[1], [match[2]], within))
        return steps

    def run(self):
        start = time.monotonic()
        try:
            self.failure = self.follow()
        except Exception as error:  # the table's fault, shown as the case's
            self.failure = repr(error)
        self.took = time.monotonic() - start

    def follow(self):
        steps = self.steps()
        if not steps:
            return "expects nothing"
        status, output = shell(f'kubectl apply -f "{self.file}"', self.cluster.namespace)
        if status != 0:
            return f"apply: {output}"
        for kind, lines, within in steps:
            deadline = time.monotonic() + within
            failure = {"=": self.state, "?": self.awaited, "!": self.command}[kind](lines, deadline)
            if failure:
                return failure
        return None

    def state(self, lines, deadline):
        while True:
            with self.cluster.changed:
                pod, events = self.cluster.pods.get(self.name), self.cluster.events.get(self.name, [])
                wrong = [(line, seen) for line in lines if (seen := holds(line, pod, events))]
                if not wrong:
                    return None
                if time.monotonic() >= deadline:
                    return "\n".join([f"{line}\n  {seen}" for line, seen in wrong] + [f"status: {text((pod or {}).get('status'))}", f"events: {events}"])
                self.cluster.changed.wait(5)

    def awaited(self, lines, deadline):
        while True:
            status, output = shell(lines[0], self.cluster.namespace)
            if status == 0:
                return None
            if time.monotonic() >= deadline:
                return f"{lines[0]}\n  {status}: {output}"
            time.sleep(0.5)

    def command(self, lines, deadline):
        status, output = shell(lines[0], self.cluster.namespace)
        return None if status == 0 else f"{lines[0]}\n  {status}: {output}"


def main():
    namespace, word = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    cluster = Cluster(namespace)
    files = sorted(f for f in os.listdir(HERE) if f.endswith(".yaml") and not f.endswith(".more.yaml") and word in f)
    cases = [Case(cluster, os.path.join(HERE, file)) for file in files]
    for case in cases:
        case.start()
    failed = 0
    for case in cases:
        case.join()
        print(f"{'not right' if case.failure else 'right'}: {case.name} ({case.took:.1f} s)", flush=True)
        if case.failure:
            failed += 1
            print("  " + case.failure.replace("\n", "\n  "), flush=True)
    cluster.ended = True
    print(f"{len(cases) - failed} right, {failed} not right")
    sys.exit(1 if failed or not cases else 0)


main()
