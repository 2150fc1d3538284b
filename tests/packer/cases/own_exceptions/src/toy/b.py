from __future__ import annotations

class BaseTrouble(Exception):
    pass


class Trouble(BaseTrouble):
    pass
