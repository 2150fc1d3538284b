from __future__ import annotations

from toy.a import größe, текст


def main() -> int:
    print(größe, текст(), "Ωμέγα", "日本語", "\N{BULLET}", "é".encode())
    print("🎉 " + repr(chr(0x2028)) + "  end")
    return 0
