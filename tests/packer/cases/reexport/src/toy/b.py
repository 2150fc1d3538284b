from __future__ import annotations

from toy.room.c import deep

__all__ = ['deep']
