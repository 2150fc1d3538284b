from __future__ import annotations

# after a form feed
def tabbed():
	if True:
		return '|'
