from __future__ import annotations

from toy.b import deep

__all__ = ['deep']
