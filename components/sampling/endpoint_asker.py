"""Asks an endpoint what is not answered yet, many requests at a time, and keeps every answer in the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from components.dataflow.stage import digest
from components.dataflow.storage import Files
from components.sampling.endpoint import EndpointAccess
from components.sampling.endpoint_answers import Answer
from components.sampling.endpoint_client import EndpointClient
from components.sampling.kept_answers import KeptAnswers, Spending


class EndpointAsker:
    """stage: under whose name answers are kept. fingerprint: a part of what names them."""

    def __init__(self, access: EndpointAccess, stage: str, fingerprint: str) -> None:
        files = Files(access.root)
        self.kept = KeptAnswers(files, stage)
        self.client = EndpointClient(access, Spending(files, access.run))
        self.threads = ThreadPoolExecutor(access.at_once, thread_name_prefix="endpoint")
        self.model, self.fingerprint = access.endpoint.model, fingerprint

    def submit(self, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any], seed: int) -> Future[Answer]:
        """Begin to ask. The result raises EndpointStopped where no more is asked."""
        return self.threads.submit(self._answer, messages, parameters, seed)

    def _answer(self, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any], seed: int) -> Answer:
        """Return the kept answer to a request, or ask and keep it. What the server refuses is asked again next time."""
        asked = {"model": self.model, "fingerprint": self.fingerprint, "messages": list(messages)}
        question = digest(asked | {"parameters": dict(parameters), "seed": seed})
        if (kept := self.kept.get(question)) is not None:
            return Answer(**kept)
        answer = self.client.ask(messages, parameters, seed)
        if answer.error is None:
            self.kept.keep(question, dataclasses.asdict(answer))
        return answer
