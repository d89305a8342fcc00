"""Settings of the pages. All files that a page loads are below the prefix of the service."""

from pathlib import Path
from typing import Any

FILES = "chassis.openapi.files.PageFilesMiddleware"
MAX_AGE_SECONDS = 3600
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": True,
    }
]


def static_url(prefix: str) -> str:
    return f"/{prefix}/static/"


def swagger_settings(prefix: str) -> dict[str, Any]:
    return {
        "SPEC_URL": document(prefix),
        "USE_SESSION_AUTH": False,
        "VALIDATOR_URL": None,  # otherwise the page sends the document's address to swagger.io
        "FETCH_SCHEMA_WITH_QUERY": False,
        "REFETCH_SCHEMA_WITH_AUTH": False,
        "SHOW_COMMON_EXTENSIONS": True,  # minimum and maximum of parameters
        "DISPLAY_OPERATION_ID": False,
        "DEFAULT_MODEL_RENDERING": "example",
        "DEFAULT_MODEL_DEPTH": 1,
    }


def redoc_settings(prefix: str) -> dict[str, Any]:
    return {"SPEC_URL": document(prefix), "FETCH_SCHEMA_WITH_QUERY": False}


def document(prefix: str) -> str:
    return f"/{prefix}/swagger.json"
