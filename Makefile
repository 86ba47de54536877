.PHONY: check quick habits fuzz storm nights wheel

check: habits
	pytest -n 2 --dist loadscope --no-loadscope-reorder

quick:
	pytest --quick -r fE -n 2 --dist loadscope --no-loadscope-reorder

habits:
	ruff check .
	ruff format --check .
	mypy
	lint-imports

fuzz:
	NIGHTUNE_FUZZ_CASES=10000 pytest tests/faults/test_fuzz_studies.py tests/faults/test_fuzz_data.py \
	  tests/faults/test_commands_and_faults.py

storm:
	python benchmarks/kill_storm.py --kills 100
	python benchmarks/cluster_storm.py --kills 20

nights:
	pytest -m nights

wheel:
	rm -rf build/wheel
	python -m build --outdir build/wheel .
	python3 -m venv build/wheel/venv
	build/wheel/venv/bin/pip install -q -c constraints.txt build/wheel/*.whl
	cd build/wheel && venv/bin/nightune --help && venv/bin/nightune tune ../../studies/digits.toml --trials 2 --epochs 2
