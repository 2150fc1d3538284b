from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from toy.a import Task, work


def main() -> int:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        print(pool.map(work, [Task(number) for number in range(4)]))
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        print(executor.submit(work, Task(9)).result())
    queue = context.Queue()
    process = context.Process(target=send, args=(queue,))
    process.start()
    print(queue.get(), process.join(), process.exitcode)
    return 0


def send(queue: multiprocessing.Queue) -> None:
    queue.put(Task(7))
