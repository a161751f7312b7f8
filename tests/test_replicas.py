"""Equal servers of a role are one object of a cluster, and the router finds every replica by one name."""

import http.server
import json
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import parsed
import plans
import pytest
from msgspec.structs import replace
from staged import KEY, free_ports, program
from test_kubernetes import apart, deployments, dra
from test_router import get, post

from planner.artifacts import render, write
from planner.artifacts.read_back import read_back
from planner.artifacts.read_routes import wrong_routes
from planner.artifacts.verify import compared
from planner.errors import InputError
from planner.plan import Plan


def pairs() -> Plan:
    """Two equal GPUs, each with a chat and an embedder that share it."""
    return plans.plan(
        *(
            server
            for number in (1, 2)
            for server in (
                plans.server(f"chat-{number}", role="chat", gpu_indices=(number,), port=8000 + number),
                plans.server(f"embed-{number}", role="embed", gpu_indices=(number,), port=8002 + number),
            )
        )
    )


def unequal() -> Plan:
    return plans.plan(
        plans.server("chat-1", role="chat", gpu_indices=(0,)),
        plans.server("chat-2", role="chat", gpu_indices=(1,), port=8002, max_num_seqs=4),
        plans.server("chat-3", role="chat", gpu_indices=(2,), port=8003, max_num_seqs=4),
    )


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (apart(), {"chat": 2, "embed": 1}),
        (pairs(), {"chat": 2}),
        (dra(pairs()), {"chat": 2}),
        (unequal(), {"chat-1": 1, "chat-2": 2}),
        (plans.many_roles(), {"big": 1}),
    ],
    ids=["apart", "pairs", "dra", "unequal", "crossed"],
)
def test_equal_servers_are_replicas_of_one_object(plan: Plan, expected: dict[str, int], tmp_path: Path) -> None:
    found = {item["metadata"]["name"].rpartition("--")[2]: item["spec"]["replicas"] for item in deployments(plan)}
    assert found == expected

    write(render(plan, targets=("kubernetes",)), tmp_path)
    read = {one.server: one for commands in read_back(tmp_path).values() for one in commands}
    assert list(compared(plan, "kubernetes", read)) == []
    assert not wrong_routes(plan, tmp_path)["kubernetes/fleet/haproxy.cfg"]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("replicas: 2", "replicas: 3", "chat has 3 replicas"),
        ("nvidia.com/gpu: 2", "nvidia.com/gpu: 1", "asks for 1 GPUs, not 2"),
        ("            - --lock=/opt/planner/gpu-1\n", "", "chat has locks of 1 GPUs, not 2"),
    ],
)
def test_edits_by_hand_are_found(old: str, new: str, found: str, tmp_path: Path) -> None:
    write(render(apart(), targets=("kubernetes",)), tmp_path)
    path = tmp_path / "kubernetes" / "fleet" / "servers.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")

    with pytest.raises(InputError, match=found):
        read_back(tmp_path)


def test_a_router_with_too_few_replicas_is_found(tmp_path: Path) -> None:
    write(render(apart(), targets=("kubernetes",)), tmp_path)
    path = tmp_path / "kubernetes" / "fleet" / "haproxy.cfg"
    path.write_text(path.read_text(encoding="utf-8").replace("chat- 2 ", "chat- 1 "), encoding="utf-8")

    assert wrong_routes(apart(), tmp_path)["kubernetes/fleet/haproxy.cfg"] == [
        "chat is answered by planner-workstation--chat:8001, "
        "planned planner-workstation--chat:8001, planner-workstation--chat:8001"
    ]


@contextmanager
def cluster_dns(name: str, addresses: list[str]) -> Iterator[int]:
    """Answer like a cluster's DNS: one name of a headless Service has the addresses of its pods, no other exists."""
    wire = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                query, client = door.recvfrom(4096)
                if not query:
                    return
                end = query.index(b"\0", 12) + 5
                known = query[12 : end - 4] == wire
                found = addresses if known and query[end - 3] == 1 else []  # A; there are no IPv6 addresses
                head = query[:2] + (b"\x85\x80" if known else b"\x85\x83") + struct.pack("!HHHH", 1, len(found), 0, 0)
                records = [b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 5, 4) + socket.inet_aton(one) for one in found]
                door.sendto(head + query[12:end] + b"".join(records), client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield door.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", ("127.0.0.1", door.getsockname()[1]))
        thread.join(5)


@contextmanager
def pod(address: str, port: int) -> Iterator[None]:
    """Answer as a server in a pod of this address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            data = json.dumps({"from": address}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

    server = http.server.ThreadingHTTPServer((address, port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_the_router_finds_every_replica_in_the_clusters_dns(tmp_path: Path) -> None:
    port, door = free_ports(2)
    fleet = apart()
    moved = tuple(replace(one, port=port if one.name == "chat-1" else one.port) for one in fleet.servers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planner.artifacts.router.ROUTER_PORT", door)
        write(render(replace(fleet, servers=moved), targets=("kubernetes",)), tmp_path)
    path = tmp_path / "kubernetes" / "fleet" / "haproxy.cfg"
    router = next(
        one
        for one in parsed.every((path.parent / "router.yaml").read_text(encoding="utf-8"))
        if one["kind"] == "Deployment"
    )
    (container,) = router["spec"]["template"]["spec"]["containers"]
    (domain,) = [one["value"] for one in container["env"] if one["name"] == "PLANNER_CLUSTER_DOMAIN"]
    name = f"planner-workstation--chat.apps.svc.{domain}"
    with cluster_dns(name, ["127.0.0.2", "127.0.0.3"]) as dns, pod("127.0.0.2", port), pod("127.0.0.3", port):
        text = path.read_text(encoding="utf-8").replace("parse-resolv-conf", f"nameserver cluster 127.0.0.1:{dns}")
        text = text.replace("planner-workstation--embed", "127.0.0.1")
        path.write_text(text, encoding="utf-8")
        process = subprocess.Popen(
            [program("haproxy"), "-db", "-f", path],
            env={"VLLM_API_KEY": KEY, "PLANNER_NAMESPACE": "apps", "PLANNER_CLUSTER_DOMAIN": domain},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            answered: Counter[str] = Counter()
            for _ in range(4000):
                if len(answered) == 2:
                    break
                time.sleep(0.05)
                try:
                    status, body = post(door, "/v1/completions", {"model": "chat"})
                except OSError:
                    continue
                answered.update([str(body["from"])] if status == 200 else [])
            assert answered.keys() == {"127.0.0.2", "127.0.0.3"}
            assert get(door, "/v1/models")[0] == 200
        finally:
            process.terminate()
            process.wait(timeout=10)
