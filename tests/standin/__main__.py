"""The stand-in by hand: PYTHONPATH=tests python -m standin STATE --competition SLUG=FOLDER"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from standin.server import CannedRunner, Competition, SandboxRunner, StandIn


def main() -> None:
    """Serve until interrupted, telling each request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=Path, help="folder for the state; kept between starts")
    parser.add_argument("--competition", action="append", default=[], metavar="SLUG=FOLDER")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--canned", action="store_true", help="do not run the kernels")
    args = parser.parse_args()
    competitions = {slug: Competition(data=Path(folder), score=lambda csv: 0.5)
                    for slug, _, folder in (one.partition("=") for one in args.competition)}
    runner = CannedRunner() if args.canned else SandboxRunner()
    with StandIn(args.state, competitions, runner, port=args.port) as standin:
        for name, value in standin.environment(args.state).items():
            if "proxy" in name.lower() or name in ("HOME", "TMPDIR", "KAGGLE_API_ENVIRONMENT"):
                print(f"export {name}='{value}'")
        told = 0
        while True:
            time.sleep(0.2)
            for request in standin.requests[told:]:
                print(f"{request.index:4d} {request.status} {request.method} {request.route or request.path}")
                told += 1


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
