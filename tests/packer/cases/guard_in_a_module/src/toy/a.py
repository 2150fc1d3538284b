from __future__ import annotations

def f() -> int:
    return 1


if __name__ == '__main__':
    f()
