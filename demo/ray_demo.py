"""The selection on a Ray cluster: two nodes on this machine, one SQL statement, a leaderboard, who trained what.

Run it with `make ray-demo`. Everything is thrown away at the end, also after an error or Ctrl-C: a temporary server,
its data, the nodes.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psycopg2

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from demo.demo import load, select_model  # noqa: E402
from tools.account import SERVER_USER  # noqa: E402
from tools.ray_nodes import Nodes, NodesError  # noqa: E402
from tools.server import DATABASE, Server, ServerError, major_version, temporary_server  # noqa: E402


def show_nodes(nodes: Nodes) -> None:
    """Prints what each node was asked to train."""
    for number, lines in nodes.trained().items():
        print(f"\nNode {number + 1} trained {len(lines)} times:")
        for line in lines:
            print(f"  {line}")


def run(server: Server, nodes: Nodes) -> None:
    """Loads the data and runs the selection on the nodes."""
    name = load(server)
    server.sql("postgres", f"ALTER DATABASE {DATABASE} SET trails.ray_address = '{nodes.address}'")
    select_model(server, name)
    show_nodes(nodes)


def main() -> int:
    """The demo from start to end."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # keeps the order in pipes and logs
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that everything is stopped
    # The refinement process joins the cluster by memory that it shares with a node: both run as the same user.
    user = SERVER_USER if os.geteuid() == 0 else None
    began = time.monotonic()
    try:
        with Nodes(user=user) as nodes:
            print(f"Ray: two nodes, head {nodes.address}, started in {time.monotonic() - began:.1f} s")
            with temporary_server() as server:
                print(f"Server: PostgreSQL {major_version(server.pg_config)}, for this demo only")
                run(server, nodes)
    except (NodesError, ServerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except psycopg2.errors.QueryCanceled as error:
        print(f"\n{str(error).strip()}", file=sys.stderr)
        return 130
    except psycopg2.Error as error:
        print(f"\n{str(error).strip()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("\nThe nodes and the server are stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
