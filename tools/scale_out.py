#!/usr/bin/env python3
"""Scale-out, end to end, on this machine: two replicas of `pq serve` with TLS behind HAProxy, a
Slurm array of six clients with five images each, one replica killed in the middle.

    python3 tools/scale_out.py          PQ is the binary, target/release/pq without it

The configurations are those of deploy/. What has to hold: every shard ends with code 0, `pq merge`
is `pq eval` integer for integer, bytes in the replicas' metrics and logs are those of the clients'
ledgers, and SIGTERM lets the last session end. It takes root, HAProxy and Slurm (Debian's haproxy,
munge and slurm-wlm). Without them it says so, and ends with code 0.
The network is the LeNet of ../shared/data, else the digits of assets/."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
PQ = str(Path(os.environ.get("PQ", ROOT / "target/release/pq")).resolve())
SHARDS, IMAGES = 6, 30
NEEDED = ["haproxy", "munged", "slurmctld", "slurmd", "sbatch", "sinfo"]
# Only a hang exceeds it.
PATIENCE = 100

SLURM = """\
ClusterName=pq
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SlurmdParameters=config_overrides
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def skipped():
    """Why nothing can be run here, if so."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} missing: apt-get install haproxy munge slurm-wlm"
    return None if os.geteuid() == 0 else "Slurm's daemons need root"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def run(*command, env=None):
    """Runs something to its end: what it prints."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=env, timeout=PATIENCE
    )
    if done.returncode:
        sys.exit(f"{command}: code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def until(what, holds, seconds=PATIENCE, pause=0.05):
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            sys.exit(f"not in {seconds} s: {what}")
        time.sleep(pause)
    return found


def page(port, path):
    """A page of an admin port; None where nobody is there, or not ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError):
        return None


def metric(text, name, label=""):
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    own = [float(v) for k, v in lines if k.split("{")[0] == name and label in k]
    return int(sum(own))


class Processes:
    """Everything that was started and has to end."""

    def __init__(self, folder):
        self.folder, self.all = folder, {}

    def start(self, name, command, env=None):
        with open(self.folder / f"{name}.log", "w") as log:
            self.all[name] = subprocess.Popen(
                list(map(str, command)), stdout=subprocess.DEVNULL, stderr=log, env=env
            )
        return self.all[name]

    def end(self, name, number=signal.SIGTERM):
        """Asks one to end: its exit code."""
        process = self.all.pop(name)
        process.send_signal(number)
        return process.wait(timeout=PATIENCE)

    def kill_all(self):
        for process in self.all.values():
            process.kill()
            process.wait()

    def events(self, name):
        """What a service has logged, as far as its lines are whole."""
        text = (self.folder / f"{name}.log").read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


def network(folder):
    """A quantized network and images: the folder, the images and their labels."""
    model, images = DATA / "networks/lenet3x3_mnist.onnx", DATA / "images"
    if model.exists():
        calibration, labels = images / "mnist-train10k-images-idx3-ubyte.gz", "mnist-t10k-labels"
        images = images / "mnist-t10k-images-idx3-ubyte.gz"
    else:
        model, images = ROOT / "assets/digits.onnx", ROOT / "assets/digits-test-images-idx3-ubyte"
        calibration, labels = ROOT / "assets/digits-calib-images-idx3-ubyte", "digits-test-labels"
    labels = next(images.parent.glob(f"{labels}*"))
    net = folder / "net"
    search = [PQ, "search", model, "--calib", calibration, "--samples", 64]
    run(*search, "--fixed", "w4a4", "--out", net)
    return net, images, labels


def keys(folder):
    """Keys of the service and of its clients: what the clients need of the server's."""
    public = {}
    for name in ["server", "cluster"]:
        made = run(PQ, "keygen", "--json", "--out", folder / f"{name}.pem")
        public[name] = json.loads(made)["public_key"]
    (folder / "clients.txt").write_text(f"cluster {public['cluster']}\n")
    return public["server"]


def serve(processes, name, net, ports):
    """A replica, with a quota file of its own."""
    folder = processes.folder
    (folder / f"{name}.toml").write_text(
        f'nets = ["net={net}"]\nlisten = "127.0.0.1:{ports[0]}"\nadmin = "127.0.0.1:{ports[1]}"\n'
        f'key = "server.pem"\nclients = "clients.txt"\nquota = "{name}.used"\n'
    )
    processes.start(name, [PQ, "serve", "--json", "--config", folder / f"{name}.toml"])


def cluster(processes):
    """Slurm's daemons for one node: the environment of its commands."""
    folder, host = processes.folder, socket.gethostname().split(".")[0]
    for name in ["state", "spool"]:
        (folder / name).mkdir()
    controller, daemon = free_ports(2)
    conf = folder / "slurm.conf"
    conf.write_text(SLURM.format(host=host, folder=folder, controller=controller, daemon=daemon))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    env = {**os.environ, "SLURM_CONF": str(conf)}
    munge = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket"]
    munge += [f"--{of}-file={folder}/munge.{of}" for of in ["key", "pid", "seed", "log"]]
    processes.start("munged", munge, env)
    until("munged", (folder / "munge.socket").exists)
    processes.start("slurmctld", ["slurmctld", "-D", "-f", conf], env)
    processes.start("slurmd", ["slurmd", "-D", "-f", conf, "-N", host], env)
    ready = ["sinfo", "--noheader", "--format=%T"]

    def idle():
        said = subprocess.run(ready, capture_output=True, text=True, env=env, timeout=PATIENCE)
        return "idle" in said.stdout

    until("a node of Slurm", idle, pause=0.3)
    return env


def amid_a_session(admin):
    """Whether a session has answered something, and has more to do."""
    rows = json.loads(page(admin, "/sessions") or "[]")
    return any(0 < row["images"] < IMAGES // SHARDS - 1 for row in rows)


def check(holds, what):
    if not holds:
        sys.exit(f"FAILED: {what}")


def check_ledgers(shards, killed, metrics):
    """Bytes of the clients' sessions are those that the replicas have counted."""
    sessions = {s["session"]: s for shard in shards for s in shard["sessions"] if s["complete"]}
    ended = [e for e in killed if e["event"] == "ended" and e["outcome"] == "complete"]
    there = [sessions.pop(e["session"]) for e in ended if e["session"] in sessions]
    check(len(there) == len(ended), "every session of the killed replica is a client's")
    for by in ["server", "client"]:
        field = f"{by}_bytes"
        check(
            sum(e[field] for e in ended) == sum(s[field] for s in there),
            f"bytes of the {by} in the killed replica's log are those of the ledgers",
        )
        counted = metric(metrics, "pq_bytes_total", f'sent_by="{by}"')
        ledger = sum(s[field] for s in sessions.values())
        check(counted == ledger, f"pq_bytes_total of the {by}: {counted}, in the ledgers {ledger}")
    images = metric(metrics, "pq_images_total")
    check(images == sum(s["images"] for s in sessions.values()), f"pq_images_total: {images}")
    check(metric(metrics, "pq_ledger_mismatch_total") == 0, "no mismatch of the ledger")
    return len(there), len(sessions)


class Clock:
    """Seconds since the start, before what is said."""

    def __init__(self):
        self.start = time.monotonic()

    def say(self, text):
        print(f"{time.monotonic() - self.start:5.1f} s  {text}", flush=True)


def start(folder, processes):
    """Replicas, balancer and scheduler: the environment of clients, and the admin ports."""
    net, images, labels = network(folder)
    server_key = keys(folder)
    front, *ports = free_ports(5)
    replicas = {"a": ports[:2], "b": ports[2:]}
    env = {**os.environ, "PQ_LISTEN": f"127.0.0.1:{front}"}
    for name, own in replicas.items():
        serve(processes, name, net, own)
        env[f"PQ_{name.upper()}"] = f"127.0.0.1:{own[0]}"
        env[f"PQ_{name.upper()}_ADMIN_PORT"] = str(own[1])
    for name, (_, admin) in replicas.items():
        until(f"replica {name}", lambda admin=admin: page(admin, "/readyz"))
    processes.start("haproxy", ["haproxy", "-f", ROOT / "deploy/haproxy.cfg"], env)
    env = cluster(processes) | {
        "PQ": PQ,
        "PQ_CONNECT": f"127.0.0.1:{front}",
        "PQ_MODEL": "net",
        "PQ_KEY": str(folder / "cluster.pem"),
        "PQ_SERVER_KEY": server_key,
        "PQ_INPUT": str(images),
        "PQ_INDEX": f"0..{IMAGES}",
        "PQ_OUT": str(folder / "parts"),
        "PQ_RETRY_FOR": "60",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    plain = [PQ, "eval", net, "--data", images, "--labels", labels, "--limit", IMAGES]
    plain = json.loads(run(*plain, "--logits", "--json"))
    return env, replicas["a"][1], replicas["b"][1], plain


def array(folder, processes, env, admin, clock):
    """The array, amid which a replica is killed: what its shards say."""
    sbatch = ["sbatch", "--wait", f"--array=0-{SHARDS - 1}", f"--chdir={folder}"]
    submitted = processes.start("sbatch", [*sbatch, ROOT / "deploy/slurm-array.sh"], env)

    def amid_the_second():
        ended = [e for e in processes.events("a") if e["event"] == "ended"]
        return submitted.poll() is not None or (ended and amid_a_session(admin))

    until("a session to be cut", amid_the_second, pause=0.002)
    check(submitted.poll() is None, "the array runs when a replica is killed")
    code = processes.end("a", signal.SIGKILL)
    check(code == -signal.SIGKILL, f"the replica is killed, and has not ended: {code}")
    clock.say("replica a is killed, amid its second session")
    check(submitted.wait(timeout=PATIENCE) == 0, "sbatch ends with 0")
    processes.all.pop("sbatch")
    again = logs(folder).count("trying again in")
    check(again > 0, "a shard tries again")
    clock.say(f"all shards ended with 0, after {again} retries")
    shards = [shard_result(path) for path in sorted(folder.glob("pq-*.log"))]
    check(len(shards) == SHARDS, f"{SHARDS} shards, found {len(shards)}")
    return shards


def scale_out(folder, processes):
    clock = Clock()
    env, killed, kept, plain = start(folder, processes)
    clock.say("two replicas, HAProxy and Slurm are there")
    shards = array(folder, processes, env, killed, clock)
    merged = json.loads(run(PQ, "merge", "--json", *sorted((folder / "parts").iterdir())))
    check(merged["logits_int"] == plain["logits_int"], "pq merge is pq eval, integer for integer")
    check(merged["accuracy"] == plain["accuracy"], "and has its accuracy")
    for by in ["server_bytes", "client_bytes"]:
        every = sum(s[by] for shard in shards for s in shard["sessions"])
        check(merged[by] == every, f"{by} of pq merge are those of all sessions")
    until("the end of all sessions", lambda: metric(page(kept, "/metrics"), "pq_sessions") == 0)
    metrics = page(kept, "/metrics")
    there, here = check_ledgers(shards, processes.events("a"), metrics)
    ended = metric(metrics, "pq_sessions_total")
    check(ended == here, f"b has ended {ended} sessions, {here} are complete")
    clock.say(f"{IMAGES} images are as pq eval has them, bytes as the replicas have counted them:")
    print(f"         {there} complete sessions of a in its log, {here} of b in its metrics")
    drain(processes, env, kept)
    clock.say("drained: all exit codes are 0")


def logs(folder):
    return "".join(path.read_text() for path in sorted(folder.glob("pq-*.log")))


def shard_result(path):
    """The result of a shard: the one line of its log that is an object."""
    lines = path.read_text().splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("{"))
    return json.JSONDecoder().raw_decode("\n".join(lines[start:]))[0]


def drain(processes, env, admin):
    """SIGTERM amid a session: it ends first, and everybody with 0."""
    client = [PQ, "infer", "--json", "--connect", env["PQ_CONNECT"], "--model", "net", "--batch", 1]
    client += ["--key", env["PQ_KEY"], "--server-key", env["PQ_SERVER_KEY"]]
    client += ["--input", env["PQ_INPUT"], "--index", "0..20"]
    last = processes.start("client", client, env)
    until("the last session", lambda: amid_a_session(admin) or last.poll() is not None, pause=0.002)
    check(last.poll() is None, "the last client runs when its service is to end")
    check(processes.end("b") == 0, "the service ends with 0")
    check(last.wait(timeout=PATIENCE) == 0, "the last client ends with 0")
    processes.all.pop("client")
    drained = processes.events("b")[-1]
    check(drained["event"] == "drained" and drained["cut"] == 0, f"no session is cut: {drained}")
    check(processes.end("haproxy", signal.SIGUSR1) == 0, "HAProxy ends with 0")
    for name in ["slurmd", "slurmctld", "munged"]:
        check(processes.end(name) == 0, f"{name} ends with 0")


def main():
    if why := skipped():
        print(f"skipped: scale-out, {why}")
        return
    with tempfile.TemporaryDirectory(prefix="pq-scale-out-") as folder:
        processes = Processes(Path(folder))
        try:
            scale_out(Path(folder), processes)
        except BaseException:
            for log in sorted(Path(folder).glob("*.log")):
                print(f"== {log.name}", *log.read_text().splitlines()[-15:], sep="\n")
            raise
        finally:
            processes.kill_all()


if __name__ == "__main__":
    main()
