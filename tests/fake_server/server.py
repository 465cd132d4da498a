"""A fake OpenAI server: real HTTP, schema replies, metered tokens, seeded faults, a log of all it answered.

Run it as a script: it prints {"port": N} and serves until its lifetime ends or its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent))  # run as a script, from anywhere
import faults
import replies
from batches import BatchEndpoints

CHARS_PER_TOKEN = 4
CACHE_BLOCK = 128 * CHARS_PER_TOKEN  # providers cache prefixes in steps of 128 tokens
CACHE_MINIMUM = 1_024  # tokens below which nothing is cached


class FakeOpenAI:
    """State and handlers of one server."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.log: list[dict[str, Any]] = []
        self.tries: Counter[str] = Counter()
        self.prefixes: set[str] = set()
        self.in_flight = self.most_in_flight = 0
        self.fixed: bytes | None = None
        self.batches = BatchEndpoints(options, self._refused, self.answer_line)

    def app(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=64 << 20)
        for prefix in ("/v1", "/openai/deployments/{deployment}", "/serving-endpoints"):  # OpenAI, Azure, Databricks
            app.router.add_post(f"{prefix}/chat/completions", self.chat)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/log", self.show_log)
        self.batches.add_to(app.router)
        app.router.add_post("/options", self.change)
        return app

    async def show_log(self, _: web.Request) -> web.Response:
        """Every request so far, with what came of it."""
        told = {"requests": self.log, "most_in_flight": self.most_in_flight, "batches": self.batches.log}
        return web.json_response(told)

    async def change(self, request: web.Request) -> web.Response:
        """Change options (faults, latency, key, …) while running."""
        self.options.update(await request.json())
        return web.json_response(self.options)

    def _refused(self, request: web.Request) -> web.Response | None:
        key = self.options["key"]
        azure = "deployment" in request.match_info
        given = f"Bearer {request.headers.get('api-key')}" if azure else request.headers.get("authorization", "")
        if azure and "api-version" not in request.query:
            return faults.error_response("model_not_found", 0, "Resource not found: no api-version")
        if key is None or given == f"Bearer {key}":
            return None
        # Like the real one, it repeats what it was given: clients must not pass that on. The end of what it wants tells
        # in a test's log whose options it has.
        told = f"Incorrect API key provided: {given[7:]} (wanted …{key[-3:]})"
        return faults.error_response("authentication", 0, told)

    async def models(self, request: web.Request) -> web.Response:
        """The one model."""
        model = {"id": self.options["model"], "object": "model", "created": 0, "owned_by": "tests"}
        return self._refused(request) or web.json_response({"object": "list", "data": [model]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """One completion, or one fault."""
        if self.options["static"] is not None:
            return await self._static(await request.read())
        body = await request.json()
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        entry = {"hash": digest, "try": 0, "fault": None, "answered": False, "start": time.monotonic()}
        self.log.append(entry)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            refused = self._refused(request)
            if refused is not None:
                entry["fault"] = "authentication"
                return refused
            form, holds_to = body.get("response_format", {}), self.options["schema"]
            if form.get("type") == "json_schema" and holds_to != "strict":
                if holds_to == "crashes":
                    return faults.error_response("server_500", 0) or web.Response(status=500)
                if holds_to != "ignored":
                    return faults.error_response("bad_request", 0, "response_format json_schema is not supported")
                body["response_format"] = {"type": "json_object"}  # a server that does as if it had not seen it
            elif holds_to not in ("in_object", "crashes"):
                form.pop("schema", None)
            self.tries[digest] += 1
            entry["try"] = self.tries[digest]
            return await self._answer(request, body, entry)
        finally:
            self.in_flight -= 1
            entry["end"] = time.monotonic()
            self._keep(entry)

    def _keep(self, entry: dict[str, Any]) -> None:
        """A line of the log that outlives this process, where one is wanted."""
        if self.options["log_file"] is not None:
            with Path(self.options["log_file"]).open("a", encoding="utf-8") as log:
                log.write(json.dumps(entry) + "\n")

    def answer_line(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body for one line of a batch; faults below HTTP become a 500."""
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        self.tries[digest] += 1
        entry = {"hash": digest, "try": self.tries[digest], "fault": None, "answered": False, "batch": True}
        self.log.append(entry)
        prompt = "\n".join(message["content"] for message in body["messages"])
        options = self.options
        fault = faults.choose(digest, prompt, options["faults"], options["seed"], self.tries[digest], options["times"])
        entry["fault"] = fault
        error = faults.error_body("server_500" if fault in faults.BROKEN_WIRE else fault or "")
        if error is not None:
            return error
        task, value = replies.reply_to(body)
        completion = self._completion(body, prompt, json.dumps(value, ensure_ascii=False), digest)
        entry.update(task=task, usage=completion["usage"], answered=True)
        if fault is not None:
            is_correction = any(message["role"] == "assistant" for message in body["messages"])
            completion = faults.spoil(fault, completion, is_correction, body.get("max_tokens", 0))
        return 200, completion

    async def _static(self, content: bytes) -> web.Response:
        """One fixed completion, as fast as can be: for benchmarks of clients."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        is_slow = zlib.crc32(content) / 2**32 < self.options["slow_share"]
        await asyncio.sleep(self.options["latency"] * (10 if is_slow else 1))
        self.in_flight -= 1
        if self.fixed is None:
            body = {"model": self.options["model"]}
            self.fixed = json.dumps(self._completion(body, "x" * 4_000, self.options["static"], "0" * 64)).encode()
        return web.Response(body=self.fixed, content_type="application/json")

    async def _answer(self, request: web.Request, body: dict[str, Any], entry: dict[str, Any]) -> web.StreamResponse:
        options = self.options
        prompt = "\n".join(message["content"] for message in body["messages"])
        fault = faults.choose(entry["hash"], prompt, options["faults"], options["seed"], entry["try"], options["times"])
        entry["fault"] = fault
        is_slow = int(entry["hash"][:8], 16) / 2**32 < options["slow_share"]
        await asyncio.sleep(options["latency"] * (10 if is_slow else 1))
        if fault is not None:
            error = faults.error_response(fault, options["retry_after"])
            if error is not None:
                return error
        task, value = replies.reply_to(body)
        completion = self._completion(body, prompt, json.dumps(value, ensure_ascii=False), entry["hash"])
        entry.update(task=task, usage=completion["usage"], cache_key=body.get("prompt_cache_key"))
        if fault in faults.BROKEN_WIRE:
            return await faults.broken_wire(fault, request, completion, options["slow"])
        if fault is not None:
            is_correction = any(message["role"] == "assistant" for message in body["messages"])
            completion = faults.spoil(fault, completion, is_correction, body.get("max_tokens", 0))
        if options["unmetered"]:
            completion = {name: value for name, value in completion.items() if name != "usage"}
        headers = {f"x-ratelimit-limit-{kind}": str(limit) for kind, limit in options["grants"].items()}
        response = web.json_response(completion, headers={"x-request-id": entry["hash"][:16], **headers})
        await response.prepare(request)
        await response.write_eof()
        entry["answered"] = True
        return response

    def _completion(self, body: dict[str, Any], prompt: str, text: str, digest: str) -> dict[str, Any]:
        tokens_in, tokens_out = len(prompt) // CHARS_PER_TOKEN + 1, len(text) // CHARS_PER_TOKEN + 1
        usage = {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
            "prompt_tokens_details": {"cached_tokens": self._cached(prompt)},
        }
        message = {"role": "assistant", "content": text, "refusal": None}
        return {
            "id": f"chatcmpl-{digest[:12]}",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
            "usage": usage,
        }

    def _cached(self, prompt: str) -> int:
        """Tokens of the longest prefix seen before, in whole blocks; the prompt's own prefixes are kept."""
        running, cached, unbroken = hashlib.sha256(), 0, True
        for end in range(CACHE_BLOCK, len(prompt) + 1, CACHE_BLOCK):
            running.update(prompt[end - CACHE_BLOCK : end].encode("utf-8", "replace"))
            prefix = running.hexdigest()
            unbroken = unbroken and prefix in self.prefixes
            cached = end // CHARS_PER_TOKEN if unbroken else cached
            self.prefixes.add(prefix)
        return cached if cached >= CACHE_MINIMUM else 0


async def serve(options: dict[str, Any], lifetime: float) -> None:
    """Serve on a free port of the loopback until told to stop."""
    runner = web.AppRunner(FakeOpenAI(options).app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", int(options.pop("port")))
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.call_later(lifetime, stopped.set)
    loop.add_reader(sys.stdin, lambda: stopped.set() if not os.read(0, 1) else None)  # our parent is gone
    await stopped.wait()
    await runner.cleanup()


def main() -> None:
    """Read options and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("--lifetime", type=float, default=900.0)
    given = parser.parse_args()
    options = {
        "port": 0,
        "key": None,  # None lets everybody in
        "model": "fake-1",
        "faults": {},  # kind -> share of requests
        "seed": 0,
        "times": 1,  # tries that a drawn passing fault spoils
        "latency": 0.0,
        "slow_share": 0.0,  # of requests that take ten times as long
        "slow": 5.0,  # seconds of the fault "slow"
        "retry_after": 0.05,
        # What it does with a JSON schema: strict, refused, ignored, in_object (its own form of it), or crashes: it has
        # its own form too, and answers any other one with a 500.
        "schema": "strict",
        "static": None,  # a text that every request gets at once, unlogged
        "batch_looks": 1,  # how often a batch is looked at before it has ended; -1 never ends it
        "batch_expires": 0.0,  # share of lines that are not run in the first batch they come in
        "batch_faults": {},  # step (upload, create, content, …) -> how often it fails with 500, once its work is done
        "batch_refuses": None,  # a code with which whole files are refused
        "batches": True,  # whether there are such endpoints at all
        "log_file": None,  # where every request is noted as well once it has ended, for tests that kill the server
        "grants": {},  # requests and tokens a minute, told in headers
        "unmetered": False,  # whether completions come without usage
    }
    asyncio.run(serve({**options, **given.options}, given.lifetime))


if __name__ == "__main__":
    main()
