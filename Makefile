# make demo         sets everything up, then transcribes the bundled episode
# make test         sets everything up, then lint, types, import law and tests
# make up           a Redis and a worker of this machine, for a try of the queue; make down ends them
# make faults       every fault that workers and Redis are put through; make test leaves some out
# make chaos        kills workers at random, a thousand times, and counts what is lost; CHAOS="--kills 50 --seed 7" …
# make format       lets ruff format the code
# make accuracy     word error rate and cue times of the whole program with the demo model
# make memory       peak memory on files of 10 minutes, an hour and 12 hours
# make needs        computed against measured memory of every size and quantisation
# make nonsense      what windows cost that fail at every temperature, beside speech
# make loading      time and memory of loading a model, against openai-whisper
# make bench        the transcribe stage against other engines; BENCH="--sizes tiny --rounds 5" …
# make bench-archive  an archive of short clips beside the same clips in one file
# make bench-queue  what the queue costs a job, and how it is with 100,000 of them; QUEUE_BENCH="--rounds 1" …
# make bench-watch  what looks at watched folders cost, and the time from a copy to its job
# make bench-summaries  what a summary asks of a language model: calls, coverage, our own time
# make demo-model   trains the demo model again (two hours on two cores)
# make wheel        builds a wheel into dist/

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check

BENCH_BIN := .venv-bench/bin
BENCH_READY := .venv-bench/.ready

# A queue for a try: its files, its port, and what keeps accepted jobs on the disk.
QUEUE := build/queue
QUEUE_PORT ?= 6390
QUEUE_URL := redis://127.0.0.1:$(QUEUE_PORT)/0
DURABLE := --appendonly yes --appendfsync always --maxmemory-policy noeviction

.PHONY: demo test up down faults chaos lint format accuracy memory needs nonsense loading bench bench-archive bench-queue bench-watch bench-summaries demo-model wheel tools
.DELETE_ON_ERROR:

demo: tools $(READY)
	$(BIN)/transcribe demo

test faults chaos: NEEDED := redis-server
test: tools $(READY) lint
	$(BIN)/pytest --numprocesses 2 --dist loadfile

up: NEEDED := redis-server
up: tools $(READY)
	@mkdir -p $(QUEUE)
	@redis-cli -p $(QUEUE_PORT) ping >/dev/null 2>&1 || redis-server --daemonize yes --bind 127.0.0.1 \
	  --port $(QUEUE_PORT) --dir $(CURDIR)/$(QUEUE) $(DURABLE) >/dev/null
	@$(STOP_WORKER); TRANSCRIBE_REDIS_URL=$(QUEUE_URL) nohup $(BIN)/transcribe worker \
	  >>$(QUEUE)/worker.log 2>&1 & echo $$! >$(QUEUE)/worker.pid
	@echo "A worker is at work; $(QUEUE)/worker.log tells of it. Now, for example:"
	@echo "  export TRANSCRIBE_REDIS_URL=$(QUEUE_URL)"
	@echo "  $(BIN)/transcribe enqueue --model demo models/demo/recordings/episode.mp3"
	@echo "  $(BIN)/transcribe status --watch"

down:
	@$(STOP_WORKER)
	@redis-cli -p $(QUEUE_PORT) shutdown >/dev/null 2>&1 || true

# It hands its jobs back and is waited for.
STOP_WORKER = pid=$$(cat $(QUEUE)/worker.pid 2>/dev/null) && rm -f $(QUEUE)/worker.pid && \
  kill $$pid 2>/dev/null && while kill -0 $$pid 2>/dev/null; do sleep 0.2; done || true

faults: tools $(READY)
	$(BIN)/pytest tests/faults -m "slow or not slow"
	$(BIN)/pytest tests/workers tests/end_to_end -m slow

chaos: tools $(READY)
	$(BIN)/python -m tests.faults.chaos $(CHAOS)

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

accuracy: tools $(READY)
	$(BIN)/python -m tests.benchmarks.accuracy

memory: tools $(READY)
	$(BIN)/python -m tests.benchmarks.memory

needs: $(READY)
	$(BIN)/python -m tests.benchmarks.needs

nonsense: $(READY)
	$(BIN)/python -m tests.benchmarks.nonsense

loading: $(READY)
	$(BIN)/python -m tests.benchmarks.loading

# The peers have an environment of their own, which is large.
bench: NEEDED := g++
bench: tools $(BENCH_READY)
	$(BENCH_BIN)/python -m tests.benchmarks.peers $(BENCH)

bench-archive: tools $(READY)
	$(BIN)/python -m tests.benchmarks.archive $(ARCHIVE_BENCH)

bench-queue: NEEDED := redis-server
bench-queue: tools $(READY)
	$(BIN)/python -m tests.benchmarks.queue $(QUEUE_BENCH)

bench-watch: NEEDED := redis-server
bench-watch: tools $(READY)
	$(BIN)/python -m tests.benchmarks.watch
	$(BIN)/python -m tests.benchmarks.watch_latency

bench-summaries: $(READY)
	$(BIN)/python -m tests.benchmarks.summaries

# The voices come from Debian's packages; models/demo/README.md tells more.
demo-model: NEEDED := espeak-ng flite festival
demo-model: VOICES := festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts
demo-model: tools $(READY)
	$(BIN)/python -m models.demo.training

wheel: $(READY)
	$(PIP) wheel --quiet --no-deps --wheel-dir dist .

$(READY): pyproject.toml
	@echo "Making .venv and installing what pyproject.toml pins (some minutes the first time) …"
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet --use-pep517 --editable '.[dev]'
	@touch $@

# whisper.cpp is built here, for this very processor; its wheel is for any. torchvision, which nobody
# needs here, is brought by optimum-intel and breaks transformers where torch is a build for CPUs.
$(BENCH_READY): pyproject.toml
	@echo "Making .venv-bench with the peers, and building whisper.cpp (ten minutes the first time) …"
	$(PYTHON) -m venv .venv-bench
	CMAKE_ARGS="-DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=ON" \
	  $(BENCH_BIN)/python -m pip --disable-pip-version-check install --quiet --use-pep517 \
	  --no-binary pywhispercpp --editable '.[bench]'
	$(BENCH_BIN)/python -m pip --disable-pip-version-check uninstall --quiet --yes torchvision
	@touch $@

# System packages: installed with apt where that is allowed, named where it is not.
NEEDED ?=
VOICES ?=
tools:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed; give its name with: make PYTHON=python3.12 …"; exit 1; }; \
	missing=""; \
	command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || missing="ffmpeg"; \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	for tool in $(NEEDED); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	for voice in $(VOICES); do dpkg -s $$voice >/dev/null 2>&1 || missing="$$missing $$voice"; done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ]; then sudo=""; else sudo="sudo -n"; fi; \
	if command -v apt-get >/dev/null && $$sudo true 2>/dev/null; then \
	  echo "Missing: $$missing. Installing with apt-get …"; \
	  $$sudo apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq $$missing >/dev/null; \
	else \
	  echo "Missing: $$missing. Please install, for example: sudo apt-get install $$missing"; exit 1; \
	fi
