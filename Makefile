.PHONY: check habits

check: habits
	pytest

habits:
	ruff check .
	ruff format --check .
	mypy
	lint-imports
