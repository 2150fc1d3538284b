from __future__ import annotations

class G:
    pass
