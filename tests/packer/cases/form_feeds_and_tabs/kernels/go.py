from __future__ import annotations

from toy.a import tabbed


def main() -> int:
	print(tabbed(), '\x0b')
	return 0
