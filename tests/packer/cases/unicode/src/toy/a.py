from __future__ import annotations

größe = 3  # Grösse in Metern


def текст() -> str:
    """Возвращает текст."""
    return "текст" * größe; # ünïcode before the end
