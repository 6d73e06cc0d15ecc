"""A web server that answers as real ones do, with a script of misbehaviour and a memory.

Where the shapes come from: llama.cpp's were recorded from its own server (xllamacpp 2026.10.11549;
test_llama.py asks the real one); Ollama's are those of its docs/api.md and api/types.go; vLLM's of
vllm/entrypoints/openai/…/protocol.py and vllm/entrypoints/serve/tokenize/protocol.py; LM Studio's
of lmstudio.ai/docs/developer/rest/endpoints and its bug tracker's issue 1323 (HTTP 200 for paths
that it does not have).
"""

from __future__ import annotations

import json
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EVENTS, LINES, JSON = "text/event-stream", "application/x-ndjson", "application/json"


@dataclass(frozen=True, slots=True)
class Said:
    """One answer."""

    body: bytes | list | dict | str = b""
    status: int = 200
    content_type: str = JSON
    headers: dict = field(default_factory=dict)
    endless: bytes = b""  # repeated after the body
    pause_s: float = 0.0  # before each repetition
    silent: bool = False  # nothing comes after the body until `server.go` is set
    is_cut: bool = False  # the connection ends in the middle

    @property
    def data(self):
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    path: str
    key: str | None
    body: object


class LlmServer(ThreadingHTTPServer):
    """Answers each path as its kind of server does; oddly to a chat while its script lasts."""

    daemon_threads = True

    def __init__(self, routes, unknown, script):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes = routes
        self.unknown = unknown
        self.script = deque(script)
        self.asked = []
        self.go = threading.Event()
        self.left = threading.Event()  # a client cut the line

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def chats(self):
        return [asked for asked in self.asked if asked.path in CHATS]

    def handle_error(self, request, client_address):
        """Clients that go away are a part of the tests."""


CHATS = ("/v1/chat/completions", "/api/chat")


@contextmanager
def serving(kind, *script):
    """A server that runs; `kind` is one of the functions below, or its routes."""
    routes, unknown = kind() if callable(kind) else kind
    server = LlmServer(routes, unknown, script)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.go.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._answer(None)

    def do_HEAD(self):
        self._answer(None)

    def do_POST(self):
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body):
        server = self.server
        server.asked.append(Asked(self.command, self.path, self.headers["Authorization"], body))
        said = server.routes.get(f"{self.command} {self.path}", server.unknown)
        if self.path in CHATS and server.script:
            said = server.script.popleft()
        try:
            self._send(said(body) if callable(said) else said)
        except OSError:
            server.left.set()

    def _send(self, said):
        self.send_response(said.status)
        for name, value in said.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", said.content_type)
        self.send_header("Connection", "close")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        self._chunk(said.data)
        if said.silent:
            self._wait()
        while said.endless:
            self.server.go.wait(said.pause_s)
            self._chunk(said.endless)
        if not said.is_cut:
            self.wfile.write(b"0\r\n\r\n")

    def _wait(self):
        """Nothing, until it is over or nobody listens."""
        self.connection.settimeout(0.01)
        while not self.server.go.is_set():
            try:
                if self.connection.recv(1) == b"":
                    self.server.left.set()
                    return
            except TimeoutError:
                pass

    def _chunk(self, data):
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()

    def log_message(self, *_):
        """Nobody reads it."""


# ── what they write ──────────────────────────────────────────────────────────────────────────


def events(*pieces, ending="stop", usage=True, thoughts=(), name="reasoning_content"):
    """A chat completion in server-sent events, as llama.cpp, vLLM and LM Studio stream it."""
    deltas = [{"role": "assistant", "content": None}]
    deltas += [{name: thought} for thought in thoughts]
    deltas += [{"content": piece} for piece in pieces]
    chunks = [_chunk_of([{"index": 0, "delta": each, "finish_reason": None}]) for each in deltas]
    chunks.append(_chunk_of([{"index": 0, "delta": {}, "finish_reason": ending}]))
    if usage:
        counts = {"prompt_tokens": 47, "completion_tokens": 20, "total_tokens": 67}
        chunks.append(_chunk_of([]) | {"usage": counts})
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return Said("".join([*lines, "data: [DONE]\n\n"]).encode(), content_type=EVENTS)


def _chunk_of(choices):
    return {
        "id": "chatcmpl-TeQmWKxDmlB1ZjBh9Nnd5l9x2cXlkIXj",
        "object": "chat.completion.chunk",
        "created": 1795437502,
        "model": "served",
        "choices": choices,
    }


def objects(*pieces, ending="stop", thoughts=(), read=47):
    """Ollama's stream of objects; so many tokens it says that it read, None: it does not say."""
    model = {"model": "llama3.2:latest", "created_at": "2023-08-04T08:52:19.385406455-07:00"}
    messages = [{"role": "assistant", "content": "", "thinking": each} for each in thoughts]
    messages += [{"role": "assistant", "content": piece, "images": None} for piece in pieces]
    lines = [{**model, "message": each, "done": False} for each in messages]
    lines.append(
        {
            **model,
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": ending,
            "total_duration": 4883583458,
            "load_duration": 1334875,
            **({} if read is None else {"prompt_eval_count": read}),
            "prompt_eval_duration": 342546000,
            "eval_count": 20,
            "eval_duration": 4535599000,
        }
    )
    return Said("".join(f"{json.dumps(line)}\n" for line in lines).encode(), content_type=LINES)


# ── what they are ────────────────────────────────────────────────────────────────────────────


def llama_cpp():
    """llama.cpp's server: as recorded."""
    unknown = {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}
    routes = {
        "GET /props": Said(
            {
                "default_generation_settings": {"params": {"seed": 4294967295}, "n_ctx": 8192},
                "total_slots": 1,
                "model_alias": "/models/qwen3-4b.gguf",
                "model_ftype": "Q4_K - Medium",
                "model_path": "/models/qwen3-4b.gguf",
                "modalities": {"vision": False, "audio": False},
            }
        ),
        "POST /v1/chat/completions/input_tokens": Said(
            {"input_tokens": 47, "object": "response.input_tokens"}
        ),
        "POST /apply-template": Said({"prompt": "<|im_start|>user\nhello<|im_end|>\n"}),
        "POST /tokenize": Said({"tokens": [1, 261, 109, 106, 113, 113, 116]}),
        "POST /v1/chat/completions": events("one ", "two"),
    }
    return routes, Said(unknown, status=404)


def old_llama_cpp():
    """Before it counted the tokens of a chat."""
    routes, unknown = llama_cpp()
    del routes["POST /v1/chat/completions/input_tokens"]
    return routes, unknown


def ollama(
    capabilities=("completion",), running=(), version="0.12.6", thinking=None, family="llama"
):
    """Ollama: docs/api.md; `thinking` as docs/capabilities/thinking.mdx has it."""
    tags = [{"name": "llama3.2:latest", "model": "llama3.2:latest", "size": 2019393189}]
    routes = {
        "GET /api/version": Said({"version": version}),
        "GET /api/ps": Said({"models": [{"name": name, "size_vram": 0} for name in running]}),
        "GET /api/tags": Said({"models": tags}),
        "POST /api/show": Said(
            {
                "details": {"family": "llama", "quantization_level": "Q4_K_M"},
                "model_info": {"general.architecture": family, f"{family}.context_length": 131072},
                "capabilities": list(capabilities),
                **({"thinking": thinking} if thinking else {}),
            }
        ),
        "POST /api/chat": objects("one ", "two"),
    }
    return routes, Said(b"404 page not found", status=404, content_type="text/plain")


def vllm():
    """vLLM."""
    card = {"object": "model", "created": 1795437502, "owned_by": "vllm"}
    model = {"id": "Qwen/Qwen3-8B", "root": "Qwen/Qwen3-8B", "parent": None, "max_model_len": 40960}
    routes = {
        "GET /v1/models": Said({"object": "list", "data": [card | model]}),
        "GET /version": Said({"version": "0.11.0"}),
        "POST /tokenize": Said(
            {"count": 47, "max_model_len": 40960, "tokens": [1] * 47, "token_strs": None}
        ),
        "POST /v1/chat/completions": events("one ", "two"),
    }
    return routes, Said({"detail": "Not Found"}, status=404)


def lm_studio(state="loaded"):
    """LM Studio: paths that it does not have are answered with HTTP 200."""
    one = {"id": "qwen3-8b", "object": "model", "type": "llm", "arch": "qwen3", "state": state}
    context = {"max_context_length": 40960}
    context |= {"loaded_context_length": 12288} if state == "loaded" else {}
    two = {"id": "text-embedding-nomic", "object": "model", "type": "embeddings"}
    models = [one | context, two | {"state": "not-loaded", "max_context_length": 2048}]
    routes = {
        "GET /api/v0/models": Said({"object": "list", "data": models}),
        "GET /v1/models": Said(
            {"object": "list", "data": [{"id": "qwen3-8b", "owned_by": "organization_owner"}]}
        ),
        "POST /v1/chat/completions": events("one ", "two"),
    }
    return routes, Said({"error": "Unexpected endpoint or method. (GET /props)"})


def other():
    """Whatever else speaks OpenAI's API."""
    routes = {
        "GET /v1/models": Said({"object": "list", "data": [{"id": "mystery", "object": "model"}]}),
        "POST /v1/chat/completions": events("one ", "two"),
    }
    return routes, Said(b"not found", status=404, content_type="text/plain")
