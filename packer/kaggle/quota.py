"""What is left of the week's accelerator hours, and which sessions are running, as far as Kaggle's API tells."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table

from packer.kaggle.client import Answer, CallError, KaggleClient
from packer.kaggle.exits import DeployError, Exit
from packer.kaggle.session import GOING, Version

LOOKED_AT = 10  # kernels, those that ran last: Kaggle has no list of sessions


@dataclass(frozen=True)
class Hours:
    """One kind of accelerator."""

    used: float
    reserved: float
    total: float

    @property
    def left(self) -> float:
        """Hours that a new session may still take."""
        return max(0.0, self.total - self.used - self.reserved)


@dataclass(frozen=True)
class Quota:
    """Hours by kind, and when they start anew (ISO time, "" where Kaggle does not say)."""

    hours: dict[str, Hours]
    refresh: str


def read_quota(client: KaggleClient) -> Quota:
    """Raises DeployError."""
    try:
        answer = client.ask("get_accelerator_quota_statistics", {})
    except CallError as error:
        raise error.deploy_error() from None
    kinds = {"GPU": answer.get("gpuQuota"), "TPU": answer.get("tpuQuota")}
    hours = {name: hours_of(each) for name, each in kinds.items() if each}
    return Quota(hours, str(answer.get("quotaRefreshTime") or ""))


def hours_of(answer: Answer) -> Hours:
    """Seconds on the wire -> hours."""
    used, reserved, total = (float(answer.get(name) or 0) / 3600
                             for name in ("timeUsed", "timeReserved", "totalTimeAllowed"))
    return Hours(used, reserved, total)


def running_kernels(client: KaggleClient) -> list[str]:
    """Those of the user's latest kernels whose newest session has not ended. Raises DeployError."""
    request = {"user": client.username(), "sortBy": "DATE_RUN", "pageSize": LOOKED_AT}
    page = client.ask_if_there("list_kernels", request) or {}
    refs = [str(kernel.get("ref") or "") for kernel in (page.get("kernels") or [])[:LOOKED_AT]]
    return [ref for ref in refs if "/" in ref and is_running(client, ref)]


def is_running(client: KaggleClient, ref: str) -> bool:
    """Whether the newest session of a kernel is waiting or running."""
    place = {key: value for key, value in Version(ref, 0).place.items() if key != "versionLabel"}
    answer = client.ask_if_there("get_kernel_session_status", place) or {}
    return answer.get("status") in GOING and answer.get("status") != "NEW_SCRIPT"


def quota_warning(client: KaggleClient, hours: float) -> str:
    """What to say before a push that needs `hours` of GPU; "" when they are there. Raises DeployError."""
    try:
        gpu = read_quota(client).hours.get("GPU")
    except DeployError as failure:
        if failure.exit_code in (Exit.UNREACHABLE, Exit.CREDENTIALS):
            raise
        return f"note: how many GPU hours are left is not known ({failure})"  # some tokens may not ask
    if gpu is None or gpu.total <= 0 or hours <= gpu.left:
        return ""
    return (f"warning: the kernel may take {hours:.1f} h, but {gpu.left:.1f} of this week's {gpu.total:.0f} GPU hours "
            "are left; Kaggle will stop it, or not start it")


def quota_table(quota: Quota, running: list[str]) -> Table:
    """For a terminal."""
    lines = [f"running: {', '.join(running) or 'no kernel'}"]
    if quota.refresh:
        lines.append(f"the hours are given anew at {quota.refresh}")
    table = Table(title="Kaggle quota", caption="\n".join(lines))
    for name in ("accelerator", "used h", "reserved h", "left h", "of"):
        table.add_column(name, justify="left" if name == "accelerator" else "right")
    for name, hours in quota.hours.items():
        table.add_row(name, *(f"{value:.1f}" for value in (hours.used, hours.reserved, hours.left, hours.total)))
    return table


