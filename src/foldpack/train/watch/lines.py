"""What the terminal says of a line of `log.jsonl`."""

from __future__ import annotations

from typing import Any


def told_line(run: str, metric: str, entry: dict[str, Any]) -> str | None:
    """An entry of a fold in short; None for one that is not told. metric: its name."""
    fold = f"{run} fold {entry['fold']}"
    if "resumed" in entry:
        done = f", after {entry['batches']} batches of it" if entry["batches"] else ""
        return f"{fold}: goes on in epoch {entry['resumed']}{done}"
    if "swa_score" in entry:
        found = "no number" if entry["swa_score"] is None else f"{entry['swa_score']:.4f}"
        return (f"{fold} mean of the last epochs: {metric} {found}, the best epoch {entry['best_score']:.4f}; "
                f"{'taken' if entry['swa_taken'] else 'left out'}")
    if "warning" in entry:
        return f"warning: {fold}: {entry['warning']}"
    if "epoch" in entry:
        score = f", {metric} {entry['score']:.4f}" if "score" in entry else ""
        speed = f", {entry['images_per_second']:,.0f} images/s" if "images_per_second" in entry else ""
        return (f"{fold} epoch {entry['epoch']}: lr {entry['lr']:.3g}, loss {entry['loss']:.4f}{score}, "
                f"{entry['seconds']} s{speed}, epochs to go: {entry['left']}")
    return None
