from __future__ import annotations

class Hidden:
    pass


class Quoted:
    pass


class Deep:
    pass


class Unnamed:
    pass
