"""Where a run is trained: on a GPU or the CPU, compiled or not."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.state import AcceleratorState
from torch import nn

from foldpack.settings.run import ConfigError, RunConfig


def require_device(config: RunConfig) -> None:
    """Raises ConfigError for a device or a compiler that is asked for and not here. Compiles a layer to know."""
    where, gpu = f"run '{config.run}'", torch.cuda.is_available()
    if config.device == "gpu" and not gpu:
        raise ConfigError(f"{where}: device is gpu, and torch {torch.__version__} finds none; allowed here: auto, cpu; "
                          "see what nvidia-smi says, and whether this torch was built for CUDA")
    if config.precision == "fp16" and (not gpu or config.device == "cpu"):
        raise ConfigError(f"{where}: precision fp16 needs a GPU, and there is none; allowed here: no, bf16")
    if not config.compile:
        return
    device = torch.device("cpu" if config.device == "cpu" or not gpu else "cuda")
    try:
        compiled(config, nn.Linear(2, 2).to(device))(torch.zeros(2, 2, device=device))
    except Exception as failure:  # a compiler can fail in any way
        said = next((line.strip() for line in str(failure).splitlines() if line.strip()), type(failure).__name__)
        raise ConfigError(f"{where}: compile is {config.compile}, and torch.compile does not work on this {device.type}"
                          f": {said[:200]}; install what it names, or set compile: false") from None


def open_accelerator(config: RunConfig) -> Accelerator:
    """What brings network and batches to the device, as the configuration wants it."""
    # It is global, and refuses another precision or device than the run before had; the processes are the same ones.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    head_first = DistributedDataParallelKwargs(find_unused_parameters=config.optim.head_epochs > 0)
    return Accelerator(mixed_precision=config.precision, gradient_accumulation_steps=config.accumulate,
                       cpu=wants_cpu(config), kwargs_handlers=[head_first])


def wants_cpu(config: RunConfig) -> bool:
    """Whether to leave GPUs alone; several processes have to know it where there is none."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return config.device == "cpu" or (several and not torch.cuda.is_available())


def ways_to_compute(config: RunConfig, device: str) -> dict[str, bool | int | str]:
    """What changes no number of a training but by rounding. device: "cpu" or "cuda"."""
    threads: dict[str, bool | int | str] = {"threads of torch": torch.get_num_threads()} if device == "cpu" else {}
    return {"compile": config.compile, "grad_checkpointing": config.grad_checkpointing, **threads}


def meet_processes(config: RunConfig) -> None:
    """Let the processes of a launch find each other; one alone need not."""
    PartialState(cpu=wants_cpu(config))


def compiled(config: RunConfig, net: nn.Module) -> nn.Module:
    """The same network, compiled where the configuration says so; its weights stay those of `net`, under their names.

    The loss is not compiled, nor is what predicts: a kernel's network is not either.
    """
    if not config.compile:
        return net
    whole: nn.Module = torch.compile(net, mode=None if config.compile is True else config.compile)  # type: ignore
    return whole
