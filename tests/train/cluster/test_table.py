"""What is told of orders that are in work: lines in a pipe, a table on a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from foldpack.train.cluster.orders import Order, Outcome
from foldpack.train.cluster.table import Board

BEGINS = {"begins": True, "host": "node7", "worker": "tcp://10.0.0.1:40001"}
AGAIN = {"begins": True, "host": "node8", "worker": "tcp://10.0.0.2:40002"}


def order(fold: int, do: str = "fold") -> Order:
    config = {"run": "tiny", "metric": "f2"}
    return Order(f"tiny fold {fold}", do, ".", "data", "folds.csv", "runs", [config], [fold])  # type: ignore[arg-type]


def entry(fold: int, epoch: int, score: float | None = None) -> dict:
    found = {"fold": fold, "epoch": epoch, "lr": 0.001, "loss": 1.5, "seconds": 20.0, "left": 3 - epoch}
    return {"entry": found if score is None else {**found, "score": score}}


def told(terminal: bool) -> tuple[Board, io.StringIO]:
    out = io.StringIO()
    return Board(Console(file=out, force_terminal=terminal, width=100, height=30)), out


def test_a_pipe_gets_a_line_an_epoch_and_says_who_takes_over() -> None:
    board, out = told(terminal=False)
    with board:
        board.expect(["tiny fold 0", "tiny fold 1"])
        for event in (BEGINS, entry(0, 0), AGAIN, {"entry": {"fold": 0, "resumed": 1}}, entry(0, 1, 0.5),
                      {"say": "warning: an image is broken"}, {"say": "warning: an image is broken"},
                      {"say": "decoded images: on the disk"}):
            board.event(order(0), event)
        board.ended(order(0), Outcome(result={}))
    assert out.getvalue().splitlines() == [
        "tiny fold 0: begins on node7 40001",
        "tiny fold 0 epoch 0: lr 0.001, loss 1.5000, 20.0 s, epochs to go: 3, on node7 40001",
        "tiny fold 0: its worker is gone, taken up by node8 40002",
        "tiny fold 0: goes on in epoch 1",
        "tiny fold 0 epoch 1: lr 0.001, loss 1.5000, f2 0.5000, 20.0 s, epochs to go: 2, on node8 40002",
        "warning: an image is broken"]


def test_a_terminal_shows_what_runs_where_and_how_long_it_takes() -> None:
    board, out = told(terminal=True)
    with board:
        board.expect(["tiny fold 0", "tiny fold 1", "tiny fold 2"])
        board.event(order(0), BEGINS)
        board.event(order(0), entry(0, 1, 0.5))
        board.event(order(1), AGAIN)
        board.event(order(1), entry(1, 0))
        board.ended(order(1), Outcome(error="no"))
        out.truncate(0)
        board.draw()
    rows = [line.split() for line in out.getvalue().splitlines()]
    assert any(row[:3] == ["tiny", "fold", "0"] and row[3:] == ["trains", "2", "of", "4", "0.5000", "node7", "40001",
                                                                "0:00:40"] for row in rows)
    assert any(row[-8:-5] == ["tiny", "fold", "1"] or row[:4] == ["tiny", "fold", "1", "failed"] for row in rows)
    assert any(row[:4] == ["tiny", "fold", "2", "waiting"] for row in rows)
    assert "1 of 3 done, about 0:02:00 left" in out.getvalue()  # 40 s of this one, and four epochs of the next


def test_only_the_rows_that_fit_are_shown_and_those_in_work_first() -> None:
    board, _ = told(terminal=True)
    board.expect(f"tiny fold {number}" for number in range(100))
    board.event(order(99), BEGINS)
    shown = list(board.table().columns[0].cells)
    assert len(shown) == 24 and shown[0] == "tiny fold 99"
