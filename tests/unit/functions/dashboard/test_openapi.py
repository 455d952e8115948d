"""The API answers as its OpenAPI description says: schemathesis sends good and bad requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

import functions.dashboard
from shared.core.records import Status
from tests.unit.functions.dashboard.conftest import make_bench

DESCRIPTION = Path(functions.dashboard.__file__).parent / "openapi.json"
OPERATIONS = [
    (path, method)
    for path, methods in json.loads(DESCRIPTION.read_text())["paths"].items()
    for method in methods
]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]

TOKEN = "a-token-of-this-browser-1"


@pytest.fixture(scope="module")
def api() -> Any:
    bench = make_bench()
    bench.add()
    bench.add("Review", Status.FAILED)
    bench.add("Later", Status.QUEUED)
    return schemathesis.openapi.from_wsgi("/api/openapi.json", bench.client.application)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_the_api_is_as_described(api: Any, path: str, method: str, mode: GenerationMode) -> None:
    operation = api[path][method]
    if mode is GenerationMode.NEGATIVE and not (
        operation.query or operation.path_parameters or operation.body
    ):
        return  # nothing of it can be wrong

    @given(st.data())
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        headers = case.meta.components.get(ParameterLocation.HEADER)
        if headers is None or headers.mode is GenerationMode.POSITIVE:
            # The right token, unless it is what was made wrong.
            case.headers = {"Origin": "http://localhost", "X-CSRF-Token": TOKEN}
        case.cookies = {"csrf_token": TOKEN}
        case.call_and_validate(checks=CHECKS)

    ask()
