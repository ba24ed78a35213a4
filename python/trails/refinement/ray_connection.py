"""Joins a Ray cluster, or says within seconds why not. The only place that imports ray, and when it is called."""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
import time
from typing import Any

from trails.errors import InvalidInput, TrailsError
from trails.refinement import memory
from trails.refinement.protocol import Setting

ANSWER_SECONDS = 8.0
"""How long a cluster may take to let this process in; two busy cores need one second."""

_ADDRESS = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\]):(?P<port>\d{1,5})", re.ASCII)

_RAYS_OWN = 256 << 20
"""Private memory that Ray's client takes, most of it stacks of its threads."""


def connect(setting: Setting) -> Any:
    """Join the cluster at ``setting.ray_address``; the module ``ray``.

    Raises:
        InvalidInput: The address is not host:port, nothing that speaks Ray answers there, or ``ray_gpus`` is a number
            that Ray does not know.
        TrailsError: Ray is not installed here, or this machine is not a node of the cluster.
        OutOfMemory: The memory limit does not hold Ray.
    """
    began = time.monotonic()
    address = setting.ray_address or ""
    host, port = _parse(address)
    if setting.ray_gpus > 1 and setting.ray_gpus != int(setting.ray_gpus):
        raise InvalidInput(
            f"trails.ray_gpus = {setting.ray_gpus:g}: more than one GPU can only be reserved in whole numbers",
            hint="A fraction below 1 lets trials share a GPU.",
        )
    if setting.memory_limit and memory.used() + _RAYS_OWN > setting.memory_limit:
        raise memory.too_small(setting.memory_limit, memory.used() + _RAYS_OWN)
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise TrailsError(
            "trails.ray_address is set, and Ray is not installed",
            detail=str(error),
            hint="pip install 'trails[ray]' in the virtual environment.",
        ) from error
    # ray.init alone would wait and print for a minute.
    try:
        socket.create_connection((host, port), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise _silent(address, str(error)) from error
    # Ray's processes look for modules where this one happens to run, which may be the database's directory.
    os.chdir("/")
    failures: list[BaseException] = []

    def join() -> None:
        try:
            _check_user(f"{host}:{port}")
            ray.init(f"{host}:{port}", log_to_driver=False, logging_level=logging.ERROR)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=join, daemon=True, name="ray")
    thread.start()
    thread.join(ANSWER_SECONDS - (time.monotonic() - began))
    if thread.is_alive():
        raise _silent(address, "It accepts connections and does not speak as a Ray cluster does.")
    if failures:
        raise TrailsError(
            f'cannot join the Ray cluster at "{address}"',
            detail=str(failures[0]),
            hint="This machine must be one of its nodes, started by the same user and with the same versions of Python "
            f"and Ray: ray start --address={address} --num-cpus=0",
        ) from failures[0]
    return ray


def _check_user(address: str) -> None:
    """Find out whether this process may write where the node on this machine keeps its files.

    If it may not, Ray's client would abort the process.

    Raises:
        PermissionError: It may not.
    """
    try:
        from ray._private.services import get_node_to_connect_for_driver
        from ray._raylet import GcsClient  # type: ignore[attr-defined]

        node = get_node_to_connect_for_driver(GcsClient(address=address))
        needed = [node.raylet_socket_name, node.object_store_socket_name]
        needed += [f"{node.session_dir}/logs", f"{node.session_dir}/logs/events"]
    except (ImportError, AttributeError, TypeError):
        return  # these are Ray's own affairs, and another version may keep them elsewhere
    for path in needed:
        if os.path.exists(path) and not os.access(path, os.W_OK):
            raise PermissionError(f"cannot write to {path}, which belongs to the user who started the node")


def slots_of(ray: Any, setting: Setting, must: bool = True) -> int:
    """Trials that the living nodes have room for at once: one CPU each, and the GPUs that it reserves.

    Raises:
        InvalidInput: There is no room for one, if there ``must`` be.
    """
    gpus, slots = setting.ray_gpus, 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            room, devices = int(has.get("CPU", 0)), int(has.get("GPU", 0))
            if gpus > 0:
                # A part of a GPU lies on one GPU.
                room = min(room, devices * int(1 / gpus + 1e-9) if gpus < 1 else devices // int(gpus))
            slots += room
    if slots == 0 and must:
        wanted = f"a CPU and {gpus:g} GPUs" if gpus > 0 else "a CPU"
        raise InvalidInput(
            f'no node of the Ray cluster at "{setting.ray_address}" has what a trial reserves: {wanted}',
            hint="Start nodes that have" + (", or set trails.ray_gpus to 0 to train on CPUs." if gpus > 0 else "."),
        )
    return slots


def _parse(address: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 1 << 16:
        raise InvalidInput(
            f'"{address}" is not the address of a Ray cluster', hint="host:port of its head, such as 10.0.0.7:6379."
        )
    return found["host"], int(found["port"])


def _silent(address: str, detail: str) -> InvalidInput:
    return InvalidInput(
        f'the Ray cluster at "{address}" does not answer',
        detail=detail,
        hint="Start it with `ray start --head`, or set trails.ray_address to '' to train on this machine.",
    )
