"""Files and batches of the fake server: whole files are run at once, results come in the order of their hashes."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import faults
from aiohttp import web

MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000
Answer = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


class BatchEndpoints:
    """State and handlers of `/v1/files` and `/v1/batches`."""

    def __init__(
        self, options: dict[str, Any], refused: Callable[[web.Request], web.Response | None], answer: Answer
    ) -> None:
        self._options, self._refused, self._answer = options, refused, answer
        self.log: list[dict[str, Any]] = []
        self._files: dict[str, dict[str, Any]] = {}
        self._contents: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}
        self._looks: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()  # custom ids, by how many batches they came in

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        for method, path, handler in (
            ("POST", "/v1/files", self.upload),
            ("GET", "/v1/files", self.list_files),
            ("GET", "/v1/files/{id}/content", self.content),
            ("DELETE", "/v1/files/{id}", self.delete),
            ("POST", "/v1/batches", self.create),
            ("GET", "/v1/batches", self.list_batches),
            ("GET", "/v1/batches/{id}", self.retrieve),
            ("POST", "/v1/batches/{id}/cancel", self.cancel),
        ):
            router.add_route(method, path, self._guarded(handler))

    def _guarded(self, handler: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not self._options["batches"]:
                return web.json_response({"error": {"message": "no such path", "code": None}}, status=404)
            refused = self._refused(request)
            if refused is not None:
                return refused
            response: web.StreamResponse = await handler(request)
            left = self._options["batch_faults"]
            if left.get(handler.__name__, 0) > 0:  # done, but the caller does not hear of it
                left[handler.__name__] -= 1
                return faults.error_response("server_500", 0) or response
            return response

        return guarded

    async def upload(self, request: web.Request) -> web.Response:
        """Keep a file of requests."""
        form = await request.post()
        file: Any = form["file"]
        assert form["purpose"] == "batch"
        return web.json_response(self._keep(file.file.read(), file.filename, "batch"))

    def _keep(self, content: bytes, name: str, purpose: str) -> dict[str, Any]:
        number = f"file-{len(self._contents) + 1:04d}"
        self._contents[number] = content
        self._files[number] = {
            "id": number, "object": "file", "bytes": len(content), "created_at": int(time.time()), "filename": name,
            "purpose": purpose, "status": "processed",
        }  # fmt: skip
        return self._files[number]

    async def list_files(self, request: web.Request) -> web.Response:
        """Files, the newest first."""
        return _listed(request, [file for file in self._files.values() if file["purpose"] == "batch"])

    async def content(self, request: web.Request) -> web.Response:
        """What is in a file."""
        number = request.match_info["id"]
        return web.Response(body=self._contents[number]) if number in self._files else _unknown()

    async def delete(self, request: web.Request) -> web.Response:
        """Remove a file."""
        gone = self._files.pop(request.match_info["id"], None)
        return web.json_response({"id": gone["id"], "object": "file", "deleted": True}) if gone else _unknown()

    async def create(self, request: web.Request) -> web.Response:
        """Make a batch; its lines are run when it ends."""
        told = await request.json()
        if told["input_file_id"] not in self._files:
            return _unknown()
        lines = [json.loads(line) for line in self._contents[told["input_file_id"]].splitlines()]
        number = f"batch_{len(self._batches) + 1:04d}"
        size = len(self._contents[told["input_file_id"]])
        ids = [line["custom_id"] for line in lines]
        code = self._options["batch_refuses"]
        if len(lines) > MOST_REQUESTS or size > MOST_BYTES or len(set(ids)) < len(ids):
            code = "invalid_file"
        self._batches[number] = {
            "id": number, "object": "batch", "endpoint": told["endpoint"], "input_file_id": told["input_file_id"],
            "completion_window": told["completion_window"], "metadata": told.get("metadata"),
            "created_at": int(time.time()), "status": "failed" if code else "in_progress", "output_file_id": None,
            "error_file_id": None, "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
            "errors": {"object": "list", "data": [{"code": code, "message": "refused"}]} if code else None,
        }  # fmt: skip
        self.log.append({"id": number, "custom_ids": ids, "bytes": size, "batch": self._batches[number]})
        return web.json_response(self._batches[number])

    async def list_batches(self, request: web.Request) -> web.Response:
        """Batches, the newest first."""
        return _listed(request, list(self._batches.values()))

    async def retrieve(self, request: web.Request) -> web.Response:
        """How a batch stands; it ends after as many looks as the options say."""
        batch = self._batches.get(request.match_info["id"])
        if batch is None:
            return _unknown()
        self._looks[batch["id"]] += 1
        if batch["status"] == "in_progress" and 0 <= self._options["batch_looks"] <= self._looks[batch["id"]]:
            self._end(batch, expires=self._options["batch_expires"])
        return web.json_response(batch)

    async def cancel(self, request: web.Request) -> web.Response:
        """End a batch; half of its lines have run."""
        batch = self._batches.get(request.match_info["id"])
        if batch is None:
            return _unknown()
        if batch["status"] == "in_progress":
            self._end(batch, expires=0.5, status="cancelled", code="batch_cancelled")
        return web.json_response(batch)

    def _end(self, batch: dict[str, Any], expires: float, status: str = "", code: str = "batch_expired") -> None:
        """Run the lines; so large a share of those that were never seen before is left."""
        lines = [json.loads(line) for line in self._contents[batch["input_file_id"]].splitlines()]
        lines.sort(key=lambda line: hashlib.sha256(line["custom_id"].encode()).hexdigest())  # any order but theirs
        good, bad, counts = [], [], batch["request_counts"]
        for line in lines:
            self._seen[line["custom_id"]] += 1
            draw = int(hashlib.sha256(f"expire{line['custom_id']}".encode()).hexdigest()[:8], 16) / 2**32
            if draw < expires and self._seen[line["custom_id"]] == 1:
                error = {"code": code, "message": "This request could not be executed."}
                bad.append({"custom_id": line["custom_id"], "response": None, "error": error})
                continue
            number, body = self._answer(line["body"])
            counts["completed" if number == 200 else "failed"] += 1
            response = {"status_code": number, "request_id": "r", "body": body}
            (good if number == 200 else bad).append({"custom_id": line["custom_id"], "response": response})
        good.append({"custom_id": "nobody-asked-for-this", "response": {"status_code": 200, "body": {}}})
        left = any(line.get("error") for line in bad)
        batch["status"] = status or ("expired" if left else "completed")
        for name, results in (("output_file_id", good), ("error_file_id", bad)):
            if results:
                content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in results).encode()
                batch[name] = self._keep(content, f"{batch['id']}_{name}.jsonl", "batch_output")["id"]


def _listed(request: web.Request, found: list[dict[str, Any]]) -> web.Response:
    newest_first, after = found[::-1], request.query.get("after")
    start = next((i + 1 for i, one in enumerate(newest_first) if one["id"] == after), 0)
    page = newest_first[start : start + int(request.query.get("limit", "20"))]
    more = start + len(page) < len(newest_first)
    body = {"object": "list", "data": page, "has_more": more, "last_id": page[-1]["id"] if page else None}
    return web.json_response(body)


def _unknown() -> web.Response:
    return web.json_response({"error": {"message": "No such object", "type": "error", "code": None}}, status=404)
