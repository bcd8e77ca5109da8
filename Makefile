# make demo   the whole way on the bundled sample: export, build-engine --int8, bench, stylize
# make test   ruff, mypy --strict and pytest, the C++ library among it where its tools are
# make wheel  the wheel in dist/, and its test: installed without torch for Python 3.10 and 3.13 (minutes)
# make cpp    the C++ library in build/cpp and all its tests, with sanitizers; needs
#             cmake g++ nlohmann-json3-dev libssl-dev doctest-dev libstb-dev (docs/cpp.md)
# make fuzz  changed input at every door for FUZZ_SECONDS; what ends badly is kept in tests/fuzz/found (docs/robustness.md)
# All set up .venv by themselves; only python3 and make are needed.
# make gpu    on a machine with an NVIDIA GPU: smoke test, tests, engines, peers; packs all that tells how it went into
#             one archive (tests/on_gpu/kit.py). In .venv-gpu. For GTX 10xx:
#             make gpu PYTHON=python3.10 GPU_EXTRA=pascal GPU_PEERS=torch,tensorrt-raw

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

GPU_EXTRA ?= gpu
GPU_PEERS ?= torch-cuda,torch-cuda-fp16,torch-compile-cuda,tensorrt-raw
GPU_PRECISIONS ?=
GPU_SIZES ?= 256,512,720x1280,1080x1920
GPU_BIN := .venv-gpu/bin

.PHONY: demo test wheel cpp gpu fuzz clean

demo: $(READY)
	$(BIN)/nstopt export
	$(BIN)/nstopt build-engine --int8 --res 512
	$(BIN)/nstopt inspect
	$(BIN)/nstopt stylize --before-after nstopt-out/before-after.png
	$(BIN)/nstopt bench --res 512 --compare torch
	@echo "before and after: $(CURDIR)/nstopt-out/before-after.png"

test: $(READY)
	cd tests && ../$(BIN)/python -m cpp.building
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses auto --dist loadfile

wheel: $(READY)
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	NSTOPT_WHEEL=1 $(BIN)/pytest tests/test_wheel.py -rs

gpu:
	test -x $(GPU_BIN)/pip || $(PYTHON) -m venv .venv-gpu
	$(GPU_BIN)/pip install --quiet --editable '.[$(GPU_EXTRA),dev]'
	$(GPU_BIN)/python tests/on_gpu/kit.py nstopt-out/gpu-kit \
		--precisions "$(GPU_PRECISIONS)" --peers "$(GPU_PEERS)" --sizes "$(GPU_SIZES)"

FUZZ_SECONDS ?= 600
FUZZ_SEED := $(shell date +%s)

fuzz: $(READY)
	cd tests && ../$(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS) --first $(FUZZ_SEED) --keep

cpp: $(READY)
	NSTOPT_CPP=all $(BIN)/pytest tests/cpp -rs
	@echo "library, example and bench: $(CURDIR)/build/cpp"

# Debian's python3 comes without ensurepip; its package brings it, where we may install packages.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv || { [ "$$(id -u)" = 0 ] && apt-get update && apt-get install -y python3-venv \
		&& $(PYTHON) -m venv --clear .venv; } || { echo "install python3-venv first" >&2; exit 1; }
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-gpu build dist nstopt-out
