from __future__ import annotations

class Names:
    GO = "go"
