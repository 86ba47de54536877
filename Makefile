.PHONY: check quick habits fuzz storm nights

check: habits
	pytest -n 2 --dist loadscope --no-loadscope-reorder

quick:
	pytest --quick -r fE

habits:
	ruff check .
	ruff format --check .
	mypy
	lint-imports

fuzz:
	NIGHTUNE_FUZZ_CASES=10000 pytest tests/faults/test_fuzz_studies.py tests/faults/test_fuzz_data.py

storm:
	python benchmarks/kill_storm.py --kills 100

nights:
	pytest -m nights
