"""The ensemble search against its peers, in CPU seconds of one thread, peers beside it in the same run.

    python benchmarks/search.py [--only log_loss,rmse,...] [--json FILE]

Every line names the case, our time, the peer's time and their ratio, then our score and the peer's. Scores marked
"held-out" are of fresh rows drawn alike. Times of fast parts are medians. Data are synthetic and seeded. Peers that are
not installed are said to be missing; `make bench-setup` installs them.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from search_common import Line  # before numpy
from search_honesty import bench_budget, bench_noise
from search_labels import bench_compact, bench_f2, bench_sweep
from search_log_loss import bench_log_loss
from search_values import bench_auc, bench_rmse

CASES = {
    "log_loss": bench_log_loss, "rmse": bench_rmse, "f2": bench_f2, "sweep": bench_sweep, "compact": bench_compact,
    "noise": bench_noise, "budget": bench_budget, "auc": bench_auc,
}


def show(line: Line) -> str:
    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    verdict = {True: "met", False: "NOT MET", None: "missing"}[line.ok]
    return (f"{line.case:38s} {line.peer_name:32s} {number(line.seconds, '9.4f')} {number(line.peer_seconds, '9.3f')} "
            f"{number(line.ratio, '8.1f')}x  {number(line.ours, '.6f')} {number(line.peer, '.6f')}  {verdict}; "
            f"{line.remark}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--json", type=Path, help="also write the lines here")
    options = parser.parse_args()
    print(f"{'case':38s} {'peer':32s} {'ours s':>9s} {'peer s':>9s} {'ratio':>9s}  ours peer")
    lines: list[Line] = []
    for case in options.only.split(","):
        for line in CASES[case]():
            print(show(line), flush=True)
            lines.append(line)
    if options.json:
        options.json.write_text(json.dumps([asdict(line) | {"ratio": line.ratio} for line in lines], indent=1) + "\n")
    return 1 if any(line.ok is False for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
